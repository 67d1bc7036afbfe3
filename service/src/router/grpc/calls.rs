//! Which call a request is.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use hyper::{Request, Response, body::Incoming};
use prost::Message;
use sluicegate_proto::v1::sensor_service_server::SERVICE_NAME;
use sluicegate_transport::Activity;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, body::Body, service::Routes};
use tower::Service as _;
use tracing::{Instrument as _, Span};

use super::{
    deadline::{client_deadline, within},
    metrics::{self, GrpcMetrics},
    open_call::OpenCall,
    packing::Packing,
    places::Places,
    replies,
    requests::{Cardinality, Requests, Sent},
    sensor_service::SensorService,
    shares::Shares,
    status,
    unread::Unread,
};
use crate::{
    router::{caller::caller, request_id::request_id},
    telemetry::spans,
    usecase::{
        UseCases,
        ingest::{
            IngestError,
            admission::{Admission, Patience},
            conversation::Bounds,
        },
    },
};

/// The call of those who watch.
const WATCH: &str = "WatchReadings";
/// A reply that is larger takes room of its own until it is written.
const SMALL_REPLY_BYTES: usize = 4 << 10;
/// For health and reflection, until they begin to answer: one that brings no message has its place no longer.
const OTHERS_DEADLINE: Duration = Duration::from_secs(30);

/// Every call of every connection, by its name.
#[derive(Clone)]
pub(super) struct Calls {
    /// Empty while the service starts.
    started: Arc<OnceLock<UseCases>>,
    bounds: Bounds,
    /// Health and reflection.
    others: Routes,
    places: Arc<Places>,
    shares: Shares,
    metrics: GrpcMetrics,
    tracker: TaskTracker,
    max_message_bytes: usize,
    /// Of the connection that this is a copy for.
    unread: Unread,
    activity: Arc<Activity>,
}

impl Calls {
    pub(super) fn new(
        started: Arc<OnceLock<UseCases>>,
        bounds: Bounds,
        others: Routes,
        (places, shares): (Places, Shares),
        max_message_bytes: usize,
        tracker: TaskTracker,
        metrics: GrpcMetrics,
    ) -> Self {
        Self {
            started,
            bounds,
            others,
            places: Arc::new(places),
            shares,
            metrics,
            tracker,
            max_message_bytes,
            unread: Unread::default(),
            activity: Arc::default(),
        }
    }

    /// The same calls for one connection, whose unread replies and open calls are counted, and on which what streams is to
    /// end with `ending`.
    pub(super) fn of_connection(
        &self,
        unread: Unread,
        activity: Arc<Activity>,
        ending: CancellationToken,
    ) -> Self {
        let mut calls = Self {
            unread,
            activity,
            ..self.clone()
        };
        calls.bounds.draining = ending;
        calls
    }

    /// A response with one message, or with the status alone. What is large has room before it waits to be written.
    async fn reply<T: Message + 'static>(
        &self,
        admission: &Admission,
        reply: Result<T, Status>,
        mut call: OpenCall,
    ) -> Response<Body> {
        if let Ok(reply) = &reply
            && reply.encoded_len() > SMALL_REPLY_BYTES
        {
            // Decoded and encoded.
            let bytes = 2 * reply.encoded_len();
            call.take_room(admission.room(bytes, Patience::Waits).await.ok());
        }
        call.count_unread(self.unread.add());
        replies::of_result(reply, call)
    }

    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let place = match self.places.take(&path) {
            Ok(place) => place,
            Err(status) => {
                self.metrics.turn_away(metrics::CALL);
                return status.into_http();
            }
        };
        let method = method_of_sensors(&path);
        let span = match method {
            Some(method) => spans::call(method, || request_id(request.headers())),
            None => Span::none(),
        };
        let measured = self.metrics.call(&path, span.clone());
        // Anybody may watch the health: whoever does so keeps nobody else out.
        let mut active = Some(self.activity.call());
        let of_sensors = method.and_then(|_| active.take());
        let mut call = OpenCall::new(place, of_sensors, measured);
        let packing = match Packing::of(request.headers()) {
            Ok(packing) => packing,
            Err(status) => return replies::of_status(status, &mut call),
        };
        let deadline = client_deadline(request.headers());
        let Some(method) = method else {
            if packing != Packing::None {
                return replies::of_status(status::compressed(), &mut call);
            }
            let answered = self.others.clone().call(request);
            let answered = async { answered.await.map_err(|never| match never {}) };
            // A call of others, such as one that watches the health, holds no shutdown up.
            let in_time = async {
                tokio::time::timeout(OTHERS_DEADLINE, answered)
                    .await
                    .unwrap_or_else(|_| Err(status::no_message(OTHERS_DEADLINE)))
            };
            let response = within(deadline, in_time).await;
            return replies::of_others(response.unwrap_or_else(Status::into_http), call);
        };
        // Who watches is told why its call ends if it listens; if it does not, nobody waits.
        if method != WATCH {
            call.holds_up(self.tracker.token());
        }
        let Some(use_cases) = self.started.get() else {
            return replies::of_status(IngestError::Starting.into(), &mut call);
        };
        let caller = caller(request.extensions().get());
        match self.shares.take(caller.name()) {
            Ok(share) => call.counts_for(share),
            Err(status) => {
                self.metrics.turn_away(metrics::CALL_OF_PRINCIPAL);
                return replies::of_status(status, &mut call);
            }
        }
        let sensors = SensorService::new(use_cases.ingest.clone(), caller, self.bounds.clone());
        let sent = Sent {
            body: request.into_body(),
            packing,
        };
        let answered = self.of_sensors(method, (use_cases, &sensors), sent, deadline, call);
        answered.instrument(span).await
    }

    /// A call of the sensor service.
    async fn of_sensors(
        &self,
        method: &str,
        (use_cases, sensors): (&UseCases, &SensorService),
        sent: Sent,
        deadline: Option<Duration>,
        mut call: OpenCall,
    ) -> Response<Body> {
        let (admission, most) = (use_cases.ingest.admission(), self.max_message_bytes);
        let (one, many) = (Cardinality::One, Cardinality::Many);
        // In boxes: each call of any kind would be as large as the largest, several times over, and be copied as often.
        match method {
            "SendSensorReading" => {
                let reply = Box::pin(sensors.send_sensor_reading(Requests::new(sent, one, most)));
                self.reply(admission, within(deadline, reply).await, call)
                    .await
            }
            "SendSensorBatch" => {
                let reply = Box::pin(sensors.send_sensor_batch(Requests::new(sent, one, most)));
                self.reply(admission, within(deadline, reply).await, call)
                    .await
            }
            "StreamReadings" => {
                let reply = Box::pin(sensors.stream_readings(Requests::new(sent, many, most)));
                self.reply(admission, within(deadline, reply).await, call)
                    .await
            }
            "StreamReadingsAcked" => {
                let requests = Requests::new(sent, many, most);
                let acks = sensors.stream_readings_acked(requests, deadline, &self.tracker);
                replies::of_stream(acks, call)
            }
            "OpenStream" => {
                let reply = Box::pin(sensors.open_stream(Requests::new(sent, one, most)));
                self.reply(admission, within(deadline, reply).await, call)
                    .await
            }
            WATCH => {
                let requests = Requests::new(sent, one, most);
                let door = (&*self.places, &self.unread);
                match Box::pin(sensors.watch_readings(requests, use_cases, door, deadline)).await {
                    Ok(told) => replies::of_stream(told, call),
                    Err(status) => replies::of_status(status, &mut call),
                }
            }
            _ => {
                let status =
                    Status::unimplemented(format!("{SERVICE_NAME} has no call {method:?}"));
                replies::of_status(status, &mut call)
            }
        }
    }
}

fn method_of_sensors(path: &str) -> Option<&str> {
    let method = path.strip_prefix('/')?.strip_prefix(SERVICE_NAME)?;
    method.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<F: Future>(_: impl Fn(Arc<Calls>, Request<Incoming>) -> F) -> usize {
        size_of::<F>()
    }

    /// A call is copied on its way into a box, and there are thousands at once (P4).
    #[test]
    fn an_open_call_takes_little_memory() {
        let bytes = bytes_of(Calls::answer);
        assert!(bytes < 4 << 10, "{bytes} bytes");
    }
}

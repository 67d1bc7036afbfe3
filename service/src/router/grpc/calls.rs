//! Which call a request is, how many are open, and how long a client waits for one.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hyper::{HeaderMap, Request, Response, body::Incoming};
use prost::Message;
use sluicegate_proto::v1::sensor_service_server::SERVICE_NAME;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tonic::{Status, body::Body, service::Routes};
use tower::Service as _;

use super::{
    replies,
    requests::{Cardinality, Requests},
    sensor_service::SensorService,
    status,
    unread::{Unread, UnreadReply},
};
use crate::usecase::{
    UseCases,
    ingest::{
        IngestError,
        admission::{Admission, Patience, Room},
        conversation::Bounds,
    },
};

/// A reply that is larger takes room of its own until it is written.
const SMALL_REPLY_BYTES: usize = 4 << 10;

/// Every call of every connection, by its name.
#[derive(Clone)]
pub(super) struct Calls {
    /// Empty while the service starts.
    started: Arc<OnceLock<UseCases>>,
    bounds: Bounds,
    /// Health and reflection.
    others: Routes,
    places: Arc<Semaphore>,
    max_open: usize,
    tracker: TaskTracker,
    max_message_bytes: usize,
    /// Of the connection that this is a copy for.
    unread: Unread,
}

/// A call that is open. Dropping it makes place for another one.
#[derive(Debug)]
pub(super) struct OpenCall {
    _place: OwnedSemaphorePermit,
    _token: Option<TaskTrackerToken>,
    _unread: Option<UnreadReply>,
    _room: Option<Room>,
}

impl Calls {
    pub(super) fn new(
        started: Arc<OnceLock<UseCases>>,
        bounds: Bounds,
        others: Routes,
        max_open: usize,
        max_message_bytes: usize,
        tracker: TaskTracker,
    ) -> Self {
        Self {
            started,
            bounds,
            others,
            places: Arc::new(Semaphore::new(max_open)),
            max_open,
            tracker,
            max_message_bytes,
            unread: Unread::default(),
        }
    }

    /// The same calls for one connection, whose unread replies are counted.
    pub(super) fn of_connection(&self, unread: Unread) -> Self {
        Self {
            unread,
            ..self.clone()
        }
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
            call._room = admission.room(bytes, Patience::Waits).await.ok();
        }
        call._unread = Some(self.unread.add());
        replies::of_result(reply, call)
    }

    pub(super) async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return status::too_many_calls(self.max_open).into_http();
        };
        if status::is_compressed(request.headers()) {
            return status::compressed().into_http();
        }
        let deadline = client_deadline(request.headers());
        let path = request.uri().path().to_owned();
        let Some(method) = method_of_sensors(&path) else {
            let answered = self.others.clone().call(request);
            let answered = async { answered.await.map_err(|never| match never {}) };
            let response = within(deadline, answered).await;
            // A call of others, such as one that watches the health, holds no shutdown up.
            let call = OpenCall {
                _place: place,
                _token: None,
                _unread: None,
                _room: None,
            };
            return replies::of_others(response.unwrap_or_else(Status::into_http), call);
        };
        let call = OpenCall {
            _place: place,
            _token: Some(self.tracker.token()),
            _unread: None,
            _room: None,
        };
        let Some(UseCases { ingest, .. }) = self.started.get() else {
            return Status::from(IngestError::Starting).into_http();
        };
        let sensors = &SensorService::new(ingest.clone(), self.bounds.clone());
        let (admission, most) = (ingest.admission(), self.max_message_bytes);
        let body = request.into_body();
        let (one, many) = (Cardinality::One, Cardinality::Many);
        match method {
            "SendSensorReading" => {
                let reply = sensors.send_sensor_reading(Requests::new(body, one, most));
                self.reply(admission, within(deadline, reply).await, call)
                    .await
            }
            "SendSensorBatch" => {
                let reply = sensors.send_sensor_batch(Requests::new(body, one, most));
                self.reply(admission, within(deadline, reply).await, call)
                    .await
            }
            "StreamReadings" => {
                let reply = sensors.stream_readings(Requests::new(body, many, most));
                self.reply(admission, within(deadline, reply).await, call)
                    .await
            }
            "StreamReadingsAcked" => {
                let requests = Requests::new(body, many, most);
                let acks = sensors.stream_readings_acked(requests, deadline, &self.tracker);
                replies::of_stream(acks, call)
            }
            "OpenStream" => {
                let reply = sensors.open_stream(Requests::new(body, one, most));
                self.reply(admission, within(deadline, reply).await, call)
                    .await
            }
            _ => {
                Status::unimplemented(format!("{SERVICE_NAME} has no call {method:?}")).into_http()
            }
        }
    }
}

fn method_of_sensors(path: &str) -> Option<&str> {
    let method = path.strip_prefix('/')?.strip_prefix(SERVICE_NAME)?;
    method.strip_prefix('/')
}

/// How long the client waits, as it says itself: digits and a unit in `grpc-timeout`. What cannot be read is no limit.
fn client_deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // So many at the most, says the protocol.
    if digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Ends a call whose client waits no longer.
pub(super) async fn within<T>(
    deadline: Option<Duration>,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match deadline {
        None => answer.await,
        Some(deadline) => tokio::time::timeout(deadline, answer)
            .await
            .unwrap_or_else(|_| Err(status::client_deadline(deadline))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_of_a_client_is_read_in_every_unit() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            client_deadline(&headers)
        };
        for (text, expected) in [
            ("2H", Duration::from_secs(7_200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("50m", Duration::from_millis(50)),
            ("60u", Duration::from_micros(60)),
            ("70n", Duration::from_nanos(70)),
        ] {
            assert_eq!(read(text), Some(expected));
        }
        for none in ["", "5", "S", "5x", "-5S", "123456789S"] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }
}

//! The unary modes: callers that wait for the reply before they send again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::Rng as _;
use sluicegate_proto::v1::{
    BatchResponse, SensorBatch, SensorReading, sensor_service_client::SensorServiceClient,
};
use tokio::{task::JoinSet, time::Instant};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{Driven, Mode, RunOptions, Share, Source, Until};
use crate::{
    error::Error,
    journal::{Acks, Log},
    pace::Pace,
    report::Tally,
};

const DEFAULT_BATCH_SIZE: u32 = 1_000;
/// A full service stores nothing, so the call is safe to repeat; after so long it counts as failed.
const FULL_PATIENCE: Duration = Duration::from_secs(30);

/// A connection, and the value of the `authorization` header.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    token: Option<MetadataValue<Ascii>>,
}

type Client = SensorServiceClient<Channel>;

pub(super) async fn connect(options: &RunOptions) -> Result<Connection, Error> {
    let token =
        match &options.token {
            None => None,
            Some(token) => Some(format!("Bearer {token}").parse().map_err(|_| {
                Error::Usage("--token must be visible ASCII characters".to_owned())
            })?),
        };
    let unreachable = |error: tonic::transport::Error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Error::Connect {
            target: options.target.clone(),
            reason: cause.to_string(),
        }
    };
    let endpoint = Endpoint::from_shared(options.target.clone()).map_err(|_| {
        Error::Usage(format!(
            "--target {:?} is no address such as http://127.0.0.1:50051",
            options.target
        ))
    })?;
    let endpoint = endpoint
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true);
    let channel = endpoint.connect().await.map_err(unreachable)?;
    Ok(Connection {
        client: SensorServiceClient::new(channel),
        token,
    })
}

/// What the callers of one connection share.
#[derive(Debug)]
struct Shared {
    source: Mutex<Source>,
    /// Readings that callers have taken upon themselves.
    taken: Mutex<u64>,
    until: Until,
    pace: Pace,
    batch_size: u32,
    mode: Mode,
    token: Option<MetadataValue<Ascii>>,
    timeout: Option<Duration>,
    acks: Option<Acks>,
}

/// The readings of one call, and the position of the first.
struct Call {
    first: u64,
    readings: Vec<SensorReading>,
}

pub(super) async fn drive(share: Share, connection: Connection) -> Driven {
    let options = &share.load.options;
    let batch_size = match options.mode {
        Mode::Batch => options.batch_size.unwrap_or(DEFAULT_BATCH_SIZE),
        Mode::Unary | Mode::Stream | Mode::StreamAcked => 1,
    };
    let connections = u32::from(options.connections);
    let callers = (options.concurrency / connections
        + u32::from(u32::from(share.connection) < options.concurrency % connections))
    .max(1);
    let shared = Arc::new(Shared {
        acks: share.source.log.as_ref().map(Log::acks),
        source: Mutex::new(share.source),
        taken: Mutex::new(0),
        until: share.until,
        pace: share.load.pace(batch_size),
        batch_size,
        mode: options.mode,
        token: connection.token,
        timeout: options.call_timeout,
    });
    let mut tasks: JoinSet<Driven> = (0..callers)
        .map(|_| call_until_done(Arc::clone(&shared), connection.client.clone()))
        .collect();
    let mut tally = Tally::default();
    let mut last_sent = Instant::now();
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok(driven) => {
                tally.merge(driven.tally);
                last_sent = last_sent.max(driven.last_sent);
            }
            Err(error) => tally.errors.push(format!("a caller was lost: {error}")),
        }
    }
    shared.source().end();
    // Every caller tells of the same trouble: one of a kind is enough.
    tally.errors.sort();
    tally.errors.dedup();
    Driven { tally, last_sent }
}

async fn call_until_done(shared: Arc<Shared>, mut client: Client) -> Driven {
    let mut tally = Tally::default();
    let mut last_sent = Instant::now();
    let counters = &shared.until.counters;
    while let Some(count) = shared.reserve() {
        let Some(intended) = shared.until.wait(&shared.pace, count).await else {
            break;
        };
        let Some(call) = shared.make(count) else {
            break;
        };
        let count = u64::from(count);
        last_sent = Instant::now();
        counters.add_sent(count);
        tally.books.sent += count;
        match call_with_patience(&shared, &mut client, &call.readings).await {
            Ok(reply) => {
                tally.books.received += reply.received;
                tally.books.committed += reply.committed;
                tally.books.rejected += reply.rejected;
                tally.books.duplicate += reply.duplicate;
                counters.record(intended.elapsed(), count);
                counters.heal();
                let reasons = reply.rejected_readings.iter();
                let reasons = reasons.map(|one| (one.field.as_str(), one.reason.as_str()));
                counters.rejections.add(reasons);
                let positions: Vec<u64> =
                    reply.rejected_readings.iter().map(|one| one.seq).collect();
                shared.settled(&call, reply.rejected, &positions);
            }
            // A reading that is refused for itself is not a failure of the service.
            Err(status) if status.code() == Code::InvalidArgument && shared.mode == Mode::Unary => {
                tally.books.received += 1;
                tally.books.rejected += 1;
                counters.record(intended.elapsed(), 1);
                counters.heal();
                counters
                    .rejections
                    .add([("", status.message())].into_iter());
                shared.settled(&call, 1, &[1]);
            }
            Err(status) => {
                tally.books.failed += count;
                counters.add_failed(count);
                let error = format!("{:?}: {}", status.code(), status.message());
                counters.note(&error);
                if !tally.errors.contains(&error) && tally.errors.len() < 10 {
                    tally.errors.push(error);
                }
                // A service that is away answers at once: do not spin.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    Driven { tally, last_sent }
}

/// Calls again while the service says that it is full.
async fn call_with_patience(
    shared: &Shared,
    client: &mut Client,
    readings: &[SensorReading],
) -> Result<BatchResponse, Status> {
    let started = Instant::now();
    loop {
        let status = match shared.call(client, readings).await {
            Ok(reply) => return Ok(reply),
            Err(status) => status,
        };
        if status.code() != Code::ResourceExhausted || started.elapsed() > FULL_PATIENCE {
            return Err(status);
        }
        let delay_ms = rand::rng().random_range(5..50);
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
}

impl Shared {
    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readings of the next call; `None` when there is none.
    fn reserve(&self) -> Option<u32> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.until.allows(*taken, self.batch_size);
        *taken += u64::from(count);
        (count > 0).then_some(count)
    }

    /// `None` when the journal cannot be written.
    fn make(&self, count: u32) -> Option<Call> {
        let mut source = self.source();
        let first = source.position + 1;
        let mut readings = Vec::with_capacity(count as usize);
        let may_send = source.make(count, self.pace.rate(), |workload, made| {
            let series = &workload.series()[made.series];
            readings.push(SensorReading {
                sensor_value: made.value,
                sensor_type: series.sensor_type.clone(),
                id1: series.id1,
                id2: series.id2.clone(),
                timestamp_us: made.timestamp_us,
            });
        });
        may_send.then_some(Call { first, readings })
    }

    /// A call was answered; `positions` of rejected readings count from 1 in the call.
    fn settled(&self, call: &Call, rejected: u64, positions: &[u64]) {
        let count = call.readings.len() as u64;
        self.until.counters.acknowledged(count, rejected);
        if let Some(acks) = &self.acks {
            if !positions.is_empty() {
                acks.rejected(positions.iter().map(|position| call.first + position - 1));
            }
            acks.range(call.first, call.first + count - 1);
        }
    }

    async fn call(
        &self,
        client: &mut Client,
        readings: &[SensorReading],
    ) -> Result<BatchResponse, Status> {
        if self.mode == Mode::Unary
            && let [reading] = readings
        {
            let reply = client.send_sensor_reading(self.request(reading.clone()));
            let committed = reply.await?.into_inner().committed;
            return Ok(BatchResponse {
                received: 1,
                committed,
                ..BatchResponse::default()
            });
        }
        let batch = SensorBatch {
            readings: readings.to_vec(),
            position: None,
        };
        Ok(client
            .send_sensor_batch(self.request(batch))
            .await?
            .into_inner())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        request
    }
}

//! The unary modes: callers that wait for the reply before they send again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::Rng as _;
use sluicegate_proto::v1::{
    BatchResponse, SensorBatch, SensorReading, sensor_service_client::SensorServiceClient,
};
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{Driven, Mode, RunOptions, Share, Until, workload::Workload};
use crate::{error::Error, pace::Pace, progress::Counters, report::Tally};

const DEFAULT_BATCH_SIZE: u32 = 1_000;
/// A full service stores nothing, so the call is safe to repeat; after so long it counts as failed.
const FULL_PATIENCE: Duration = Duration::from_secs(30);

/// A connection, and the value of the `authorization` header.
#[derive(Debug)]
pub(super) struct Connection {
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
struct Source {
    workload: Mutex<(Workload, u64)>,
    /// Readings that the schedule has let go: callers do not get their turn in the order in which they asked.
    let_go: AtomicU64,
    until: Until,
    pace: Pace,
    batch_size: u32,
    mode: Mode,
    token: Option<MetadataValue<Ascii>>,
    counters: Arc<Counters>,
}

pub(super) async fn drive(share: Share, connection: Connection) -> Driven {
    let options = share.options;
    let batch_size = match options.mode {
        Mode::Batch => options.batch_size.unwrap_or(DEFAULT_BATCH_SIZE),
        Mode::Unary | Mode::Stream | Mode::StreamAcked => 1,
    };
    let connections = u32::from(options.connections);
    let source = Arc::new(Source {
        workload: Mutex::new((share.workload, 0)),
        let_go: AtomicU64::new(0),
        until: share.until,
        pace: Pace::start(options.rate, options.connections.into(), batch_size),
        batch_size,
        mode: options.mode,
        token: connection.token,
        counters: share.counters,
    });
    let callers = (options.concurrency / connections
        + u32::from(u32::from(share.connection) < options.concurrency % connections))
    .max(1);
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            tokio::spawn(call_until_done(
                Arc::clone(&source),
                connection.client.clone(),
            ))
        })
        .collect();
    let mut tally = Tally::new();
    let mut last_sent = Instant::now();
    for task in tasks {
        match task.await {
            Ok(driven) => {
                tally.merge(driven.tally);
                last_sent = last_sent.max(driven.last_sent);
            }
            Err(error) => tally.errors.push(format!("a caller was lost: {error}")),
        }
    }
    // Every caller tells of the same trouble: one of a kind is enough.
    tally.errors.sort();
    tally.errors.dedup();
    Driven { tally, last_sent }
}

async fn call_until_done(source: Arc<Source>, mut client: Client) -> Driven {
    let mut tally = Tally::new();
    let mut last_sent = Instant::now();
    while let Some(readings) = source.take() {
        let count = readings.len() as u64;
        if !source.until.wait(&source.pace, readings.len() as u32).await {
            break;
        }
        let place = source.let_go.fetch_add(count, Ordering::Relaxed) + count;
        last_sent = Instant::now();
        let intended = source.pace.intended(place).unwrap_or(last_sent);
        source.counters.add_sent(count);
        tally.books.sent += count;
        match call_with_patience(&source, &mut client, &readings).await {
            Ok(reply) => {
                tally.books.received += reply.received;
                tally.books.committed += reply.committed;
                tally.books.rejected += reply.rejected;
                tally.books.duplicate += reply.duplicate;
                tally.latencies.record(intended.elapsed(), count);
                source.counters.add_durable(count);
            }
            // A reading that is refused for itself is not a failure of the service.
            Err(status) if status.code() == Code::InvalidArgument && source.mode == Mode::Unary => {
                tally.books.received += 1;
                tally.books.rejected += 1;
            }
            Err(status) => {
                tally.books.failed += count;
                let error = format!("{:?}: {}", status.code(), status.message());
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
    source: &Source,
    client: &mut Client,
    readings: &[SensorReading],
) -> Result<BatchResponse, Status> {
    let started = Instant::now();
    loop {
        let status = match source.call(client, readings).await {
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

impl Source {
    /// The readings of the next call.
    fn take(&self) -> Option<Vec<SensorReading>> {
        let mut guard = self.workload.lock().unwrap_or_else(PoisonError::into_inner);
        let (workload, taken) = &mut *guard;
        let count = self.until.allows(*taken, self.batch_size);
        let readings: Vec<_> = (0..count)
            .map(|_| {
                let made = workload.next();
                let series = &workload.series()[made.series];
                SensorReading {
                    sensor_value: made.value,
                    sensor_type: series.sensor_type.clone(),
                    id1: series.id1,
                    id2: series.id2.clone(),
                    timestamp_us: made.timestamp_us,
                }
            })
            .collect();
        *taken += u64::from(count);
        (count > 0).then_some(readings)
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
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        request
    }
}

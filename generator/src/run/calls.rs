//! The unary modes: callers that wait for the reply before they send again.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::Rng as _;
use sluicegate_proto::v1::{BatchResponse, SensorBatch, SensorReading};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
};

use super::{
    Driven, Mode, Share, Source, Until,
    connection::{Client, Connection, describe},
};
use crate::{
    error::gave_up,
    journal::{Acks, Log},
    pace::Pace,
    report::Tally,
};

const DEFAULT_BATCH_SIZE: u32 = 1_000;
/// A full service stores nothing, so the call is safe to repeat; after so long it counts as failed.
const FULL_PATIENCE: Duration = Duration::from_secs(30);
/// A service that is away answers at once: between one failed call of a caller and the next, rising.
const FAILURE_DELAY: Duration = Duration::from_millis(10);
const MAX_FAILURE_DELAY: Duration = Duration::from_millis(250);

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
    connection: u16,
    /// How long to go on without an answer.
    patience: Option<Duration>,
    /// When a call was answered last.
    answered: Mutex<Instant>,
    gave_up: CancellationToken,
    /// Attempts to connect again, and how many of them are in the counters.
    reconnects: Arc<AtomicU64>,
    reconnects_counted: AtomicU64,
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
        connection: share.connection,
        patience: options.give_up_after.0,
        answered: Mutex::new(Instant::now()),
        gave_up: CancellationToken::new(),
        reconnects: connection.reconnects,
        reconnects_counted: AtomicU64::new(0),
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
    tally.reconnects = shared.count_reconnects();
    // Every caller tells of the same trouble: one of a kind is enough.
    tally.errors.sort();
    tally.errors.dedup();
    Driven { tally, last_sent }
}

async fn call_until_done(shared: Arc<Shared>, mut client: Client) -> Driven {
    let mut tally = Tally::default();
    let mut last_sent = Instant::now();
    let counters = &shared.until.counters;
    let mut failing = Failing::default();
    while let Some(count) = shared.reserve() {
        let intended = tokio::select! {
            intended = shared.until.wait(&shared.pace, count) => intended,
            () = shared.gave_up.cancelled() => None,
        };
        let Some(intended) = intended else {
            break;
        };
        let Some(call) = shared.make(count) else {
            break;
        };
        let count = u64::from(count);
        last_sent = Instant::now();
        counters.add_sent(count);
        tally.books.sent += count;
        let started = Instant::now();
        let answer = tokio::select! {
            answer = call_with_patience(&shared, &mut client, &call.readings) => answer,
            () = shared.out_of_patience(started) => Err(Status::deadline_exceeded("no answer")),
        };
        shared.count_reconnects();
        match answer {
            Ok(reply) => {
                tally.books.received += reply.received;
                tally.books.committed += reply.committed;
                tally.books.rejected += reply.rejected;
                tally.books.duplicate += reply.duplicate;
                counters.record(intended.elapsed(), count);
                failing = Failing::default();
                shared.goes_well();
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
                failing = Failing::default();
                shared.goes_well();
                counters
                    .rejections
                    .add([("", status.message())].into_iter());
                shared.settled(&call, 1, &[1]);
            }
            Err(status) => {
                tally.books.failed += count;
                counters.add_failed(count);
                let error = describe(&status);
                counters.troubles.note(shared.connection, &error);
                let since = *failing.since.get_or_insert(started);
                if let Some(patience) = shared.patience
                    && shared
                        .gives_up_at(since)
                        .is_some_and(|at| at <= Instant::now())
                {
                    tally.errors.push(gave_up(patience, &error));
                    shared.gave_up.cancel();
                    break;
                }
                if !tally.errors.contains(&error) && tally.errors.len() < 10 {
                    tally.errors.push(error);
                }
                tokio::time::sleep(failing.next_delay(status.code())).await;
            }
        }
    }
    Driven { tally, last_sent }
}

/// The failures of a caller since its last answer.
#[derive(Debug, Default)]
struct Failing {
    since: Option<Instant>,
    calls: u32,
}

impl Failing {
    fn next_delay(&mut self, code: Code) -> Duration {
        if !matches!(code, Code::Unavailable | Code::DeadlineExceeded) {
            return FAILURE_DELAY;
        }
        let delay = FAILURE_DELAY.saturating_mul(2_u32.saturating_pow(self.calls));
        self.calls += 1;
        delay.min(MAX_FAILURE_DELAY)
    }
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
    /// A call was answered.
    fn goes_well(&self) {
        *self.answered() = Instant::now();
        self.until.counters.troubles.heal(self.connection);
    }

    fn answered(&self) -> MutexGuard<'_, Instant> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a caller that waits since then has to give up, unless another one gets an answer before; never for `None`.
    fn gives_up_at(&self, since: Instant) -> Option<Instant> {
        since.max(*self.answered()).checked_add(self.patience?)
    }

    /// Returns when there was no answer to anybody for too long.
    async fn out_of_patience(&self, since: Instant) {
        loop {
            match self.gives_up_at(since) {
                None => std::future::pending().await,
                Some(at) if at <= Instant::now() => return,
                Some(at) => sleep_until(at).await,
            }
        }
    }

    /// Brings the counters up to date, and says how often this connection was made again.
    fn count_reconnects(&self) -> u64 {
        let made = self.reconnects.load(Relaxed);
        let counted = self.reconnects_counted.fetch_max(made, Relaxed);
        let counters = &self.until.counters;
        counters.add_reconnects(made.saturating_sub(counted));
        made
    }

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
                sensor_value: Some(made.value),
                sensor_type: series.sensor_type.clone(),
                id1: series.id1,
                id2: series.id2.clone(),
                timestamp_us: Some(made.timestamp_us),
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

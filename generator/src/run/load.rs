//! The parts of a load that all connections share: when to end, what to make, and the journal of it.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{Rate, RunOptions};
use crate::{
    journal::{Log, Writer},
    pace::{Pace, step_us},
    progress::Counters,
    report::Tally,
    workload::{Made, Workload, WorkloadSpec},
};

/// Timestamps of a live load are set to the wall clock again when they are so far off, microseconds.
const MAX_DRIFT_US: i64 = 1_000_000;

/// What is the same for all connections.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) options: Arc<RunOptions>,
    pub(crate) spec: Arc<WorkloadSpec>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) rates: watch::Receiver<Rate>,
    pub(crate) journal: Option<Arc<Writer>>,
    /// Timestamps follow the wall clock; otherwise they depend on the specification alone.
    pub(crate) live: bool,
}

/// What one connection has to do.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) load: Load,
    pub(crate) source: Source,
    pub(crate) until: Until,
    /// From 0.
    pub(crate) connection: u16,
}

/// What one connection did.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) tally: Tally,
    /// When its last reading was handed over.
    pub(crate) last_sent: Instant,
}

impl Load {
    /// The parts of all connections.
    pub(crate) fn shares(&self) -> impl Iterator<Item = Share> + use<> {
        let load = self.clone();
        let connections = u64::from(load.options.connections);
        let deadline = load
            .options
            .duration
            .map(|duration| Instant::now() + duration);
        (0..load.options.connections).map(move |connection| Share {
            source: Source::new(&load, connection),
            until: Until {
                count: load.options.count.map_or(u64::MAX, |count| {
                    count / connections + u64::from(u64::from(connection) < count % connections)
                }),
                deadline,
                counters: Arc::clone(&load.counters),
            },
            load: load.clone(),
            connection,
        })
    }

    pub(crate) fn pace(&self, max_chunk: u32) -> Pace {
        Pace::start(
            self.rates.clone(),
            self.options.connections.into(),
            max_chunk,
        )
    }
}

/// Makes the readings of one connection and writes down that they are about to be sent.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) workload: Workload,
    pub(crate) log: Option<Log>,
    /// Readings so far.
    pub(crate) position: u64,
    live: bool,
    step_us: f64,
}

impl Source {
    fn new(load: &Load, connection: u16) -> Self {
        Self {
            workload: Workload::new(&load.spec, connection),
            log: load
                .journal
                .as_ref()
                .map(|writer| Log::new(writer, connection)),
            position: 0,
            live: load.live,
            step_us: load.spec.step_us,
        }
    }

    /// Calls `take` with the next readings. False when the journal cannot be written: then nothing may be sent.
    pub(crate) fn make(
        &mut self,
        readings: u32,
        rate: Rate,
        mut take: impl FnMut(&Workload, Made),
    ) -> bool {
        if self.live {
            self.follow_the_wall_clock(rate);
        }
        let last = self.position + u64::from(readings);
        if let Some(log) = &mut self.log
            && !log.before_sending(last)
        {
            return false;
        }
        for _ in 0..readings {
            let made = self.workload.next();
            take(&self.workload, made);
        }
        self.position = last;
        true
    }

    fn follow_the_wall_clock(&mut self, rate: Rate) {
        let (now_us, step_us) = (chrono::Utc::now().timestamp_micros(), step_us(rate));
        let drift_us = (self.workload.next_at_us() - now_us).abs();
        if drift_us > MAX_DRIFT_US || step_us.to_bits() != self.step_us.to_bits() {
            self.step_us = step_us;
            self.workload.set_clock(now_us, step_us);
            if let Some(log) = &self.log {
                log.clock(self.position, now_us, step_us);
            }
        }
    }

    /// No more readings will be sent.
    pub(crate) fn end(&self) {
        if let Some(log) = &self.log {
            log.end(self.position);
        }
    }
}

/// When one connection stops sending.
#[derive(Debug, Clone)]
pub(crate) struct Until {
    /// Readings of this connection.
    count: u64,
    pub(crate) deadline: Option<Instant>,
    pub(crate) counters: Arc<Counters>,
}

impl Until {
    /// How many of `wanted` readings may still be sent after `sent`.
    pub(crate) fn allows(&self, sent: u64, wanted: u32) -> u32 {
        let late = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if late || self.counters.stopped() {
            return 0;
        }
        u32::try_from(self.count.saturating_sub(sent)).map_or(wanted, |left| left.min(wanted))
    }

    /// Waits for the schedule and returns when it wanted the readings to be out; `None` when the end comes first.
    pub(crate) async fn wait(&self, pace: &Pace, readings: u32) -> Option<Instant> {
        let far = Instant::now() + std::time::Duration::from_secs(365 * 86_400);
        let waited = timeout_at(self.deadline.unwrap_or(far), pace.wait(readings));
        tokio::select! {
            biased;
            waited = waited => waited.ok().map(|intended| intended.unwrap_or_else(Instant::now)),
            () = self.counters.stop.cancelled() => None,
        }
    }
}

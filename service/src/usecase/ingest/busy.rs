//! How busy a lane is, for those who choose one.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// With so many readings that are not settled, a lane keeps a small call waiting.
const MANY_READINGS: usize = 4_000;
/// So does one whose load takes so long: the database may hold it up for any time.
const LONG_LOAD: Duration = Duration::from_millis(30);
/// There is no load.
const NONE: u64 = u64::MAX;

/// Told by the lane. It need not be exact: it decides where a call waits, and nothing else.
#[derive(Debug)]
pub(super) struct Busy {
    created: Instant,
    readings: AtomicUsize,
    /// Milliseconds from `created` to the beginning of the load under way.
    loading_since_ms: AtomicU64,
}

impl Busy {
    pub(super) fn new() -> Self {
        Self {
            created: Instant::now(),
            readings: AtomicUsize::new(0),
            loading_since_ms: AtomicU64::new(NONE),
        }
    }

    /// The lane has so many readings that are not settled, and a load under way or none.
    pub(super) fn tell(&self, readings: usize, loading_since: Option<Instant>) {
        let since_ms = |at: Instant| at.duration_since(self.created).as_millis() as u64;
        self.readings.store(readings, Ordering::Relaxed);
        self.loading_since_ms
            .store(loading_since.map_or(NONE, since_ms), Ordering::Relaxed);
    }

    pub(super) fn is_busy(&self) -> bool {
        if self.readings.load(Ordering::Relaxed) >= MANY_READINGS {
            return true;
        }
        match self.loading_since_ms.load(Ordering::Relaxed) {
            NONE => false,
            since_ms => self.created.elapsed() >= Duration::from_millis(since_ms) + LONG_LOAD,
        }
    }
}

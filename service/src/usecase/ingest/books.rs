//! The books of this instance (P6): received = committed + rejected + duplicate + in flight, at all times.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Counts of readings since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    pub received: u64,
    pub committed: u64,
    /// Not stored: bad readings (they are in quarantine), and readings of fenced or misplaced writers.
    pub rejected: u64,
    /// Already stored by an earlier delivery.
    pub duplicate: u64,
    pub in_flight: u64,
    /// Of those rejected: handed back whole to a fenced or misplaced writer, not in quarantine.
    pub turned_away: u64,
    /// Transactions committed.
    pub batches: u64,
    /// Loads that failed and were tried again.
    pub retries: u64,
}

/// The running counts. One lock for all of them, taken once per message or part, so that a snapshot always balances.
#[derive(Debug, Default)]
pub struct Books(Mutex<Figures>);

impl Books {
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn receive(&self, readings: u64) {
        let mut figures = self.lock();
        figures.received += readings;
        figures.in_flight += readings;
    }

    pub(super) fn settle(&self, committed: u64, rejected: u64, duplicate: u64) {
        let mut figures = self.lock();
        figures.committed += committed;
        figures.rejected += rejected;
        figures.duplicate += duplicate;
        figures.in_flight -= committed + rejected + duplicate;
    }

    pub(super) fn turn_away(&self, readings: u64) {
        let mut figures = self.lock();
        figures.rejected += readings;
        figures.turned_away += readings;
        figures.in_flight -= readings;
    }

    pub(super) fn count_batch(&self) {
        self.lock().batches += 1;
    }

    pub(super) fn count_retry(&self) {
        self.lock().retries += 1;
    }

    /// All counts at one instant.
    #[must_use]
    pub fn figures(&self) -> Figures {
        *self.lock()
    }
}

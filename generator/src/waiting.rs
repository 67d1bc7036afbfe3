//! Readings that were sent and wait for their ack.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

use crate::progress::Counters;

/// The readings of one stream that wait for their ack.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<VecDeque<Point>>);

#[derive(Debug, Clone, Copy)]
struct Point {
    last_seq: u64,
    readings: u64,
    intended: Instant,
}

impl Waiting {
    /// The readings up to `last_seq` should have been sent at `intended`.
    pub(crate) fn add(&self, last_seq: u64, readings: u64, intended: Instant) {
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        points.push_back(Point {
            last_seq,
            readings,
            intended,
        });
    }

    /// Everything up to `committed_seq` is durable now.
    pub(crate) fn acknowledge(&self, committed_seq: u64, counters: &Counters) {
        let now = Instant::now();
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(point) = points.front().copied()
            && point.last_seq <= committed_seq
        {
            points.pop_front();
            let latency = now.saturating_duration_since(point.intended);
            counters.record(latency, point.readings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_counts_once_all_of_it_is_durable_and_with_its_weight() {
        let waiting = Waiting::default();
        let counters = Counters::default();
        waiting.add(10, 10, Instant::now());
        waiting.add(20, 10, Instant::now());
        waiting.acknowledge(19, &counters);
        assert_eq!(counters.latencies().len(), 10);
        waiting.acknowledge(20, &counters);
        assert_eq!(counters.latencies().len(), 20);
    }
}

//! How long readings take from the moment they should have been sent to their durable ack.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Three digits, whatever the range.
const DIGITS: u8 = 3;

/// Latencies in microseconds.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Histogram::new(DIGITS).expect("three digits are within the histogram's range"))
    }

    pub(crate) fn record(&mut self, latency: Duration, readings: u64) {
        let latency_us = u64::try_from(latency.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        // The histogram grows by itself; a value that it cannot hold is recorded as its highest.
        if self.0.record_n(latency_us, readings).is_err() {
            self.0.saturating_record_n(latency_us, readings);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // Both have the same digits and grow by themselves.
        let _ = self.0.add(&other.0);
    }

    /// The latency below which this share of readings lies, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1_000.0
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }
}

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
    pub(crate) fn acknowledge(&self, committed_seq: u64, latencies: &mut Latencies) {
        let now = Instant::now();
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(point) = points.front().copied()
            && point.last_seq <= committed_seq
        {
            points.pop_front();
            let latency = now.saturating_duration_since(point.intended);
            latencies.record(latency, point.readings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_counts_once_all_of_it_is_durable_and_with_its_weight() {
        let waiting = Waiting::default();
        let mut latencies = Latencies::new();
        waiting.add(10, 10, Instant::now());
        waiting.add(20, 10, Instant::now());
        waiting.acknowledge(19, &mut latencies);
        assert_eq!(latencies.0.len(), 10);
        waiting.acknowledge(20, &mut latencies);
        assert_eq!(latencies.0.len(), 20);
    }
}

//! Readings per second of their own time, from the row estimates of the partitions. So the readings of all instances
//! count, and a restart forgets nothing.

use std::collections::VecDeque;

use super::plan::{Front, holder, lower_us};
use crate::repository::Partition;

/// Passes whose rates count; the highest of them decides.
const WINDOW: usize = 6;
/// An increase below this share of what is there is within the error of the estimates.
const TELLING_SHARE: u64 = 10;
const TELLING_ROWS: u64 = 10_000;
/// Readings within less time than this say nothing about a rate.
const TELLING_US: i64 = 5_000_000;

#[derive(Debug, Default)]
pub(super) struct RateMeter {
    last: Option<Sample>,
    rates: VecDeque<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_us: i64,
    /// Where the partition began that received.
    since_us: Option<i64>,
    rows: u64,
}

impl RateMeter {
    /// Takes a look at the partitions in, with the place of a new reading than which `newer` are newer; returns the rate,
    /// once there is one.
    pub(super) fn observe(
        &mut self,
        partitions: &[Partition],
        newest: Front,
        newer: u64,
    ) -> Option<f64> {
        let receiving = holder(partitions, newest.at_us);
        let since_us = lower_us(partitions, receiving);
        let rows = rows_since(partitions, since_us);
        let gained = self.last.and_then(|last| {
            let before = rows_since(partitions, last.since_us);
            let gained = before.saturating_sub(last.rows);
            let telling = gained >= TELLING_ROWS && gained >= before / TELLING_SHARE;
            telling.then(|| rate(gained, newest.at_us - last.at_us))?
        });
        let start_us = newest.oldest_us.max(since_us);
        let density = || rate(rows.saturating_sub(newer), newest.at_us - start_us?);
        let moved = self.last.is_none_or(|last| newest.at_us > last.at_us);
        if let Some(rate) = gained.or_else(density).filter(|_| moved) {
            self.rates.push_back(rate);
            while self.rates.len() > WINDOW {
                self.rates.pop_front();
            }
        }
        self.last = Some(Sample {
            at_us: newest.at_us,
            since_us,
            rows,
        });
        self.rates.iter().copied().reduce(f64::max)
    }
}

fn rows_since(partitions: &[Partition], since_us: Option<i64>) -> u64 {
    let from = since_us.map_or(0, |since_us| holder(partitions, since_us));
    partitions[from..].iter().map(|each| each.rows).sum()
}

fn rate(rows: u64, us: i64) -> Option<f64> {
    (us >= TELLING_US && rows > 0).then(|| rows as f64 * 1e6 / us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn day(rows: u64) -> Vec<Partition> {
        let partition = |name: &str, upper_us, rows| Partition {
            name: name.to_owned(),
            upper_us,
            rows,
            bytes: 0,
        };
        vec![
            partition("old", Some(0), 5_000_000),
            partition("day", Some(86_400 * SECOND), rows),
            partition("p_rest", None, 0),
        ]
    }

    fn at(seconds: i64) -> Front {
        Front {
            at_us: seconds * SECOND,
            oldest_us: Some(0),
            ahead: 8,
        }
    }

    #[test]
    fn the_first_look_takes_the_density_of_the_partition_that_receives() {
        let rate = RateMeter::default().observe(&day(36_000), at(3_600), 0);
        assert_eq!(rate, Some(10.0));
        let behind = RateMeter::default().observe(&day(36_000), at(3_000), 6_000);
        assert_eq!(behind, Some(10.0));
    }

    #[test]
    fn a_burst_shows_at_once_and_is_forgotten_after_a_while() {
        let mut meter = RateMeter::default();
        meter.observe(&day(36_000), at(3_600), 0);
        assert_eq!(
            meter.observe(&day(1_036_000), at(3_610), 0),
            Some(100_000.0)
        );
        let mut rate = None;
        for pass in 1..=6 {
            rate = meter.observe(&day(1_036_000 + pass), at(3_610 + pass as i64 * 10), 0);
        }
        assert!(rate.is_some_and(|rate| rate < 300.0), "{rate:?}");
    }

    #[test]
    fn the_error_of_an_estimate_is_not_taken_for_a_burst() {
        let mut meter = RateMeter::default();
        meter.observe(&day(5_000_000), at(50_000), 0);
        let rate = meter.observe(&day(5_100_000), at(50_010), 0);
        assert!(rate.is_some_and(|rate| rate < 110.0), "{rate:?}");
    }

    #[test]
    fn without_readings_there_is_no_rate() {
        let mut meter = RateMeter::default();
        assert_eq!(meter.observe(&day(0), at(3_600), 0), None);
        assert_eq!(
            meter.observe(
                &day(100),
                Front {
                    at_us: SECOND,
                    oldest_us: Some(0),
                    ahead: 8
                },
                0
            ),
            None
        );
    }
}

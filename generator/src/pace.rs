//! When to send: an open-loop schedule, kept by governor.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use crate::flags::Rate;

/// A stall of up to so long is caught up with; a longer one lowers the total.
const CATCH_UP_S: f64 = 10.0;
/// Readings are let go in chunks of about this long: timers are no finer than a millisecond.
const CHUNK_S: f64 = 0.002;
/// Readings per chunk when nothing holds them back.
const MAX_CHUNK: u32 = 1_024;

/// The schedule of one connection.
#[derive(Debug)]
pub(crate) struct Pace {
    started: Instant,
    limit: Option<Limit>,
    chunk: u32,
}

#[derive(Debug)]
struct Limit {
    per_second: f64,
    burst: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl Pace {
    /// A schedule for one of `connections` that share `rate`, in chunks of at most `max_chunk`.
    pub(crate) fn start(rate: Rate, connections: usize, max_chunk: u32) -> Self {
        let max_chunk = max_chunk.clamp(1, MAX_CHUNK);
        let started = Instant::now();
        let Rate::PerSecond(total) = rate else {
            return Self {
                started,
                limit: None,
                chunk: max_chunk,
            };
        };
        let per_second = total / connections as f64;
        let chunk = ((per_second * CHUNK_S) as u32).clamp(1, max_chunk);
        // governor forgets credit beyond the burst, so that late timers would lower the rate: the burst is as long as
        // the stall that is to be caught up with. It also starts with a full burst, which is taken out at once.
        let burst = ((per_second * CATCH_UP_S) as u32).max(chunk);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let period = Duration::from_secs_f64(1.0 / per_second);
        let limit = Quota::with_period(period).map(|quota| {
            let limiter = RateLimiter::direct(quota.allow_burst(burst));
            // Fits the burst and the limiter is fresh: it cannot fail.
            let _ = limiter.check_n(burst);
            Limit {
                per_second,
                burst,
                limiter,
            }
        });
        Self {
            started,
            limit,
            chunk,
        }
    }

    /// Readings to send at a time.
    pub(crate) fn chunk(&self) -> u32 {
        self.chunk
    }

    /// Waits until `readings` more may be sent.
    pub(crate) async fn wait(&self, readings: u32) {
        let Some(limit) = &self.limit else { return };
        let mut left = readings;
        // governor refuses to wait for more than its burst at once.
        while let Some(part) = NonZeroU32::new(left.min(limit.burst.get())) {
            let fits = limit.limiter.until_n_ready(part).await;
            debug_assert!(fits.is_ok(), "the part is no longer than the burst");
            left -= part.get();
        }
    }

    /// When the schedule wanted `readings` to be out; `None` without a schedule.
    pub(crate) fn intended(&self, readings: u64) -> Option<Instant> {
        let limit = self.limit.as_ref()?;
        let after = Duration::from_secs_f64(readings as f64 / limit.per_second);
        Some(self.started + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_hundred_thousand_per_second_are_met_within_one_percent() {
        let pace = Pace::start(Rate::PerSecond(200_000.0), 1, u32::MAX);
        let mut sent = 0_u64;
        while pace.started.elapsed() < Duration::from_secs(1) {
            pace.wait(pace.chunk()).await;
            sent += u64::from(pace.chunk());
        }
        let rate = sent as f64 / pace.started.elapsed().as_secs_f64();
        assert!((198_000.0..=202_000.0).contains(&rate), "{rate}");
    }

    #[tokio::test]
    async fn a_stall_is_caught_up_with() {
        let pace = Pace::start(Rate::PerSecond(10_000.0), 1, u32::MAX);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let resumed = Instant::now();
        for _ in 0..3_000 / pace.chunk() {
            pace.wait(pace.chunk()).await;
        }
        assert!(resumed.elapsed() < Duration::from_millis(100));
    }
}

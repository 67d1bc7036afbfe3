//! When to send: an open-loop schedule, kept by governor, that may change its rate at any time.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::{sync::watch, time::Instant};

use crate::flags::Rate;

/// A stall of up to so long is caught up with; a longer one lowers the total.
const CATCH_UP_S: f64 = 10.0;
/// Readings are let go in chunks of about this long: timers are no finer than a millisecond.
const CHUNK_S: f64 = 0.002;
/// Readings per chunk when nothing holds them back.
const MAX_CHUNK: u32 = 1_024;
/// Pace of the timestamps where the run has none: 200,000 readings per second.
const MAX_RATE_STEP_US: f64 = 5.0;

/// The distance of timestamps at this rate, microseconds.
pub(crate) fn step_us(rate: Rate) -> f64 {
    match rate {
        Rate::PerSecond(rate) => 1e6 / rate,
        Rate::Max => MAX_RATE_STEP_US,
    }
}

/// The schedule of one connection.
#[derive(Debug)]
pub(crate) struct Pace {
    connections: f64,
    max_chunk: u32,
    rates: watch::Receiver<Rate>,
    segment: RwLock<Arc<Segment>>,
}

/// The time between two changes of the rate.
#[derive(Debug)]
struct Segment {
    rate: Rate,
    started: Instant,
    limit: Option<Limit>,
    chunk: u32,
    /// Readings that were let go in this segment.
    let_go: AtomicU64,
}

#[derive(Debug)]
struct Limit {
    per_second: f64,
    burst: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl Pace {
    /// A schedule for one of `connections` that share a rate that never changes, in chunks of at most `max_chunk`.
    pub(crate) fn fixed(rate: Rate, connections: usize, max_chunk: u32) -> Self {
        Self::start(watch::channel(rate).1, connections, max_chunk)
    }

    /// As [`fixed`](Self::fixed), with a rate that follows `rates` at once.
    pub(crate) fn start(rates: watch::Receiver<Rate>, connections: usize, max_chunk: u32) -> Self {
        let connections = connections as f64;
        let max_chunk = max_chunk.clamp(1, MAX_CHUNK);
        let segment = Segment::start(*rates.borrow(), connections, max_chunk);
        Self {
            connections,
            max_chunk,
            rates,
            segment: RwLock::new(Arc::new(segment)),
        }
    }

    /// Readings to send at a time.
    pub(crate) fn chunk(&self) -> u32 {
        self.current().chunk
    }

    pub(crate) fn rate(&self) -> Rate {
        self.current().rate
    }

    /// Waits until `readings` more may be sent, and returns when the schedule wanted the last of them to be out; `None`
    /// without a schedule.
    pub(crate) async fn wait(&self, readings: u32) -> Option<Instant> {
        let mut rates = self.rates.clone();
        loop {
            let segment = self.current();
            tokio::select! {
                biased;
                () = segment.wait(readings) => return segment.take(readings),
                Ok(()) = rates.changed() => drop(rates.borrow_and_update()),
            }
        }
    }

    fn current(&self) -> Arc<Segment> {
        let wanted = *self.rates.borrow();
        {
            let segment = self.segment.read().unwrap_or_else(PoisonError::into_inner);
            if segment.rate == wanted {
                return Arc::clone(&segment);
            }
        }
        let mut segment = self.segment.write().unwrap_or_else(PoisonError::into_inner);
        if segment.rate != wanted {
            *segment = Arc::new(Segment::start(wanted, self.connections, self.max_chunk));
        }
        Arc::clone(&segment)
    }
}

impl Segment {
    fn start(rate: Rate, connections: f64, max_chunk: u32) -> Self {
        let started = Instant::now();
        let Rate::PerSecond(total) = rate else {
            return Self {
                rate,
                started,
                limit: None,
                chunk: max_chunk,
                let_go: AtomicU64::new(0),
            };
        };
        let per_second = total / connections;
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
            rate,
            started,
            limit,
            chunk,
            let_go: AtomicU64::new(0),
        }
    }

    async fn wait(&self, readings: u32) {
        let Some(limit) = &self.limit else { return };
        let mut left = readings;
        // governor refuses to wait for more than its burst at once.
        while let Some(part) = NonZeroU32::new(left.min(limit.burst.get())) {
            let fits = limit.limiter.until_n_ready(part).await;
            debug_assert!(fits.is_ok(), "the part is no longer than the burst");
            left -= part.get();
        }
    }

    /// Callers do not get their turn in the order in which they asked: places are given when readings are let go.
    fn take(&self, readings: u32) -> Option<Instant> {
        let limit = self.limit.as_ref()?;
        let readings = u64::from(readings);
        let place = self.let_go.fetch_add(readings, Ordering::Relaxed) + readings;
        let after = Duration::from_secs_f64(place as f64 / limit.per_second);
        Some(self.started + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent_within(pace: &Pace, time: Duration) -> u64 {
        let end = Instant::now() + time;
        let mut sent = 0_u64;
        while Instant::now() < end {
            let chunk = pace.chunk();
            if tokio::time::timeout_at(end, pace.wait(chunk)).await.is_ok() {
                sent += u64::from(chunk);
            }
        }
        sent
    }

    #[tokio::test]
    async fn two_hundred_thousand_per_second_are_met_within_one_percent_and_without_a_burst() {
        let started = Instant::now();
        let pace = Pace::fixed(Rate::PerSecond(200_000.0), 1, u32::MAX);
        let first = sent_within(&pace, Duration::from_millis(100)).await;
        let most = started.elapsed().as_secs_f64() * 200_000.0;
        assert!(
            first as f64 <= most,
            "{first} in the first tenth of a second"
        );
        let sent = first + sent_within(&pace, Duration::from_millis(900)).await;
        let rate = sent as f64 / started.elapsed().as_secs_f64();
        assert!((198_000.0..=202_000.0).contains(&rate), "{rate}");
    }

    #[tokio::test]
    async fn a_stall_is_caught_up_with() {
        let pace = Pace::fixed(Rate::PerSecond(10_000.0), 1, u32::MAX);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let resumed = Instant::now();
        for _ in 0..3_000 / pace.chunk() {
            pace.wait(pace.chunk()).await;
        }
        assert!(resumed.elapsed() < Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_new_rate_takes_effect_at_once() {
        let (rates, receiver) = watch::channel(Rate::PerSecond(0.001));
        let pace = Arc::new(Pace::start(receiver, 1, u32::MAX));
        let waiting = tokio::spawn({
            let pace = Arc::clone(&pace);
            async move { pace.wait(1).await }
        });
        tokio::task::yield_now().await;
        let changed = Instant::now();
        rates.send_replace(Rate::Max);
        assert_eq!(waiting.await.unwrap(), None);
        assert!(changed.elapsed() < Duration::from_secs(1));
        rates.send_replace(Rate::PerSecond(10.0));
        assert_eq!(pace.rate(), Rate::PerSecond(10.0));
    }
}

//! When to send: an open-loop schedule, kept by governor on tokio's clock, that may change its rate at any time.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_timer::Delay;
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::{sync::watch, time::Instant};

use crate::flags::Rate;

/// A stall of up to so long is caught up with; a longer one lowers the total.
const CATCH_UP_S: f64 = 10.0;
/// Readings are let go in chunks of about this long, so that a high rate does not wake the sender for each of them.
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
    /// Nanoseconds from the start to the time at which the last reading that was let go was due.
    due_ns: AtomicU64,
}

#[derive(Debug)]
struct Limit {
    /// From one reading to the next.
    period: Duration,
    burst: NonZeroU32,
    clock: SinceStart,
    limiter: Limiter,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, SinceStart, NoOpMiddleware<Duration>>;

/// Tokio's clock, which tests can hold and turn.
#[derive(Debug, Clone, Copy)]
struct SinceStart(Instant);

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Tokio's timers are no finer than a millisecond, which would show in every latency. Tests need time to be tokio's.
async fn sleep(time: Duration) {
    match cfg!(test) {
        true => tokio::time::sleep(time).await,
        false => Delay::new(time).await,
    }
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

    /// Waits until `readings` more may be sent, and returns when the schedule wanted the first of them to be out: while
    /// they are gathered, it waits already. `None` without a schedule.
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
                due_ns: AtomicU64::new(0),
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
            let clock = SinceStart(started);
            let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), clock);
            // Fits the burst and the limiter is fresh: it cannot fail.
            let _ = limiter.check_n(burst);
            Limit {
                period,
                burst,
                clock,
                limiter,
            }
        });
        Self {
            rate,
            started,
            limit,
            chunk,
            due_ns: AtomicU64::new(0),
        }
    }

    async fn wait(&self, readings: u32) {
        let Some(limit) = &self.limit else { return };
        let mut left = readings;
        // governor refuses to wait for more than its burst at once.
        while let Some(part) = NonZeroU32::new(left.min(limit.burst.get())) {
            match limit.limiter.check_n(part) {
                Ok(Ok(())) => left -= part.get(),
                Ok(Err(not_until)) => sleep(not_until.wait_time_from(limit.clock.now())).await,
                Err(_) => unreachable!("the part is no longer than the burst"),
            }
        }
    }

    /// Callers do not get their turn in the order in which they asked: places are given when readings are let go.
    fn take(&self, readings: u32) -> Option<Instant> {
        let limit = self.limit.as_ref()?;
        // By the period that governor counts with: the rate's own, cut to nanoseconds, would drift away from it.
        let period_ns = nanoseconds(limit.period);
        let burst_ns = period_ns.saturating_mul(limit.burst.get().into());
        // Readings that were due before that are skipped: governor lets no more than a burst go at once. A batch that is
        // longer than the burst takes more time to gather, and nothing is skipped in it.
        let skipped_ns = match readings <= limit.burst.get() {
            true => nanoseconds(self.started.elapsed()).saturating_sub(burst_ns),
            false => 0,
        };
        let last = |due_ns: u64| {
            due_ns
                .max(skipped_ns)
                .saturating_add(period_ns.saturating_mul(readings.into()))
        };
        let before = self
            .due_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due_ns| {
                Some(last(due_ns))
            });
        let before_ns = before.unwrap_or_default().max(skipped_ns);
        Some(self.started + Duration::from_nanos(before_ns.saturating_add(period_ns)))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent_until(pace: &Pace, end: Instant) -> u64 {
        let mut sent = 0_u64;
        loop {
            let chunk = pace.chunk();
            match tokio::time::timeout_at(end, pace.wait(chunk)).await {
                Ok(_) => sent += u64::from(chunk),
                Err(_) => return sent,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rates_from_one_per_second_to_millions_are_met_within_one_percent_and_without_a_burst()
    {
        for rate in [1.0, 3.0, 1_000.0, 200_000.0, 777_777.0, 5_000_000.0] {
            for connections in [1, 3] {
                let started = Instant::now();
                let share = rate / connections as f64;
                let pace = Pace::fixed(Rate::PerSecond(rate), connections, u32::MAX);
                let mut sent = 0;
                for tenths in 1..=100 {
                    let end = started + Duration::from_millis(100) * tenths;
                    sent += sent_until(&pace, end).await;
                    let due = share * 0.1 * f64::from(tenths);
                    assert!(sent as f64 <= due * 1.001, "{sent} of {due} at {rate}");
                }
                // What is not yet a whole chunk is still to come.
                let least = share * 10.0 * 0.99 - f64::from(pace.chunk());
                assert!(sent as f64 >= least, "{sent} of {least} at {rate}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_caught_up_with_and_its_readings_are_late() {
        let started = Instant::now();
        let pace = Pace::fixed(Rate::PerSecond(10_000.0), 1, u32::MAX);
        tokio::time::advance(Duration::from_secs(3)).await;
        for number in 1..=30_000 / u64::from(pace.chunk()) {
            let intended = pace.wait(pace.chunk()).await.unwrap();
            let first = u64::from(pace.chunk()) * (number - 1) + 1;
            assert_eq!(intended - started, Duration::from_micros(100 * first));
        }
        assert_eq!(started.elapsed(), Duration::from_secs(3), "all at once");
        let next = pace.wait(pace.chunk()).await.unwrap();
        assert!(next <= Instant::now() && started.elapsed() > Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_long_stall_leaves_out_does_not_make_later_readings_late() {
        let pace = Pace::fixed(Rate::PerSecond(10_000.0), 1, u32::MAX);
        tokio::time::advance(Duration::from_secs(30)).await;
        let back = Instant::now();
        let mut caught_up = 0;
        let next = loop {
            let intended = pace.wait(pace.chunk()).await.unwrap();
            if back.elapsed() > Duration::ZERO {
                break intended;
            }
            assert!(back - intended <= Duration::from_secs_f64(CATCH_UP_S));
            caught_up += u64::from(pace.chunk());
        };
        assert_eq!(caught_up, 100_000, "ten seconds' worth");
        let late = Instant::now() - next;
        assert!(late <= Duration::from_millis(3), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_takes_long_to_gather_counts_from_its_first_reading() {
        let started = Instant::now();
        let pace = Pace::fixed(Rate::PerSecond(10.0), 1, u32::MAX);
        for number in 0..3 {
            let intended = pace.wait(400).await.unwrap();
            let first = Duration::from_millis(100) * (400 * number + 1);
            assert_eq!(intended - started, first);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_rate_takes_effect_at_once() {
        let started = Instant::now();
        let (rates, receiver) = watch::channel(Rate::PerSecond(0.001));
        let pace = Arc::new(Pace::start(receiver, 1, u32::MAX));
        let waiting = tokio::spawn({
            let pace = Arc::clone(&pace);
            async move { pace.wait(1).await }
        });
        tokio::task::yield_now().await;
        rates.send_replace(Rate::Max);
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!(started.elapsed(), Duration::ZERO);
        rates.send_replace(Rate::PerSecond(10.0));
        assert_eq!(pace.rate(), Rate::PerSecond(10.0));
        let intended = pace.wait(1).await.unwrap();
        assert_eq!(intended - started, Duration::from_millis(100));
    }
}

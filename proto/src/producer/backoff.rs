//! How long to wait before the next attempt: exponential with full jitter, so that a fleet does not come back at once.

use std::time::Duration;

use rand::Rng as _;

#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            attempt: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// A random time up to a ceiling that starts at `min` and doubles until it reaches `max`.
    pub(super) fn next_delay(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    fn ceiling(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.attempt);
        self.min.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_stays_below_a_ceiling_that_doubles_up_to_the_maximum() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(35));
        for ceiling_ms in [10, 20, 35, 35] {
            assert_eq!(backoff.ceiling(), Duration::from_millis(ceiling_ms));
            assert!(backoff.next_delay() <= Duration::from_millis(ceiling_ms));
        }
        backoff.attempt = u32::MAX;
        assert!(backoff.next_delay() <= Duration::from_millis(35));
        backoff.reset();
        assert_eq!(backoff.ceiling(), Duration::from_millis(10));
    }
}

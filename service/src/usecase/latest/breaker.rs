//! Leaves a cache alone that does not answer, so that nobody waits for it again and again.

use std::time::{Duration, Instant};

/// So many failures in a row are enough.
const FAILURES: u32 = 3;
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// In a row.
    failures: u32,
    /// Not before.
    again_at: Option<Instant>,
}

impl Breaker {
    pub(super) fn is_closed(&self, now: Instant) -> bool {
        self.again_at.is_none_or(|at| at <= now)
    }

    /// Says whether the cache answers again, after it did not.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(self).failures >= FAILURES
    }

    /// Says whether it is left alone from now on, after it was not.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let Some(beyond) = self.failures.checked_sub(FAILURES) else {
            return false;
        };
        let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(beyond));
        self.again_at = Some(now + pause.min(PAUSE_MAX));
        beyond == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_give_a_pause_that_grows() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        assert!(!breaker.failed(start) && !breaker.failed(start));
        assert!(!breaker.succeeded());
        assert!(!breaker.failed(start) && !breaker.failed(start));
        assert!(breaker.is_closed(start));
        assert!(breaker.failed(start));
        assert!(!breaker.is_closed(start) && breaker.is_closed(at(1)));
        // One more is enough now.
        assert!(!breaker.failed(at(1)));
        assert!(!breaker.is_closed(at(2)) && breaker.is_closed(at(3)));
        for _ in 0..9 {
            breaker.failed(at(3));
        }
        assert!(!breaker.is_closed(at(12)) && breaker.is_closed(at(13)));
        assert!(breaker.succeeded());
        assert!(breaker.is_closed(start));
    }
}

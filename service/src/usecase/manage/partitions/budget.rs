//! Time that altering the table may take: ingestion waits meanwhile.

use std::time::Duration;

use tokio::time::Instant;

/// What is saved up at the most is the share of so much time, seconds.
const SAVED_OF_S: f64 = 600.0;

/// Earns a share of the time that passes, and is spent on altering the table.
#[derive(Debug)]
pub(super) struct Budget {
    /// Of the time that passes.
    share: f64,
    saved_s: f64,
    at: Instant,
}

impl Budget {
    pub(super) fn full(share: f64, now: Instant) -> Self {
        Self {
            share,
            saved_s: share * SAVED_OF_S,
            at: now,
        }
    }

    /// Whether anything is left. What is altered then may take longer than that, and has to be earned afterwards.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let passed_s = now.duration_since(self.at).as_secs_f64();
        self.saved_s = (self.saved_s + self.share * passed_s).min(self.share * SAVED_OF_S);
        self.at = now;
        self.saved_s > 0.0
    }

    pub(super) fn spend(&mut self, took: Duration) {
        self.saved_s -= took.as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn altering_takes_a_hundredth_of_the_time_however_much_is_asked_for() {
        const SHARE: f64 = 0.01;
        let start = Instant::now();
        let mut budget = Budget::full(SHARE, start);
        let took = Duration::from_millis(300);
        let mut altering = Duration::ZERO;
        let day = Duration::from_secs(86_400);
        let mut now = start;
        while now < start + day {
            if budget.allows(now) {
                budget.spend(took);
                altering += took;
            }
            now += Duration::from_secs(1);
        }
        let most = day.mul_f64(SHARE) + Duration::from_secs_f64(SHARE * SAVED_OF_S) + took;
        assert!(altering <= most, "{altering:?}");
        assert!(altering >= day.mul_f64(0.9 * SHARE), "{altering:?}");
    }
}

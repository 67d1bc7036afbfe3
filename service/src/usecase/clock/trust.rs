//! Whether the clock may be believed: pure, over the time that the clocks tell and the time that has passed meanwhile.
//!
//! Retention erases for good, so it must not follow a clock that jumps. Time that has passed, as the operating system
//! counts it, says how far a sound clock can have come since the last look.

use crate::repository::KeptClock;

const SECOND_US: i64 = 1_000_000;
/// A clock may be ahead of the time that has passed by this much: the service was stopped over night, or the clock was
/// corrected.
pub(super) const LEAP_US: i64 = 86_400 * SECOND_US;
/// A clock that has jumped is believed after so long without another jump.
pub(super) const STEADY_US: i64 = 86_400 * SECOND_US;
/// Between two looks a steady clock goes as far as the time that has passed, give or take this.
const DRIFT_US: i64 = 300 * SECOND_US;

/// What is believed, as of the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// The latest time that was ever taken for now; None before the first look of all.
    trusted_us: Option<i64>,
    waiting: Option<Waiting>,
}

/// A clock that has jumped ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) clock_us: i64,
    pub(super) steady_us: i64,
}

impl Trust {
    /// As an earlier run, or another instance, left it.
    pub(super) fn of_kept(kept: KeptClock) -> Self {
        Self {
            trusted_us: Some(kept.trusted_us),
            waiting: kept.waiting_us.map(|clock_us| Waiting {
                clock_us,
                steady_us: i64::from(kept.steady_s) * SECOND_US,
            }),
        }
    }

    /// For the next run; None before the first look.
    pub(super) fn kept(&self) -> Option<KeptClock> {
        let steady_us = self.waiting.map_or(0, |waiting| waiting.steady_us);
        Some(KeptClock {
            trusted_us: self.trusted_us?,
            waiting_us: self.waiting.map(|waiting| waiting.clock_us),
            steady_s: u32::try_from(steady_us / SECOND_US).unwrap_or(u32::MAX),
        })
    }

    /// Another instance, or an operator, believes a later time.
    pub(super) fn hear(&mut self, trusted_us: i64) {
        self.trusted_us = self.trusted_us.max(Some(trusted_us));
    }

    /// The latest time that may be taken for now, `passed_us` after the last look.
    pub(super) fn expected_us(&self, passed_us: i64) -> Option<i64> {
        Some(self.trusted_us?.saturating_add(passed_us))
    }

    /// What is taken for now where the clocks say `clock_us`: a clock that has jumped ahead is not followed.
    pub(super) fn believed_us(&self, clock_us: i64, passed_us: i64) -> i64 {
        match self.expected_us(passed_us) {
            Some(expected_us) if clock_us > expected_us.saturating_add(LEAP_US) => expected_us,
            _ => clock_us,
        }
    }

    /// Looks at a clock, `passed_us` after the last look of this process; None for its first. Returns the jump that is
    /// waited for.
    pub(super) fn look(&mut self, clock_us: i64, passed_us: Option<i64>) -> Option<Waiting> {
        let passed = passed_us.unwrap_or(0);
        let expected_us = self.expected_us(passed).unwrap_or(clock_us);
        if clock_us <= expected_us.saturating_add(LEAP_US) {
            // A clock that goes back, and is put right later, has not jumped.
            self.trusted_us = Some(expected_us.max(clock_us));
            self.waiting = None;
            return None;
        }
        let steady_us = self
            .waiting
            .map_or(0, |waiting| steady(waiting, clock_us, passed_us));
        if steady_us >= STEADY_US {
            self.confirm(clock_us);
            return None;
        }
        self.trusted_us = Some(expected_us);
        self.waiting = Some(Waiting {
            clock_us,
            steady_us,
        });
        self.waiting
    }

    /// Believes the clock, whatever was before.
    pub(super) fn confirm(&mut self, clock_us: i64) {
        self.trusted_us = Some(clock_us);
        self.waiting = None;
    }
}

/// For how long the clock has been steady; 0 when it jumped again.
fn steady(waiting: Waiting, clock_us: i64, passed_us: Option<i64>) -> i64 {
    let gone_us = clock_us.saturating_sub(waiting.clock_us);
    let (steady, gained_us) = match passed_us {
        Some(passed_us) => ((gone_us - passed_us).abs() <= DRIFT_US, passed_us),
        // Nobody watched while the service was down.
        None => ((-DRIFT_US..=LEAP_US).contains(&gone_us), 0),
    };
    if steady {
        waiting.steady_us + gained_us
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400 * SECOND_US;
    const HOUR_US: i64 = 3_600 * SECOND_US;
    const NOW_US: i64 = 1_767_225_600_000_000;

    fn seen_at(clock_us: i64) -> Trust {
        let mut trust = Trust::default();
        assert_eq!(trust.look(clock_us, None), None);
        trust
    }

    #[test]
    fn a_clock_that_goes_on_is_believed() {
        let mut trust = seen_at(NOW_US);
        for step in 1..100 {
            assert_eq!(trust.look(NOW_US + step * HOUR_US, Some(HOUR_US)), None);
        }
        assert_eq!(trust.expected_us(0), Some(NOW_US + 99 * HOUR_US));
    }

    #[test]
    fn a_jump_of_400_days_is_not_followed() {
        let mut trust = seen_at(NOW_US);
        let ahead_us = NOW_US + 400 * DAY_US;
        assert!(trust.look(ahead_us, Some(SECOND_US)).is_some());
        assert_eq!(trust.believed_us(ahead_us, 0), NOW_US + SECOND_US);
        // Nor after a restart.
        let kept = trust.kept().unwrap();
        assert_eq!(kept.trusted_us, NOW_US + SECOND_US);
        let mut restarted = Trust::of_kept(kept);
        assert!(restarted.look(ahead_us + HOUR_US, None).is_some());
        // Once it is put right, all is well at once.
        assert_eq!(restarted.look(NOW_US + HOUR_US, Some(SECOND_US)), None);
    }

    #[test]
    fn a_clock_that_has_jumped_is_believed_after_a_day_of_steadiness() {
        let mut trust = seen_at(NOW_US);
        let mut clock_us = NOW_US + 400 * DAY_US;
        assert!(trust.look(clock_us, Some(0)).is_some());
        for _ in 0..23 {
            clock_us += HOUR_US;
            assert!(trust.look(clock_us, Some(HOUR_US)).is_some());
        }
        // A restart loses nothing of it, and gains nothing.
        trust = Trust::of_kept(trust.kept().unwrap());
        assert!(trust.look(clock_us + 10 * HOUR_US, None).is_some());
        assert_eq!(trust.look(clock_us + 11 * HOUR_US, Some(HOUR_US)), None);
        assert_eq!(trust.expected_us(0), Some(clock_us + 11 * HOUR_US));
    }

    #[test]
    fn a_second_jump_begins_the_day_anew() {
        let mut trust = seen_at(NOW_US);
        let first_us = NOW_US + 400 * DAY_US;
        trust.look(first_us, Some(0));
        trust.look(first_us + HOUR_US, Some(HOUR_US));
        let waiting = trust.look(first_us + 3 * HOUR_US, Some(HOUR_US)).unwrap();
        assert_eq!(waiting.steady_us, 0);
    }

    #[test]
    fn a_clock_that_went_back_and_is_put_right_has_not_jumped() {
        let mut trust = seen_at(NOW_US);
        assert_eq!(trust.look(NOW_US - 400 * DAY_US, Some(HOUR_US)), None);
        assert_eq!(
            trust.believed_us(NOW_US - 400 * DAY_US, 0),
            NOW_US - 400 * DAY_US
        );
        assert_eq!(trust.look(NOW_US + 2 * HOUR_US, Some(HOUR_US)), None);
    }

    #[test]
    fn a_word_is_enough() {
        let mut trust = seen_at(NOW_US);
        let ahead_us = NOW_US + 400 * DAY_US;
        trust.look(ahead_us, Some(0));
        trust.hear(ahead_us);
        assert_eq!(trust.look(ahead_us + SECOND_US, Some(SECOND_US)), None);
    }
}

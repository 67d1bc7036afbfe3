//! How fast a long change goes: readings that come in have the right of way.

use std::time::Duration;

/// While readings come in, a change rests for so many times as long as it worked.
const RESTS_PER_WORK: u32 = 8;
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How long to rest after a step that took `worked`.
pub(super) fn rest(worked: Duration, readings_come_in: bool) -> Duration {
    if readings_come_in {
        (worked * RESTS_PER_WORK).min(LONGEST_REST)
    } else {
        Duration::ZERO
    }
}

/// How long to wait before a step that met other transactions is tried again, with jitter.
pub(super) fn back_off(attempt: u32) -> Duration {
    let longest_ms = 20_u64 << attempt.min(6);
    Duration::from_millis(rand::random_range(longest_ms / 2..=longest_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_gives_way_to_readings_but_never_rests_for_long() {
        let worked = Duration::from_millis(10);
        assert_eq!(rest(worked, false), Duration::ZERO);
        assert_eq!(rest(worked, true), Duration::from_millis(80));
        assert_eq!(rest(Duration::from_secs(60), true), LONGEST_REST);
    }
}

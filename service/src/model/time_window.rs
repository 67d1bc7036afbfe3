//! Which instants are taken, and what is said of the others. The commonest mistake of a client is the unit.

use std::fmt;

use chrono::{DateTime, SecondsFormat};

use super::{TimeSpan, TimestampRange};

/// The instants that are taken at a moment. The table says what it can hold, settings what is plausible, retention what
/// it would not remove at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    /// First instant that is taken, microseconds since the Unix epoch.
    min_us: i64,
    /// Last instant that is taken, microseconds since the Unix epoch.
    max_us: i64,
    table: TimestampRange,
    earliest_us: Option<i64>,
    retention: Option<Bound>,
    max_ahead: Option<Bound>,
}

/// A setting, and the instant that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    span: TimeSpan,
    at_us: i64,
}

impl TimeWindow {
    /// Everything that the table can hold.
    #[must_use]
    pub fn of_table(table: TimestampRange) -> Self {
        Self {
            min_us: table.min_us,
            max_us: table.max_us,
            table,
            earliest_us: None,
            retention: None,
            max_ahead: None,
        }
    }

    /// Nothing before `earliest_us`, microseconds since the Unix epoch.
    #[must_use]
    pub fn not_before(mut self, earliest_us: i64) -> Self {
        self.earliest_us = Some(earliest_us);
        self.min_us = self.min_us.max(earliest_us);
        self
    }

    /// Nothing that is older than `retention` at `now_us`.
    #[must_use]
    pub fn kept_for(mut self, retention: TimeSpan, now_us: i64) -> Self {
        let at_us = now_us.saturating_sub(retention.us());
        self.retention = Some(Bound {
            span: retention,
            at_us,
        });
        self.min_us = self.min_us.max(at_us);
        self
    }

    /// Nothing that is further ahead of `now_us` than `max_ahead`.
    #[must_use]
    pub fn at_most_ahead(mut self, max_ahead: TimeSpan, now_us: i64) -> Self {
        let at_us = now_us.saturating_add(max_ahead.us());
        self.max_ahead = Some(Bound {
            span: max_ahead,
            at_us,
        });
        self.max_us = self.max_us.min(at_us);
        self
    }

    #[inline]
    #[must_use]
    pub fn contains(&self, timestamp_us: i64) -> bool {
        self.min_us <= timestamp_us && timestamp_us <= self.max_us
    }

    /// Why an instant is not taken; None for one that is.
    #[cold]
    #[must_use]
    pub fn fault(&self, timestamp_us: i64) -> Option<TimeFault> {
        if self.contains(timestamp_us) {
            return None;
        }
        let early = self.earliest_us.filter(|&at_us| timestamp_us < at_us);
        let old = self.retention.filter(|bound| timestamp_us < bound.at_us);
        let ahead = self.max_ahead.filter(|bound| bound.at_us < timestamp_us);
        let (limit, bound) = match (early, old, ahead) {
            (Some(earliest_us), ..) => (TimeLimit::Earliest, days(earliest_us)),
            (_, Some(bound), _) => (TimeLimit::Retention, seconds(bound.span)),
            (_, _, Some(bound)) => (TimeLimit::MaxAhead, seconds(bound.span)),
            _ if timestamp_us < self.table.min_us => {
                (TimeLimit::TableBegin, days(self.table.min_us))
            }
            _ => (TimeLimit::TableEnd, days(self.table.max_us)),
        };
        Some(TimeFault {
            timestamp_us,
            bound,
            limit,
            unit: self.likely_unit(timestamp_us),
        })
    }

    /// The unit in which the instant would be taken, if there is one.
    fn likely_unit(&self, timestamp_us: i64) -> Option<Unit> {
        let units = [Unit::Seconds, Unit::Milliseconds, Unit::Nanoseconds];
        // A time of 0 is one in every unit.
        let told = units.into_iter().filter(|_| timestamp_us != 0);
        let mut fitting = told.filter(|unit| {
            let meant_us = unit.to_us(timestamp_us);
            meant_us.is_some_and(|meant_us| self.contains(meant_us))
        });
        fitting.next()
    }
}

/// An instant that is not taken, and why. Small, because room is taken for one with every reading (P4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFault {
    timestamp_us: i64,
    /// Days since the Unix epoch, or the seconds of a span.
    bound: i32,
    limit: TimeLimit,
    unit: Option<Unit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeLimit {
    Earliest,
    Retention,
    MaxAhead,
    TableBegin,
    TableEnd,
}

fn days(at_us: i64) -> i32 {
    // Fits for every year that a column can hold.
    at_us.div_euclid(TimeSpan::DAY.us()) as i32
}

fn seconds(span: TimeSpan) -> i32 {
    i32::try_from(span.seconds()).unwrap_or(i32::MAX)
}

/// What a client may have sent instead of microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    Nanoseconds,
}

impl Unit {
    fn to_us(self, number: i64) -> Option<i64> {
        match self {
            Self::Seconds => number.checked_mul(1_000_000),
            Self::Milliseconds => number.checked_mul(1_000),
            Self::Nanoseconds => Some(number / 1_000),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }
}

/// As people read it; None for what no calendar here can name.
fn shown(timestamp_us: i64) -> Option<String> {
    let at = DateTime::from_timestamp_micros(timestamp_us)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn shown_day(days: i32) -> String {
    let at = DateTime::from_timestamp_micros(i64::from(days) * TimeSpan::DAY.us());
    at.unwrap_or_default().date_naive().to_string()
}

impl fmt::Display for TimeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timestamp_us: {} as microseconds", self.timestamp_us)?;
        match shown(self.timestamp_us) {
            Some(at) => write!(f, " is {at}, ")?,
            None => f.write_str(" is a time ")?,
        }
        let day = || shown_day(self.bound);
        let span = || TimeSpan::of_seconds(self.bound.into());
        match self.limit {
            TimeLimit::Earliest => write!(f, "before ingest.earliest ({})", day())?,
            TimeLimit::Retention => write!(
                f,
                "older than partitions.retention ({}), which would remove it at once",
                span()
            )?,
            TimeLimit::MaxAhead => {
                write!(f, "ahead of now by more than ingest.max_ahead ({})", span())?;
            }
            TimeLimit::TableBegin => {
                write!(f, "before {}, the first day that the table can hold", day())?;
            }
            TimeLimit::TableEnd => {
                write!(f, "after {}, the last day that the table can hold", day())?;
            }
        }
        match self.unit {
            Some(unit) => write!(f, ": {}?", unit.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01T00:00:00Z.
    const NOW_US: i64 = 1_767_225_600_000_000;
    const YEAR_1971_US: i64 = 31_536_000_000_000;

    fn window() -> TimeWindow {
        TimeWindow::of_table(TimestampRange::DATETIME_6)
            .not_before(YEAR_1971_US)
            .at_most_ahead(TimeSpan::DAY, NOW_US)
    }

    fn said(window: &TimeWindow, timestamp_us: i64) -> String {
        let fault = window.fault(timestamp_us);
        fault.map_or("taken".to_owned(), |fault| fault.to_string())
    }

    #[test]
    fn a_wrong_unit_is_named() {
        let window = window();
        assert_eq!(
            said(&window, NOW_US / 1_000_000),
            "timestamp_us: 1767225600 as microseconds is 1970-01-01T00:29:27Z, before ingest.earliest \
             (1971-01-01): seconds?"
        );
        assert_eq!(
            said(&window, NOW_US / 1_000),
            "timestamp_us: 1767225600000 as microseconds is 1970-01-21T10:53:45Z, before ingest.earliest \
             (1971-01-01): milliseconds?"
        );
        assert_eq!(
            said(&window, NOW_US * 1_000),
            "timestamp_us: 1767225600000000000 as microseconds is +57971-02-25T00:00:00Z, ahead of now by more than \
             ingest.max_ahead (1d): nanoseconds?"
        );
    }

    #[test]
    fn a_fault_takes_little_room() {
        assert_eq!(size_of::<TimeFault>(), 16);
    }

    #[test]
    fn what_is_no_unit_is_not_guessed_at() {
        let window = window();
        for timestamp_us in [0, -1, YEAR_1971_US - 1, NOW_US + 2 * TimeSpan::DAY.us()] {
            assert!(!said(&window, timestamp_us).ends_with('?'));
        }
        let beyond = said(&window, i64::MAX);
        assert!(beyond.contains("ingest.max_ahead (1d)"), "{beyond}");
    }

    #[test]
    fn the_bounds_belong_to_the_window() {
        let window = window();
        for timestamp_us in [YEAR_1971_US, NOW_US, NOW_US + TimeSpan::DAY.us()] {
            assert_eq!(window.fault(timestamp_us), None);
        }
        assert!(window.fault(YEAR_1971_US - 1).is_some());
        assert!(window.fault(NOW_US + TimeSpan::DAY.us() + 1).is_some());
    }

    #[test]
    fn what_retention_would_remove_is_refused_in_its_name() {
        let hour = TimeSpan::minutes(60);
        let window = window().kept_for(hour, NOW_US);
        assert_eq!(window.fault(NOW_US - hour.us()), None);
        assert_eq!(
            said(&window, NOW_US - hour.us() - 1),
            "timestamp_us: 1767221999999999 as microseconds is 2025-12-31T22:59:59Z, older than partitions.retention \
             (1h), which would remove it at once"
        );
    }

    #[test]
    fn without_settings_the_table_decides() {
        let window = TimeWindow::of_table(TimestampRange::DATETIME_6);
        assert_eq!(window.fault(0), None);
        let reason = said(&window, TimestampRange::DATETIME_6.max_us + 1);
        assert!(
            reason.contains("9999-12-31, the last day that the table can hold"),
            "{reason}"
        );
    }
}

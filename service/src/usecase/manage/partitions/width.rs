//! How wide partitions are: as set, or following the rate.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::plan::PARTITIONS_MAX;
use crate::{model::TimeSpan, repository::Partition};

/// Widths that people count in. Each divides the next.
const STEPS: [TimeSpan; 6] = [
    TimeSpan::MINUTE,
    TimeSpan::minutes(5),
    TimeSpan::minutes(15),
    TimeSpan::minutes(60),
    TimeSpan::minutes(6 * 60),
    TimeSpan::DAY,
];
/// What a reading takes with its indexes while partitions are too small to tell. Measured on `partitioned`, with both
/// engines: 152 bytes; on `hashed` about the same.
const BYTES_PER_ROW: f64 = 160.0;
/// Estimates of smaller partitions say little.
const TELLING_ROWS: u64 = 100_000;
/// A partition with fewer readings is not worth its place.
const WORTHWHILE_ROWS: f64 = 1_000.0;
/// To widen again takes more than to narrow, so that a rate near a step does not go back and forth.
const WIDEN_MARGIN: f64 = 1.5;

/// The setting `partitions.width`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WidthSetting {
    /// Follows the observed rate.
    #[default]
    Auto,
    Fixed(TimeSpan),
}

impl FromStr for WidthSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let span: TimeSpan = text.parse()?;
        let whole_minutes = span.us() % TimeSpan::MINUTE.us() == 0;
        if span < TimeSpan::MINUTE || span > TimeSpan::DAY || !whole_minutes {
            return Err(format!("{text} is not auto or whole minutes from 1m to 1d"));
        }
        Ok(Self::Fixed(span))
    }
}

impl fmt::Display for WidthSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(span) => span.fmt(f),
        }
    }
}

impl TryFrom<String> for WidthSetting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<WidthSetting> for String {
    fn from(width: WidthSetting) -> Self {
        width.to_string()
    }
}

/// The width whose partitions fit into `room_bytes` at this rate. Without a rate the narrowest: partitions that turn
/// out too narrow cost little, those that are too wide cost memory until they end.
pub(super) fn fitting(
    rows_per_s: Option<f64>,
    bytes_per_row: f64,
    room_bytes: f64,
    current: TimeSpan,
) -> TimeSpan {
    let Some(rate) = rows_per_s.filter(|rate| *rate > 0.0) else {
        return current;
    };
    let room_s = room_bytes / (rate * bytes_per_row);
    let fits = |margin: f64| {
        let fits = |step: &&TimeSpan| step.seconds() as f64 * margin <= room_s;
        *STEPS.iter().rev().find(fits).unwrap_or(&STEPS[0])
    };
    match fits(1.0) {
        width if width <= current => width,
        _ => fits(WIDEN_MARGIN).max(current),
    }
}

/// The width as it was set, or wider where its partitions would have few readings.
pub(super) fn worthwhile(set: TimeSpan, rows_per_s: Option<f64>) -> TimeSpan {
    let Some(rate) = rows_per_s else {
        return set;
    };
    let is_worthwhile = |width: &TimeSpan| width.seconds() as f64 * rate >= WORTHWHILE_ROWS;
    let widths = std::iter::once(set).chain(STEPS.into_iter().filter(|step| *step > set));
    let wide = widths.clone().last().unwrap_or(set);
    widths.into_iter().find(is_worthwhile).unwrap_or(wide)
}

/// Retention drops whole partitions: what it drops late, because the partition has not ended, is a quarter at the most.
pub(super) fn within_retention(width: TimeSpan, retention: Option<TimeSpan>) -> TimeSpan {
    let Some(retention) = retention else {
        return width;
    };
    let fits = |step: &&TimeSpan| step.us() <= retention.us() / 4;
    let widest = STEPS.iter().rev().find(fits).unwrap_or(&STEPS[0]);
    width.min(*widest)
}

/// Widens as the number of partitions nears its limit, a step with each quarter. The database alters a table of many
/// partitions slowly: MySQL takes half a second where there are 1,300.
pub(super) fn within_limit(width: TimeSpan, partitions: usize) -> TimeSpan {
    let steps = match partitions * 4 / PARTITIONS_MAX {
        0 => return width,
        quarters @ (1 | 2) => quarters,
        _ => STEPS.len(),
    };
    let wider = STEPS.iter().filter(|step| **step > width);
    wider.take(steps).last().copied().unwrap_or(width)
}

pub(super) fn bytes_per_row(partitions: &[Partition]) -> f64 {
    let telling = partitions.iter().filter(|each| each.rows >= TELLING_ROWS);
    let (rows, bytes) = telling.fold((0, 0), |(rows, bytes), each| {
        (rows + each.rows, bytes + each.bytes)
    });
    let ratio = bytes as f64 / rows as f64;
    // Sizes are brought up to date later than counts.
    if (BYTES_PER_ROW / 2.0..10.0 * BYTES_PER_ROW).contains(&ratio) {
        ratio
    } else {
        BYTES_PER_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    fn auto(rate: f64, current: TimeSpan) -> TimeSpan {
        fitting(Some(rate), 150.0, 128.0 * MIB, current)
    }

    #[test]
    fn the_width_follows_the_rate() {
        // 128 MiB hold 894,784 rows of 150 bytes.
        assert_eq!(auto(200_000.0, TimeSpan::DAY), TimeSpan::MINUTE);
        assert_eq!(auto(2_900.0, TimeSpan::DAY), TimeSpan::minutes(5));
        assert_eq!(auto(200.0, TimeSpan::DAY), TimeSpan::minutes(60));
        assert_eq!(auto(1.0, TimeSpan::MINUTE), TimeSpan::DAY);
        let unknown = fitting(None, 150.0, 128.0 * MIB, TimeSpan::MINUTE);
        assert_eq!(unknown, TimeSpan::MINUTE);
    }

    #[test]
    fn a_rate_near_a_step_does_not_go_back_and_forth() {
        let narrow = TimeSpan::minutes(15);
        assert_eq!(auto(240.0, narrow), narrow);
        assert_eq!(auto(240.0, TimeSpan::minutes(60)), TimeSpan::minutes(60));
        assert_eq!(auto(160.0, narrow), TimeSpan::minutes(60));
    }

    #[test]
    fn a_partition_of_a_few_readings_is_made_wider_than_was_set() {
        let minute = TimeSpan::MINUTE;
        assert_eq!(worthwhile(minute, None), minute);
        assert_eq!(worthwhile(minute, Some(20.0)), minute);
        assert_eq!(worthwhile(minute, Some(1.0)), TimeSpan::minutes(60));
        assert_eq!(worthwhile(minute, Some(0.001)), TimeSpan::DAY);
        assert_eq!(worthwhile(TimeSpan::DAY, Some(0.001)), TimeSpan::DAY);
    }

    #[test]
    fn retention_is_at_most_a_quarter_late() {
        let of =
            |retention: i64| within_retention(TimeSpan::DAY, Some(TimeSpan::minutes(retention)));
        assert_eq!(of(30 * 24 * 60), TimeSpan::DAY);
        assert_eq!(of(120), TimeSpan::minutes(15));
        assert_eq!(of(1), TimeSpan::MINUTE);
        assert_eq!(within_retention(TimeSpan::DAY, None), TimeSpan::DAY);
    }

    #[test]
    fn partitions_widen_before_they_are_too_many() {
        let minute = TimeSpan::MINUTE;
        assert_eq!(within_limit(minute, 999), minute);
        assert_eq!(within_limit(minute, 1_000), TimeSpan::minutes(5));
        assert_eq!(within_limit(minute, 2_000), TimeSpan::minutes(15));
        assert_eq!(within_limit(minute, 3_000), TimeSpan::DAY);
        assert_eq!(within_limit(TimeSpan::DAY, 3_999), TimeSpan::DAY);
    }

    #[test]
    fn a_width_is_auto_or_whole_minutes_up_to_a_day() {
        assert_eq!("auto".parse(), Ok(WidthSetting::Auto));
        assert_eq!(
            "90m".parse(),
            Ok(WidthSetting::Fixed(TimeSpan::minutes(90)))
        );
        for text in ["", "30s", "90s", "2d", "1"] {
            assert!(text.parse::<WidthSetting>().is_err(), "{text}");
        }
    }
}

//! What is taken in. The service refuses what the table cannot hold, so that the database never has to coerce (P3), and
//! what cannot be meant.

use serde::{Deserialize, Serialize};

use super::TimeWindow;

/// What fits the table as it was found at start, and the settings at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub id2_max_chars: usize,
    pub sensor_type_max_chars: usize,
    /// What the column can hold.
    pub timestamp: TimestampRange,
    /// What is taken now, inside of that.
    pub window: TimeWindow,
    pub absent_value: AbsentValue,
}

/// What becomes of a reading without a value or without a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum AbsentValue {
    /// It is rejected.
    #[default]
    Reject,
    /// It is taken for 0, which clients of the contract without presence leave out.
    Zero,
}

/// Which instants the timestamp column can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampRange {
    /// First instant, microseconds since the Unix epoch.
    pub min_us: i64,
    /// Last instant, microseconds since the Unix epoch.
    pub max_us: i64,
    /// Digits kept after the second, 0 to 6. The service cuts the rest off; the database would round.
    pub decimals: u8,
}

impl TimestampRange {
    /// `DATETIME(6)`: years 1000 to 9999, the range that the MySQL manual names as supported.
    pub const DATETIME_6: Self = Self {
        min_us: -30_610_224_000_000_000,
        max_us: 253_402_300_799_999_999,
        decimals: 6,
    };
}

impl Limits {
    /// The limits of a table, without any of the settings.
    #[must_use]
    pub fn of_table(
        id2_max_chars: usize,
        sensor_type_max_chars: usize,
        timestamp: TimestampRange,
    ) -> Self {
        Self {
            id2_max_chars,
            sensor_type_max_chars,
            timestamp,
            window: TimeWindow::of_table(timestamp),
            absent_value: AbsentValue::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of_table(50, 50, TimestampRange::DATETIME_6)
    }
}

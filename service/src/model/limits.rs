//! What the table can hold. The service refuses what it cannot, so that the database never has to coerce (P3).

/// What fits the table as it was found at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub id2_max_chars: usize,
    pub sensor_type_max_chars: usize,
    pub timestamp: TimestampRange,
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

    #[must_use]
    pub fn contains(&self, timestamp_us: i64) -> bool {
        (self.min_us..=self.max_us).contains(&timestamp_us)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            id2_max_chars: 50,
            sensor_type_max_chars: 50,
            timestamp: TimestampRange::DATETIME_6,
        }
    }
}

//! What is stored, and what can be asked of it or done to it.

use serde::{Deserialize, Serialize};

use super::{Epoch, IdPair, Reading, ReadingKey, Seq, Series, SourceMark};

/// A reading in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredReading {
    /// Given by the service, unique.
    pub id: i64,
    pub reading: Reading,
}

impl StoredReading {
    #[must_use]
    pub fn key(&self) -> ReadingKey {
        ReadingKey {
            timestamp_us: self.reading.timestamp_us,
            id: self.id,
        }
    }
}

/// New values for stored readings; what is None stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub sensor_value: Option<f64>,
    pub sensor_type: Option<String>,
}

/// The newest reading of a pair, if it has any.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    pub pair: IdPair,
    pub reading: Option<StoredReading>,
}

/// Width of the buckets of an aggregation, aligned to the Unix epoch, and so to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketWidth {
    us: i64,
}

impl BucketWidth {
    pub const MIN_S: u32 = 1;
    /// 30 days.
    pub const MAX_S: u32 = 30 * 86_400;

    /// A width of whole seconds; None outside of 1 s to 30 days.
    #[must_use]
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        (Self::MIN_S..=Self::MAX_S)
            .contains(&seconds)
            .then_some(Self {
                us: i64::from(seconds) * 1_000_000,
            })
    }

    #[must_use]
    pub fn as_us(self) -> i64 {
        self.us
    }
}

/// A bucket of one series. Ordered by its start, then by the series, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BucketKey {
    pub start_us: i64,
    pub id1: i32,
    pub id2: String,
    pub sensor_type: String,
}

/// The figures of the readings of one series in one bucket. There is at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    pub start_us: i64,
    pub series: Series,
    pub count: u64,
    pub min: f64,
    pub max: f64,
    pub avg: f64,
    /// Value of the reading with the lowest key.
    pub first: f64,
    /// Value of the reading with the highest key.
    pub last: f64,
}

impl Bucket {
    #[must_use]
    pub fn key(&self) -> BucketKey {
        BucketKey {
            start_us: self.start_us,
            id1: self.series.id1,
            id2: self.series.id2.clone(),
            sensor_type: self.series.sensor_type.clone(),
        }
    }
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamStanding {
    /// The name of a stream, or of a lane of an instance, which begins with `lane:`.
    pub stream_id: String,
    pub epoch: Epoch,
    pub committed_seq: Seq,
    pub committed: u64,
    pub rejected: u64,
    pub duplicate: u64,
    /// Microseconds since the Unix epoch, UTC.
    pub created_us: i64,
    /// Microseconds since the Unix epoch, UTC.
    pub updated_us: i64,
    /// The principal that it belongs to, if it was ever opened with a token.
    pub owner: Option<String>,
    /// Where its producer stood in its source, if that was told.
    pub mark: Option<SourceMark>,
}

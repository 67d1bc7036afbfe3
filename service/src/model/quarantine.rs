//! Readings that were not stored, as they lie in quarantine, and which of them are meant.

use serde::{Deserialize, Serialize};

use super::{Reading, Seq, Series};

/// A reading in quarantine, as it was sent but for what was cut off long texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    pub id: u64,
    /// None for a reading of an anonymous call.
    pub stream_id: Option<String>,
    pub seq: Seq,
    /// The field that is wrong.
    pub field: String,
    pub reason: String,
    /// As text: NaN and the infinities have no number.
    pub sensor_value: String,
    pub series: Series,
    pub timestamp_us: i64,
    /// Microseconds since the Unix epoch, UTC.
    pub rejected_us: i64,
    /// Where it came from, if it could not be decoded.
    pub origin: Option<String>,
    /// What could not be decoded.
    pub payload: Option<KeptPayload>,
}

/// What could not be decoded, as far as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPayload {
    /// Its beginning.
    pub bytes: Vec<u8>,
    /// How long it was; None where nobody noted it.
    pub whole_bytes: Option<u64>,
    /// Where in it, as [`sluicegate_decode::Position`] is displayed.
    pub position: Option<String>,
    /// Which of several values of its record.
    pub value: Option<String>,
    /// How it was read, as JSON.
    pub context: Option<String>,
}

/// Whose quarantine is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum QuarantineOf {
    #[default]
    Everyone,
    Anonymous,
    Stream(String),
}

/// Readings in quarantine: those that meet every condition given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct QuarantineFilter {
    pub of: QuarantineOf,
    pub ids: Option<Vec<u64>>,
    pub field: Option<String>,
    /// Part of the reason.
    pub reason: Option<String>,
    /// The beginning of the origin.
    pub origin: Option<String>,
    /// Rejected then or later; microseconds since the Unix epoch, UTC.
    pub from_us: Option<i64>,
    /// Rejected before.
    pub to_us: Option<i64>,
}

impl QuarantineFilter {
    /// All of one stream, or of everyone.
    #[must_use]
    pub fn of(of: QuarantineOf) -> Self {
        Self {
            of,
            ..Self::default()
        }
    }

    /// Whether others may lie between those that are meant, which have to be read to be left out.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        *self != Self::of(self.of.clone())
    }

    /// Whether the whole quarantine is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// A place in a quarantine, behind this reading. `Everyone` is walked by id, a stream by (seq, id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineKey {
    pub seq: u64,
    pub id: u64,
}

/// A stretch of the quarantine along the ids: behind `after`, up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineStretch {
    pub after: u64,
    pub last: u64,
}

/// What a reading in quarantine turns out to be: as a rule one reading, of a payload maybe several.
#[derive(Clone, Debug, PartialEq)]
pub struct Revived {
    pub id: u64,
    pub readings: Vec<Reading>,
}

/// What became of one that was to be stored after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    Stored,
    /// Somebody else has taken it out of the quarantine.
    Gone,
    /// The database refuses it still.
    Refused(String),
}

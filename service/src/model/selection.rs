//! Which stored readings are meant, and in which order they are walked.

use serde::{Deserialize, Serialize};

/// A stretch of time, half open: `from_us` belongs to it, `to_us` does not. Microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    pub from_us: i64,
    pub to_us: i64,
}

/// The two ids that tell one series of sensors from another, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdPair {
    pub id1: i32,
    pub id2: String,
}

impl IdPair {
    /// What the `hashed` layout is keyed by. It narrows and never identifies: CRC32 collides.
    #[must_use]
    pub fn hash(&self) -> u64 {
        (u64::from(self.id1 as u32) << 32) | u64::from(crc32fast::hash(self.id2.as_bytes()))
    }
}

/// Stored readings: those that meet every condition given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    pub time: Option<TimeRange>,
    /// None means any pair; otherwise no pair stands here twice.
    pub pairs: Option<Vec<IdPair>>,
    pub sensor_type: Option<String>,
    /// Names and values of tags that its series have.
    pub tags: Vec<(String, String)>,
}

impl Selection {
    /// Pairs of a request at the most.
    pub const PAIRS_MAX: usize = 1_000;
    /// Tags of a request at the most.
    pub const TAGS_MAX: usize = 8;

    /// The walks that visit the selection: one per pair, in the order given, or one through time.
    #[must_use]
    pub fn legs(&self) -> u32 {
        self.pairs.as_ref().map_or(1, |pairs| pairs.len() as u32)
    }

    /// Whether other readings may lie between those that are selected, which have to be read to be left out.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.sensor_type.is_some()
    }

    /// The pair of a leg; None on a walk through time.
    #[must_use]
    pub fn pair(&self, leg: u32) -> Option<&IdPair> {
        self.pairs.as_ref()?.get(leg as usize)
    }
}

/// Along the key of a leg, which is (timestamp, id).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    #[default]
    Ascending,
    Descending,
}

/// The key of a reading on its leg. Unique, so a walk can go on behind it whatever was inserted meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingKey {
    pub timestamp_us: i64,
    pub id: i64,
}

/// A place in a selection: behind the reading `key` of `leg`, or, without a key, before its first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub leg: u32,
    pub key: Option<ReadingKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_id_keeps_its_bits_in_the_hash() {
        let pair = |id1| IdPair {
            id1,
            id2: "A".to_owned(),
        };
        assert_eq!(pair(0).hash(), 0xd3d9_9e8b);
        assert_eq!(pair(-1).hash(), 0xffff_ffff_d3d9_9e8b);
        assert_eq!(pair(7).hash(), 0x0000_0007_d3d9_9e8b);
    }
}

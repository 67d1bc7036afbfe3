//! The series a producer knows: append-only, so that an index means the same thing for the producer's whole life.

use std::hash::{Hash as _, Hasher as _};

use rustc_hash::{FxHashMap, FxHasher};

use super::tags::Tags;
use crate::v1;

/// A series that was registered with [`Producer::series`](super::Producer::series); it is valid for that producer
/// only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesHandle(pub(crate) u32);

impl SeriesHandle {
    /// The number of the series in its producer, from 0 in order of registration.
    #[must_use]
    pub fn index(self) -> u32 {
        self.0
    }
}

#[derive(Debug, Default)]
pub(crate) struct SeriesTable {
    entries: Vec<v1::Series>,
    /// Index by hash, with linear probing over the hash itself: a lookup by three borrowed parts allocates nothing.
    by_hash: FxHashMap<u64, u32>,
    /// Of those that have some.
    tags: FxHashMap<u32, Tags>,
}

impl SeriesTable {
    pub(crate) fn len(&self) -> u32 {
        // `intern` never lets the table grow past u32.
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&v1::Series> {
        self.entries.get(index as usize)
    }

    pub(super) fn tag(&mut self, index: u32, tags: Tags) {
        self.tags.insert(index, tags);
    }

    /// What is said of the series, as a message has it in which it is the first one.
    pub(super) fn tags(&self, index: u32) -> Option<v1::SeriesTags> {
        let tags = self.tags.get(&index)?.clone();
        Some(v1::SeriesTags {
            series_index: 0,
            tags,
        })
    }

    /// The entries from `first` up to and without `end`, as far as they exist.
    pub(super) fn range(&self, first: u32, end: u32) -> &[v1::Series] {
        let end = (end as usize).min(self.entries.len());
        &self.entries[(first as usize).min(end)..end]
    }

    pub(super) fn find(&self, id1: i32, id2: &str, sensor_type: &str) -> Option<u32> {
        self.probe(id1, id2, sensor_type).ok()
    }

    /// The index of the series; registers it when it is new.
    ///
    /// # Panics
    /// With more than 4,294,967,294 series.
    pub(crate) fn intern(&mut self, id1: i32, id2: &str, sensor_type: &str) -> u32 {
        match self.probe(id1, id2, sensor_type) {
            Ok(index) => index,
            Err(vacant) => {
                let index = self.len();
                assert!(index < u32::MAX, "a producer holds fewer than 2^32 series");
                self.entries.push(v1::Series {
                    id1,
                    id2: id2.to_owned(),
                    sensor_type: sensor_type.to_owned(),
                });
                self.by_hash.insert(vacant, index);
                index
            }
        }
    }

    /// The index of the series, or the free place in `by_hash` where it belongs.
    fn probe(&self, id1: i32, id2: &str, sensor_type: &str) -> Result<u32, u64> {
        let mut hasher = FxHasher::default();
        (id1, id2, sensor_type).hash(&mut hasher);
        let mut place = hasher.finish();
        while let Some(&index) = self.by_hash.get(&place) {
            let series = &self.entries[index as usize];
            if series.id1 == id1 && series.id2 == id2 && series.sensor_type == sensor_type {
                return Ok(index);
            }
            place = place.wrapping_add(1);
        }
        Err(place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_series_keeps_its_index_and_no_two_series_share_one(
            keys in prop::collection::vec((0..4_i32, "[ab]{0,3}", "[ab]{0,3}"), 1..200),
        ) {
            let mut table = SeriesTable::default();
            let mut model: Vec<(i32, String, String)> = Vec::new();
            for key in keys {
                let expected = model.iter().position(|known| *known == key).unwrap_or_else(|| {
                    model.push(key.clone());
                    model.len() - 1
                });
                let index = table.intern(key.0, &key.1, &key.2);
                prop_assert_eq!(index as usize, expected);
                prop_assert_eq!(table.find(key.0, &key.1, &key.2), Some(index));
            }
            prop_assert_eq!(table.len() as usize, model.len());
        }
    }

    #[test]
    fn a_range_past_the_end_is_cut_short() {
        let mut table = SeriesTable::default();
        table.intern(1, "a", "t");
        table.intern(2, "a", "t");
        assert_eq!(table.range(1, 9).len(), 1);
        assert!(table.range(7, 9).is_empty());
    }
}

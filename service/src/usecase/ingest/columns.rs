//! Readings on their way from a router to a lane, and the columns in which a lane gathers them.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault},
    sync::Arc,
};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use crate::model::{Rejection, SentReading, Series, Undecoded};

/// Memory that one reading takes between arrival and commit: its decoded columns, its place in the batch and its sort
/// key.
pub(super) const ROW_BYTES: usize = 40;

/// The most that one reading takes beside its own text, whether it is good or becomes a rejection, bytes.
pub const ROOM_OF_READING_BYTES: usize = ROW_BYTES + size_of::<Rejection>();

/// The readings of one message.
#[derive(Clone, Debug, PartialEq)]
pub enum Readings {
    Rows(Vec<SentReading>),
    Columns(ColumnReadings),
}

/// Readings in column form, with the dictionary that their indexes point into.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnReadings {
    pub series: Vec<Series>,
    /// Whether `series` is appended to the dictionary of the call, or replaces it.
    pub extend_dictionary: bool,
    pub series_index: Vec<u32>,
    pub sensor_value: Vec<f64>,
    pub base_timestamp_us: i64,
    pub timestamp_delta_us: Vec<i64>,
    /// What could not be decoded, by its place among the readings, in ascending order. There the columns have
    /// [`NO_SERIES`] and zeros.
    pub undecoded: Vec<(u32, Arc<Undecoded>)>,
}

/// Stands for the series of what could not be decoded.
pub(super) const NO_SERIES: u32 = u32::MAX;

impl ColumnReadings {
    /// What stands at this place, if it could not be decoded.
    #[cold]
    pub(super) fn undecoded_at(&self, place: usize) -> Option<&Arc<Undecoded>> {
        let found = (self.undecoded).binary_search_by_key(&place, |&(at, _)| at as usize);
        found.ok().map(|found| &self.undecoded[found].1)
    }
}

impl Readings {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Columns(columns) => columns.series_index.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of its readings and series, bytes: what turns and lots go by.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let text = |series: &Series| series.id2.len() + series.sensor_type.len() + 32;
        match self {
            Self::Rows(rows) => rows
                .iter()
                .map(|row| size_of::<SentReading>() + text(&row.series))
                .sum::<usize>(),
            Self::Columns(columns) => {
                let undecoded = columns.undecoded.iter();
                columns.series_index.len() * ROW_BYTES
                    + columns.series.iter().map(text).sum::<usize>()
                    + undecoded.map(|(_, one)| one.size_bytes()).sum::<usize>()
            }
        }
    }
}

/// The series of a batch, each kept once.
#[derive(Debug, Default)]
pub(super) struct SeriesTexts {
    /// Id2 and sensor type of one after the other.
    text: String,
    entries: Vec<Entry>,
    /// Finds the series that came with rows; those of a column dictionary are found through the dictionary.
    by_text: HashTable<u32>,
    hasher: BuildHasherDefault<FxHasher>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id1: i32,
    id2_end: u32,
    sensor_type_end: u32,
}

/// Id1, id2 and sensor type of a series.
fn parts<'a>(text: &'a str, entries: &[Entry], index: u32) -> (i32, &'a str, &'a str) {
    let index = index as usize;
    let start = match index {
        0 => 0,
        _ => entries[index - 1].sensor_type_end as usize,
    };
    let entry = entries[index];
    let (id2_end, end) = (entry.id2_end as usize, entry.sensor_type_end as usize);
    (entry.id1, &text[start..id2_end], &text[id2_end..end])
}

impl SeriesTexts {
    pub(super) fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Id1, id2 and sensor type of a series.
    pub(super) fn get(&self, index: u32) -> (i32, &str, &str) {
        parts(&self.text, &self.entries, index)
    }

    /// Appends a series without looking for it.
    pub(super) fn append(&mut self, id1: i32, id2: &str, sensor_type: &str) -> u32 {
        self.text.push_str(id2);
        let id2_end = self.text.len() as u32;
        self.text.push_str(sensor_type);
        self.entries.push(Entry {
            id1,
            id2_end,
            sensor_type_end: self.text.len() as u32,
        });
        self.len() - 1
    }

    /// Finds or appends a series.
    pub(super) fn intern(&mut self, id1: i32, id2: &str, sensor_type: &str) -> u32 {
        let series = (id1, id2, sensor_type);
        let hash = self.hasher.hash_one(series);
        let found = self.by_text.find(hash, |&index| self.get(index) == series);
        if let Some(&index) = found {
            return index;
        }
        let index = self.append(id1, id2, sensor_type);
        let (text, entries, hasher) = (&self.text, &self.entries, &self.hasher);
        self.by_text.insert_unique(hash, index, |&other| {
            hasher.hash_one(parts(text, entries, other))
        });
        index
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.text.len() + self.entries.len() * size_of::<Entry>()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.by_text.clear();
    }
}

/// The accepted rows of a batch, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) sensor_value: Vec<f64>,
    pub(super) series: Vec<u32>,
    pub(super) timestamp_us: Vec<i64>,
    pub(super) texts: SeriesTexts,
}

/// Rows that were taken out of their columns; the texts of their series stay behind.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) sensor_value: Vec<f64>,
    pub(super) series: Vec<u32>,
    pub(super) timestamp_us: Vec<i64>,
}

impl Columns {
    pub(super) fn take_rows(&mut self) -> Rows {
        Rows {
            sensor_value: std::mem::take(&mut self.sensor_value),
            series: std::mem::take(&mut self.series),
            timestamp_us: std::mem::take(&mut self.timestamp_us),
        }
    }

    pub(super) fn rows(&self) -> u32 {
        self.sensor_value.len() as u32
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.sensor_value.reserve(rows);
        self.series.reserve(rows);
        self.timestamp_us.reserve(rows);
    }

    #[inline]
    pub(super) fn push(&mut self, series: u32, sensor_value: f64, timestamp_us: i64) {
        self.series.push(series);
        self.sensor_value.push(sensor_value);
        self.timestamp_us.push(timestamp_us);
    }

    /// Empties the columns and keeps their memory.
    pub(super) fn clear(&mut self) {
        self.sensor_value.clear();
        self.series.clear();
        self.timestamp_us.clear();
        self.texts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_kept_once_and_read_back_exactly() {
        let mut texts = SeriesTexts::default();
        let a = texts.intern(-1, "gate\\7", "tab\tnewline\n");
        let b = texts.intern(-1, "Gate\\7", "tab\tnewline\n");
        assert_ne!(a, b, "case tells ids apart");
        assert_eq!(texts.intern(-1, "gate\\7", "tab\tnewline\n"), a);
        assert_eq!(texts.get(a), (-1, "gate\\7", "tab\tnewline\n"));
    }
}

//! Readings on their way from a router to a lane, and the columns in which a lane gathers them.

use std::hash::{BuildHasher as _, BuildHasherDefault};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use super::tsv;
use crate::model::{Reading, Series};

/// Memory that one reading takes between arrival and commit: its decoded columns, its place in the batch and its sort
/// key.
pub(super) const ROW_BYTES: usize = 40;

/// The readings of one message.
#[derive(Clone, Debug, PartialEq)]
pub enum Readings {
    Rows(Vec<Reading>),
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

    /// Memory that it takes until it is settled, bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let text = |series: &Series| series.id2.len() + series.sensor_type.len() + 32;
        match self {
            Self::Rows(rows) => rows
                .iter()
                .map(|row| size_of::<Reading>() + text(&row.series))
                .sum::<usize>(),
            Self::Columns(columns) => {
                columns.series_index.len() * ROW_BYTES
                    + columns.series.iter().map(text).sum::<usize>()
            }
        }
    }
}

/// The texts of a batch's series, each escaped once: `id1 TAB id2 TAB sensor_type`.
#[derive(Debug, Default)]
pub(super) struct SeriesTexts {
    text: Vec<u8>,
    ends: Vec<u32>,
    /// Finds the texts that came with rows; those of a column dictionary are found through the dictionary.
    by_text: HashTable<u32>,
    scratch: Vec<u8>,
    hasher: BuildHasherDefault<FxHasher>,
}

impl SeriesTexts {
    pub(super) fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = if index == 0 {
            0
        } else {
            self.ends[index - 1] as usize
        };
        &self.text[start..self.ends[index] as usize]
    }

    /// Appends a series without looking for it.
    pub(super) fn append(&mut self, id1: i32, id2: &str, sensor_type: &str) -> u32 {
        escape_series(&mut self.text, id1, id2, sensor_type);
        self.end_text()
    }

    /// Finds or appends a series.
    pub(super) fn intern(&mut self, id1: i32, id2: &str, sensor_type: &str) -> u32 {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        escape_series(&mut scratch, id1, id2, sensor_type);
        let hash = self.hasher.hash_one(scratch.as_slice());
        let found = self
            .by_text
            .find(hash, |&index| self.get(index) == scratch)
            .copied();
        let index = found.unwrap_or_else(|| {
            self.text.extend_from_slice(&scratch);
            let index = self.end_text();
            let (text, ends, hasher) = (&self.text, &self.ends, &self.hasher);
            self.by_text.insert_unique(hash, index, |&other| {
                let other = other as usize;
                let start = if other == 0 {
                    0
                } else {
                    ends[other - 1] as usize
                };
                hasher.hash_one(&text[start..ends[other] as usize])
            });
            index
        });
        self.scratch = scratch;
        index
    }

    fn end_text(&mut self) -> u32 {
        let index = self.ends.len() as u32;
        self.ends.push(self.text.len() as u32);
        index
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<u32>()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.by_text.clear();
    }

    /// Reads a series back, for a row that the database refused.
    pub(super) fn series(&self, index: u32) -> Series {
        let mut fields = self.get(index).split(|&byte| byte == b'\t');
        let mut next = || fields.next().map(tsv::unescape).unwrap_or_default();
        Series {
            id1: next().parse().unwrap_or_default(),
            id2: next(),
            sensor_type: next(),
        }
    }
}

fn escape_series(out: &mut Vec<u8>, id1: i32, id2: &str, sensor_type: &str) {
    out.extend_from_slice(itoa::Buffer::new().format(id1).as_bytes());
    out.push(b'\t');
    tsv::escape_into(out, id2);
    out.push(b'\t');
    tsv::escape_into(out, sensor_type);
}

/// The accepted rows of a batch, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) sensor_value: Vec<f64>,
    pub(super) series: Vec<u32>,
    pub(super) timestamp_us: Vec<i64>,
    pub(super) texts: SeriesTexts,
}

impl Columns {
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
        let series = Series {
            id1: -1,
            id2: "gate\\7".into(),
            sensor_type: "tab\tnewline\n".into(),
        };
        assert_eq!(texts.series(a), series);
    }
}

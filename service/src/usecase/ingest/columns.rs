//! Readings on their way from a router to a lane, and the columns in which a lane gathers them.

use std::sync::Arc;

use super::batch_series::BatchSeries;
use crate::model::{Rejection, SentReading, Series, TaggedSeries, Undecoded};

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
    /// What is said of some of `series`.
    pub tags: Vec<TaggedSeries>,
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

/// The accepted rows of a batch, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) sensor_value: Vec<f64>,
    pub(super) series: Vec<u32>,
    pub(super) timestamp_us: Vec<i64>,
    pub(super) batch_series: BatchSeries,
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
        self.batch_series.clear();
    }
}

//! The series that a call has announced. A series is checked and its text copied once per batch, never per reading.

use super::batch_series::BatchSeries;
use crate::{
    model::{Fault, Limits, Series},
    repository::{SeriesEra, mysql::KnownSeries},
};

/// Marks a series that the current batch has not met yet.
const UNMET: u32 = u32::MAX;
/// Marks a series whose readings are all rejected.
const FAULTY: u32 = u32::MAX - 1;

#[derive(Clone, Copy, Debug)]
struct Entry {
    id1: i32,
    id2_end: u32,
    sensor_type_end: u32,
}

/// The dictionary of one call, owned by its lane.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    text: String,
    entries: Vec<Entry>,
    /// Where each series stands in the texts of the batch `slots_of_batch`.
    slots: Vec<u32>,
    slots_of_batch: u64,
    /// Who tells numbers, where readings have them.
    known: Option<KnownSeries>,
    /// The number of each series; 0 where it is not known.
    numbers: Vec<u32>,
    /// When they were known.
    era: SeriesEra,
}

impl Dictionary {
    pub(super) fn new(known: Option<KnownSeries>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// Drops every series, for a message that brings its own dictionary.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.slots.clear();
        self.numbers.clear();
    }

    pub(super) fn extend(&mut self, series: &[Series]) {
        for one in series {
            self.text.push_str(&one.id2);
            let id2_end = self.text.len() as u32;
            self.text.push_str(&one.sensor_type);
            let sensor_type_end = self.text.len() as u32;
            self.entries.push(Entry {
                id1: one.id1,
                id2_end,
                sensor_type_end,
            });
        }
        self.slots.resize(self.entries.len(), UNMET);
        if self.known.is_some() {
            self.numbers.resize(self.entries.len(), 0);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.text.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + (self.slots.capacity() + self.numbers.capacity()) * size_of::<u32>()
    }

    /// Forgets where the series stood in an earlier batch, and numbers that are not good any longer.
    pub(super) fn enter_batch(&mut self, batch: u64) {
        if let Some(known) = &self.known
            && known.era() != self.era
        {
            self.era = known.era();
            self.numbers.fill(0);
        }
        if self.slots_of_batch != batch {
            self.slots_of_batch = batch;
            self.slots.fill(UNMET);
        }
    }

    /// The place of a series in the batch; None when there is no such series or it is not acceptable.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        index: u32,
        into: &mut BatchSeries,
        limits: &Limits,
    ) -> Option<u32> {
        match *self.slots.get(index as usize)? {
            FAULTY => None,
            UNMET => self.meet(index, into, limits),
            slot => Some(slot),
        }
    }

    fn meet(&mut self, index: u32, into: &mut BatchSeries, limits: &Limits) -> Option<u32> {
        let series = self.parts(index)?;
        let number = self.numbers.get(index as usize).copied().unwrap_or(0);
        // What has a number was found good before it got it.
        if number != 0 {
            let slot = into.append_known(series, number, self.era);
            self.slots[index as usize] = slot;
            return Some(slot);
        }
        let (_, id2, sensor_type) = series;
        if Fault::of_series(id2, sensor_type, limits).is_some() {
            self.slots[index as usize] = FAULTY;
            return None;
        }
        let known = self.known.as_ref();
        let number = known.and_then(|known| known.find(self.era, series));
        let slot = match number {
            Some(number) => into.append_known(series, number, self.era),
            None => into.append(series),
        };
        self.slots[index as usize] = slot;
        if let Some(number) = number {
            self.numbers[index as usize] = number;
        }
        Some(slot)
    }

    /// Id1, id2 and sensor type of a series.
    pub(super) fn parts(&self, index: u32) -> Option<(i32, &str, &str)> {
        let index = index as usize;
        let entry = self.entries.get(index)?;
        let start = if index == 0 {
            0
        } else {
            self.entries[index - 1].sensor_type_end as usize
        };
        let id2 = &self.text[start..entry.id2_end as usize];
        let sensor_type = &self.text[entry.id2_end as usize..entry.sensor_type_end as usize];
        Some((entry.id1, id2, sensor_type))
    }
}

//! The series that a call has announced. A series is checked and its text copied once per batch, never per reading.

use crate::model::{Fault, Limits, Series, SeriesSet};

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
}

impl Dictionary {
    /// Drops every series, for a message that brings its own dictionary.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.slots.clear();
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
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.text.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.slots.capacity() * size_of::<u32>()
    }

    /// Forgets where the series stood in an earlier batch.
    pub(super) fn enter_batch(&mut self, batch: u64) {
        if self.slots_of_batch != batch {
            self.slots_of_batch = batch;
            self.slots.fill(UNMET);
        }
    }

    /// The place of a series in the batch's texts; None when there is no such series or it is not acceptable.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        index: u32,
        texts: &mut SeriesSet,
        limits: &Limits,
    ) -> Option<u32> {
        match *self.slots.get(index as usize)? {
            FAULTY => None,
            UNMET => self.meet(index, texts, limits),
            slot => Some(slot),
        }
    }

    fn meet(&mut self, index: u32, texts: &mut SeriesSet, limits: &Limits) -> Option<u32> {
        let (id1, id2, sensor_type) = self.parts(index)?;
        let slot = match Fault::of_series(id2, sensor_type, limits) {
            None => texts.append(id1, id2, sensor_type),
            Some(_) => FAULTY,
        };
        self.slots[index as usize] = slot;
        (slot != FAULTY).then_some(slot)
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

//! Takes an open batch apart, and puts batches together.

use std::collections::{HashMap, HashSet};

use super::{OpenBatch, position_bytes};
use crate::{
    ledger::LoadPart,
    model::Rejection,
    usecase::ingest::{
        admission,
        batch_series::BatchSeries,
        columns::Rows,
        session::{Owner, Session, Waiting},
    },
};

impl OpenBatch {
    /// Whose readings it has in these parts.
    pub(in crate::usecase::ingest) fn owners(&self, parts: &[usize]) -> HashSet<Owner> {
        let waiting = parts.iter().filter_map(|&part| self.waiting.get(part));
        waiting.map(|waiting| waiting.session.owner()).collect()
    }

    /// Takes out the second half of the readings, in order of arrival: each half is a prefix of its streams (P2).
    pub(in crate::usecase::ingest) fn halve(&mut self) -> Self {
        let mut before = self.readings() as u64 / 2;
        self.take_out(|part, _| {
            let stay = before.min(part.readings);
            before -= stay;
            (stay > 0).then_some(stay)
        })
    }

    /// Takes out all parts of these owners.
    pub(in crate::usecase::ingest) fn take_out_all_of(&mut self, owners: &HashSet<Owner>) -> Self {
        self.take_out(|part, session| (!owners.contains(&session.owner())).then_some(part.readings))
    }

    /// Takes out what does not stay: `stays` says how many readings of a part do, or None when the part goes as a whole.
    /// The texts stay as they are, since dictionaries may point at them.
    fn take_out(&mut self, mut stays: impl FnMut(&LoadPart, &Session) -> Option<u64>) -> Self {
        let mut moved = Self::default();
        let parts = std::mem::take(&mut self.parts);
        let waiting = std::mem::take(&mut self.waiting);
        let rejections = std::mem::take(&mut self.rejections);
        let readings = self.columns.rows() as u64 + rejections.len() as u64;
        let rows = self.columns.take_rows();
        self.streams.clear();
        self.position_bytes = 0;
        let mut series = HashMap::new();
        for (part, waiting) in parts.into_iter().zip(waiting) {
            let (stay, go) = match stays(&part, &waiting.session) {
                None => (None, Some(part)),
                Some(readings) if readings >= part.readings => (Some(part), None),
                Some(readings) => {
                    let (first, second) = part.divide(readings, &rejections);
                    (Some(first), Some(second))
                }
            };
            if let Some(stay) = stay {
                self.adopt(&waiting, stay, &rows, &rejections, |index, _| index);
            }
            if let Some(go) = go {
                let series_of = &self.columns.batch_series;
                moved.adopt(&waiting, go, &rows, &rejections, |index, into| {
                    *series
                        .entry(index)
                        .or_insert_with(|| into.append(series_of.get(index)))
                });
            }
        }
        let gone = moved.readings() as u64;
        if gone > 0 || self.parts.is_empty() {
            let share = self.rejected_text_bytes * moved.rejections.len() / rejections.len().max(1);
            moved.rejected_text_bytes = share;
            self.rejected_text_bytes -= share;
            moved.rooms = admission::divide(&mut self.rooms, gone, readings);
        }
        moved
    }

    /// Appends a part of another batch, with its rows and rejections. `place` finds a series of that batch in this one's
    /// texts.
    fn adopt(
        &mut self,
        waiting: &Waiting,
        part: LoadPart,
        rows: &Rows,
        rejections: &[Rejection],
        mut place: impl FnMut(u32, &mut BatchSeries) -> u32,
    ) {
        let (rows_before, rejections_before) = (self.columns.rows(), self.rejections.len());
        for row in part.rows.start as usize..part.rows.end as usize {
            let index = place(rows.series[row], &mut self.columns.batch_series);
            self.columns
                .push(index, rows.sensor_value[row], rows.timestamp_us[row]);
        }
        self.rejections
            .extend_from_slice(&rejections[part.rejections.clone()]);
        let part = LoadPart {
            rows: rows_before..self.columns.rows(),
            rejections: rejections_before..self.rejections.len(),
            ..part
        };
        self.position_bytes += position_bytes(&part);
        self.add_part(waiting, part);
    }

    /// Appends all of another batch.
    pub(in crate::usecase::ingest) fn append_batch(&mut self, mut other: Self) {
        let rows = other.columns.take_rows();
        let mut series = HashMap::new();
        for (part, waiting) in other.parts.into_iter().zip(other.waiting) {
            let series_of = &other.columns.batch_series;
            self.adopt(&waiting, part, &rows, &other.rejections, |index, into| {
                *series
                    .entry(index)
                    .or_insert_with(|| into.append(series_of.get(index)))
            });
        }
        self.rejected_text_bytes += other.rejected_text_bytes;
        self.rooms.append(&mut other.rooms);
    }

    /// Tells the calls whose readings it holds that these are in the slow lane.
    pub(in crate::usecase::ingest) fn mark_slow(&self) {
        for waiting in &self.waiting {
            waiting.session.set_slow(true);
        }
    }

    /// Readings of each part, with their owner.
    pub(in crate::usecase::ingest) fn shares(&self) -> impl Iterator<Item = (Owner, u64)> {
        let parts = self.parts.iter().zip(&self.waiting);
        parts.map(|(part, waiting)| (waiting.session.owner(), part.readings))
    }
}

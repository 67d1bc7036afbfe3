//! A batch that is in the table.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    super::{
        events::BatchEvent,
        session::{Owner, Waiting},
        watches::{CommittedRows, Fresh},
    },
    OpenBatch,
};
use crate::{
    ledger::PartOutcome,
    repository::{Noted, StoredRows, Untold},
};

/// Durable: may acknowledge.
pub(in super::super) struct CommittedBatch {
    pub(super) content: OpenBatch,
    pub(super) outcomes: Vec<PartOutcome>,
    /// Their numbers, where they have numbers.
    pub(super) series: Arc<Vec<u32>>,
    /// None where that is not known.
    pub(super) stored: Option<StoredRows>,
    pub(super) untold: Untold,
    /// None where there are no rollups.
    pub(super) noted: Option<Noted>,
}

impl CommittedRows for CommittedBatch {
    fn series_count(&self) -> u32 {
        self.content.columns.batch_series.len()
    }

    fn series(&self, index: u32) -> (i32, &str, &str) {
        self.content.columns.batch_series.get(index)
    }

    fn number(&self, index: u32) -> u32 {
        self.series.get(index as usize).copied().unwrap_or(0)
    }

    fn noted(&self) -> Option<&Noted> {
        self.noted.as_ref()
    }

    fn visit(&self, mut row: impl FnMut(u32, Fresh)) -> bool {
        let Some(stored) = &self.stored else {
            return false;
        };
        let (columns, arrivals) = (&self.content.columns, self.content.order.arrivals());
        for position in 0..columns.rows() {
            let arrival = arrivals.get(position as usize).copied().unwrap_or(position);
            if stored.holds(arrival) {
                let arrival = arrival as usize;
                let one = Fresh {
                    sensor_value: columns.sensor_value[arrival],
                    timestamp_us: columns.timestamp_us[arrival],
                    id: stored.id(position),
                    readings: 1,
                };
                row(columns.series[arrival], one);
            }
        }
        true
    }
}

impl CommittedBatch {
    pub(in super::super) fn readings(&self) -> usize {
        self.content.readings()
    }

    /// What others may know of it.
    pub(in super::super) fn event(&self) -> BatchEvent {
        BatchEvent {
            series: self.series.clone(),
            ..self.content.event()
        }
    }

    /// Of each part: its owner, how many readings it had, and whether the database refused any of them.
    pub(in super::super) fn verdicts(&self) -> impl Iterator<Item = (Owner, u64, bool)> {
        let parts = self.content.shares().zip(&self.outcomes);
        parts.map(|((owner, readings), outcome)| {
            let refused = matches!(outcome, PartOutcome::Stored { found_by_database, .. } if !found_by_database.is_empty());
            (owner, readings, refused)
        })
    }

    /// All who want to know of it have been told.
    pub(in super::super) fn is_told(&mut self) {
        std::mem::take(&mut self.untold).is_told();
    }

    /// Tells each call what became of its readings, gives their memory back, and returns the emptied buffers.
    pub(in super::super) fn acknowledge(mut self) -> OpenBatch {
        let content = &mut self.content;
        let now = Instant::now();
        for ((part, Waiting { session, since }), outcome) in content
            .parts
            .drain(..)
            .zip(content.waiting.drain(..))
            .zip(self.outcomes)
        {
            session.settle(&part, &content.rejections[part.rejections.clone()], outcome);
            session.measure(since, now);
        }
        // Not reused, as the columns are: batches with many rejections are rare.
        content.rejections = Vec::new();
        content.rejected_text_bytes = 0;
        content.position_bytes = 0;
        content.streams.clear();
        content.rooms.clear();
        content.columns.clear();
        self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Seq, repository::RowIds};

    #[test]
    fn rows_that_were_not_stored_are_not_visited() {
        let mut batch = OpenBatch::default();
        let index = batch.columns.batch_series.intern((1, "a", "t"));
        for at in [0, 1, 2, 3, 5, 4] {
            batch.columns.push(index, 1.0, at);
        }
        let stored = |left_out| StoredRows {
            left_out,
            ids: RowIds { first: 70, step: 2 },
        };
        let mut committed = batch.seal(Seq(1), true).commit(
            Vec::new(),
            Arc::default(),
            (Some(stored(vec![0..1, 2..4])), Untold::default(), None),
        );
        let visited = |committed: &CommittedBatch| {
            let mut seen = Vec::new();
            let visited = committed.visit(|_, one| seen.push((one.timestamp_us, one.id)));
            visited.then_some(seen)
        };
        // In the order of the load, by which ids are given.
        assert_eq!(visited(&committed), Some(vec![(1, 72), (4, 78), (5, 80)]));
        committed.stored = Some(stored(vec![0..3, 4..6]));
        assert_eq!(visited(&committed), Some(vec![(3, 76)]));
        committed.stored = None;
        assert_eq!(visited(&committed), None);
    }
}

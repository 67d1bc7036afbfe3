//! A batch that is in the table.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    super::{
        events::{BatchEvent, Stage},
        session::{Owner, Waiting},
        watches::CommittedRows,
    },
    OpenBatch,
};
use crate::ledger::{DroppedRows, PartOutcome};

/// Durable: may acknowledge.
pub(in super::super) struct CommittedBatch {
    pub(super) content: OpenBatch,
    pub(super) outcomes: Vec<PartOutcome>,
    /// Their numbers, where they have numbers.
    pub(super) series: Arc<Vec<u32>>,
    /// Rows that were not stored; None where that is not known.
    pub(super) left_out: Option<DroppedRows>,
}

impl CommittedRows for CommittedBatch {
    fn series_count(&self) -> u32 {
        self.content.columns.batch_series.len()
    }

    fn series(&self, index: u32) -> (i32, &str, &str) {
        self.content.columns.batch_series.get(index)
    }

    fn visit(&self, mut row: impl FnMut(u32, f64, i64)) -> bool {
        let Some(left_out) = &self.left_out else {
            return false;
        };
        let columns = &self.content.columns;
        let mut from = 0;
        let end = columns.rows()..columns.rows();
        for range in left_out.iter().chain([&end]) {
            for arrival in from..range.start as usize {
                let (value, at) = (columns.sensor_value[arrival], columns.timestamp_us[arrival]);
                row(columns.series[arrival], value, at);
            }
            from = range.end as usize;
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
            ..self.content.event(Stage::Committed)
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
    use crate::model::Seq;

    #[test]
    fn rows_that_were_not_stored_are_not_visited() {
        let mut batch = OpenBatch::default();
        let index = batch.columns.batch_series.intern((1, "a", "t"));
        for at in 0..6 {
            batch.columns.push(index, 1.0, at);
        }
        let mut committed =
            batch
                .seal(Seq(1), true)
                .commit(Vec::new(), Arc::default(), Some(vec![0..1, 2..4]));
        let visited = |committed: &CommittedBatch| {
            let mut times = Vec::new();
            committed.visit(|_, _, at| times.push(at)).then_some(times)
        };
        assert_eq!(visited(&committed), Some(vec![1, 4, 5]));
        committed.left_out = Some(vec![0..3, 4..6]);
        assert_eq!(visited(&committed), Some(vec![3]));
        committed.left_out = None;
        assert_eq!(visited(&committed), None);
    }
}

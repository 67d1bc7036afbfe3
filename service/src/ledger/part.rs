//! The parts of a batch, and what became of them.

use std::ops::Range;

use crate::model::{Epoch, PrincipalName, Rejection, Seq, SourceMark, StreamId};

/// A run of readings of one call inside a batch, in the order in which they came.
#[derive(Clone, Debug)]
pub struct LoadPart {
    /// None for an anonymous call.
    pub stream: Option<(StreamId, Epoch)>,
    /// Who brings it; None where nobody is asked.
    pub principal: Option<PrincipalName>,
    pub first_seq: Seq,
    /// Readings of this part, rejected ones included.
    pub readings: u64,
    /// Its accepted rows, counted in order of arrival.
    pub rows: Range<u32>,
    /// Its rejections, as indexes into the rejections of its batch, ascending by seq.
    pub rejections: Range<usize>,
    /// Messages that end in it.
    pub messages: u64,
    /// Where its messages stand in the producer's source, for those that say so, in their order.
    pub marks: Vec<SourceMark>,
}

impl LoadPart {
    /// Position of the last reading.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.first_seq.plus(self.readings).before()
    }

    /// Where the stream stands in its source once this part is stored behind `committed_seq`. A message that is sent again
    /// says where its producer stood then.
    #[must_use]
    pub fn mark_after(&self, committed_seq: Seq) -> Option<&SourceMark> {
        let last = self.marks.last();
        last.filter(|mark| mark.seq >= committed_seq)
    }

    /// Divides the part after its first `readings`. `rejections` are those of its batch. Each half is a run of the same
    /// call, and the second begins where the first one ends.
    #[must_use]
    pub fn divide(self, readings: u64, rejections: &[Rejection]) -> (Self, Self) {
        let readings = readings.min(self.readings);
        let first_seq = self.first_seq.plus(readings);
        let of_part = &rejections[self.rejections.clone()];
        let rejected = of_part.partition_point(|rejection| rejection.seq < first_seq);
        let row = self.rows.start + (readings as usize - rejected) as u32;
        let rejection = self.rejections.start + rejected;
        // A position is true behind the whole of its message.
        let mut marks = self.marks;
        let later = marks.split_off(marks.partition_point(|mark| mark.seq < first_seq));
        let first = Self {
            stream: self.stream.clone(),
            principal: self.principal.clone(),
            first_seq: self.first_seq,
            readings,
            rows: self.rows.start..row,
            rejections: self.rejections.start..rejection,
            messages: 0,
            marks,
        };
        let second = Self {
            stream: self.stream,
            principal: self.principal,
            first_seq,
            readings: self.readings - readings,
            rows: row..self.rows.end,
            rejections: rejection..self.rejections.end,
            messages: self.messages,
            marks: later,
        };
        (first, second)
    }
}

/// Rows that are to be left out: ranges in order of arrival, ascending and disjoint.
pub type DroppedRows = Vec<Range<u32>>;

/// Leaves out some rows more; they are ascending, and none is left out already.
#[must_use]
pub fn drop_more(dropped: &DroppedRows, rows: &[u32]) -> DroppedRows {
    let mut all = dropped.clone();
    all.extend(rows.iter().map(|&row| row..row + 1));
    all.sort_unstable_by_key(|range| range.start);
    all.dedup_by(|next, range| {
        let touches = range.end == next.start;
        if touches {
            range.end = next.end;
        }
        touches
    });
    all
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum PartOutcome {
    /// In the table, or known to be there already.
    Stored {
        committed: u64,
        duplicate: u64,
        /// Refused by validation or by the database, with those that only the database could find.
        rejected: u64,
        found_by_database: Vec<Rejection>,
    },
    /// Another writer opened the stream: nothing of this part was stored.
    Fenced { current: Epoch },
    /// The part does not follow what is committed: nothing of it was stored.
    Gap { committed_seq: Seq },
    /// The stream is not in the ledger: nothing of this part was stored.
    NotOpened,
    /// The ledger, restored from a copy perhaps, does not know of the writer's epoch: nothing of this part was stored.
    LedgerBehind { known: Epoch, held: Epoch },
}

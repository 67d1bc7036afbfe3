//! The parts of a batch, and what became of them.

use std::ops::Range;

use crate::model::{Epoch, Rejection, Seq, StreamId};

/// A run of readings of one call inside a batch, in the order in which they came.
#[derive(Clone, Debug)]
pub struct LoadPart {
    /// None for an anonymous call.
    pub stream: Option<(StreamId, Epoch)>,
    pub first_seq: Seq,
    /// Readings of this part, rejected ones included.
    pub readings: u64,
    /// Its accepted rows, counted in order of arrival.
    pub rows: Range<u32>,
    /// Its rejections, as indexes into the rejections of its batch, ascending by seq.
    pub rejections: Range<usize>,
}

impl LoadPart {
    /// Position of the last reading.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.first_seq.plus(self.readings).before()
    }
}

/// Rows that are to be left out: ranges in order of arrival, ascending and disjoint.
pub type DroppedRows = Vec<Range<u32>>;

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
}

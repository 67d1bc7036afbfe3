//! What the rollups need of storage, and what storage tells them.

use crate::model::{Seq, StreamId};

/// A batch that was noted to be merged into the rollups, in the transaction that stored its readings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotedBatch {
    pub lane: StreamId,
    pub number: Seq,
}

/// That it was, and how long the shortest buckets are, microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub batch: NotedBatch,
    pub every_us: i64,
}

/// What became of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    Done,
    /// Nothing of it is to be merged any more: it was before, or its buckets are made anew from readings.
    NotWanted,
}

/// What became of a look for buckets that are to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remade {
    /// So many readings, or shorter buckets, were read.
    Some {
        rows: u64,
    },
    /// What there is waits for batches that are not merged yet, or for a change that is under way.
    Waiting,
    Nothing,
}

/// How far the rollups are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RollupStanding {
    /// Batches that are not merged yet, and how long ago the oldest was committed, seconds.
    pub batches: u64,
    pub oldest_s: f64,
    /// Stretches that are to be made anew.
    pub dirty: u64,
}

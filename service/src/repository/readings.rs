//! What management needs from storage. Every call is one short statement or a few: none holds a lock or a snapshot
//! while somebody reads its answer.

use crate::model::{BucketKey, BucketWidth, ReadingKey, Selection, TimeSpan, TimestampRange};

/// A stretch of one leg of a selection, in ascending order: behind `after`, up to and including `last`.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub after: Option<ReadingKey>,
    pub last: ReadingKey,
}

/// Which groups of an aggregation.
#[derive(Clone, Debug)]
pub struct AggregateQuery {
    pub selection: Selection,
    pub width: BucketWidth,
    /// Only what is ordered behind this group.
    pub after: Option<BucketKey>,
    pub limit: usize,
}

impl AggregateQuery {
    /// Buckets in the range of the query, as far as a table can hold it; one where the range is not bounded.
    #[must_use]
    pub fn buckets(&self, held: &TimestampRange) -> u64 {
        let Some(time) = self.selection.time else {
            return 1;
        };
        let width_us = self.width.as_us();
        let first = time.from_us.max(held.min_us).div_euclid(width_us);
        let last = (time.to_us - 1).min(held.max_us).div_euclid(width_us);
        u64::try_from(last - first + 1).unwrap_or(0)
    }
}

/// What an aggregation was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeFrom {
    /// Rollups of these lengths, seconds, from the longest to the shortest.
    pub levels_s: Vec<u32>,
    pub readings: bool,
}

/// How much the quarantine may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineLimits {
    pub max_rows: u64,
    /// None keeps rejections of any age.
    pub retention: Option<TimeSpan>,
}

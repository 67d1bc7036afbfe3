//! What management needs from storage. Every call is one short statement or a few: none holds a lock or a snapshot
//! while somebody reads its answer.

use async_trait::async_trait;

use super::RepositoryError;
use crate::model::{
    Bucket, BucketKey, BucketWidth, Change, IdPair, Limits, Order, QuarantineKey, QuarantineOf,
    Quarantined, ReadingKey, Selection, StoredReading, StreamStanding, TimeSpan, TimestampRange,
};

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

/// The stored readings.
#[async_trait]
pub trait ReadingStore: Send + Sync {
    /// What the table can hold.
    fn limits(&self) -> &Limits;

    /// Readings of a leg, at most `limit`, in order of (timestamp, id), from behind `after`.
    async fn page(
        &self,
        selection: &Selection,
        leg: u32,
        order: Order,
        after: Option<ReadingKey>,
        limit: usize,
    ) -> Result<Vec<StoredReading>, RepositoryError>;

    /// The last key of the next stretch of at most `rows` readings behind `after` and up to `last`; None at the end.
    async fn stretch(
        &self,
        selection: &Selection,
        leg: u32,
        within: Stretch,
        rows: usize,
    ) -> Result<Option<ReadingKey>, RepositoryError>;

    async fn count(&self, selection: &Selection, leg: u32) -> Result<u64, RepositoryError>;

    /// Deletes the readings of a stretch in one transaction and returns how many.
    async fn delete(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
    ) -> Result<u64, RepositoryError>;

    /// Changes the readings of a stretch in one transaction and returns how many were selected.
    async fn update(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
        change: &Change,
    ) -> Result<u64, RepositoryError>;

    /// The newest reading of each pair, in the order of the pairs.
    async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
    ) -> Result<Vec<Option<StoredReading>>, RepositoryError>;

    /// Groups ordered by their key, at most `limit`.
    async fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Bucket>, RepositoryError>;

    /// How many readings the database expects to read for these groups, which it does not do yet.
    async fn expected_rows(&self, query: &AggregateQuery) -> Result<u64, RepositoryError>;
}

/// The ledger and the quarantine, to look at.
#[async_trait]
pub trait LedgerReader: Send + Sync {
    /// Rows in order of their names, from behind `after`.
    async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamStanding>, RepositoryError>;

    async fn stream(&self, stream_id: &str) -> Result<Option<StreamStanding>, RepositoryError>;

    async fn quarantine(
        &self,
        of: &QuarantineOf,
        after: Option<QuarantineKey>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, RepositoryError>;
}

/// How much the quarantine may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineLimits {
    pub max_rows: u64,
    /// None keeps rejections of any age.
    pub retention: Option<TimeSpan>,
}

/// The quarantine, held to its limits.
#[async_trait]
pub trait QuarantineKeeper: Send + Sync {
    /// Removes rejections that are beyond the limits, the oldest first and at most `rows`; says how many.
    async fn trim(&self, limits: QuarantineLimits, rows: u32) -> Result<u64, RepositoryError>;
}

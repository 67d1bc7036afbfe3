//! The partitions of the readings table, as the partition manager needs them.

use async_trait::async_trait;

use super::RepositoryError;

/// A partition holds what lies below its upper bound and not below that of the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub name: String,
    /// Exclusive, microseconds since the Unix epoch; None for the catch-all, which ends all.
    pub upper_us: Option<i64>,
    /// An estimate: a few per cent off, and after a restart of the database it may be old.
    pub rows: u64,
    /// An estimate of the size with all indexes.
    pub bytes: u64,
}

/// Divides a partition at new bounds. Its last piece keeps the name, and so the old upper bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub name: String,
    /// The bounds of the new pieces, ascending, each below the partition's upper bound; never empty.
    pub bounds_us: Vec<i64>,
}

/// A change to the partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionChange {
    Split(Split),
    /// Names of partitions to drop with all that is in them.
    Drop(Vec<String>),
}

/// What storage lets the partition manager do.
#[async_trait]
pub trait PartitionStore: Send + Sync {
    /// Begins a pass under the lock that only one manager of this database holds at a time; None when another has it.
    async fn begin(&self) -> Result<Option<Box<dyn PartitionPass>>, RepositoryError>;
}

/// One pass. [`PartitionPass::end`] gives the lock back, dropping does so a little later.
#[async_trait]
pub trait PartitionPass: Send {
    /// The partitions by ascending bound; the catch-all is the last.
    async fn partitions(&mut self) -> Result<Vec<Partition>, RepositoryError>;
    /// Timestamp of the newest reading before `end_us`, leaving out `newer` that are newer.
    async fn newest_before(
        &mut self,
        end_us: i64,
        newer: u64,
    ) -> Result<Option<i64>, RepositoryError>;
    /// Timestamp of the oldest reading at or after `start_us`, or of all.
    async fn oldest_from(&mut self, start_us: Option<i64>) -> Result<Option<i64>, RepositoryError>;
    /// Counts the readings in a partition, but no further than `limit`.
    async fn count_up_to(&mut self, partition: &str, limit: u64) -> Result<u64, RepositoryError>;
    async fn buffer_pool_bytes(&mut self) -> Result<u64, RepositoryError>;
    /// Alters the table. Readings of a partition that is divided are copied, and ingestion waits for that. Gives up with
    /// [`RepositoryError::Contention`] when transactions that run do not let it in within `patience_s`.
    async fn alter(
        &mut self,
        change: &PartitionChange,
        patience_s: u32,
    ) -> Result<(), RepositoryError>;
    async fn end(self: Box<Self>);
}

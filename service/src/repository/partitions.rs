//! The partitions of the readings table, as the partition manager needs them.

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

use super::turns::Busy;
use crate::repository::RepositoryError;

/// Why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("{0}")]
    Storage(#[from] RepositoryError),
    #[error("{0}")]
    Busy(Busy),
    #[error("the range has {buckets} buckets, and {most} are the most")]
    TooManyBuckets { buckets: u64, most: u64 },
    /// By the database's estimate, which may be half of the truth or twice as much.
    #[error("the database expects to read {expected} readings, and {most} are the most")]
    TooManyReadings { expected: u64, most: u64 },
    #[error("the tags select more than {most} series")]
    TooManySeries { most: usize },
    #[error("readings bring their names along in this layout")]
    NoSeries,
}

impl From<Busy> for QueryError {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}

//! Numbers for those who ask now and then: management and the quarantine.

use std::sync::Arc;

use mysql_async::Pool;

use super::{
    super::{answers, error::explain},
    Numbers, SeriesNumbers,
};
use crate::repository::{RepositoryError, SeriesEra};

/// Gives numbers to series over connections of its own.
pub(in super::super) struct Naming {
    pool: Pool,
    numbers: Arc<SeriesNumbers>,
}

impl Naming {
    pub(in super::super) fn new(pool: Pool, numbers: Arc<SeriesNumbers>) -> Self {
        Self { pool, numbers }
    }

    /// The numbers of these series, in their order. A table that turns out to be another one is asked once more.
    pub(in super::super) async fn numbers(
        &self,
        series: &[(i32, &str, &str)],
    ) -> Result<Numbers, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        match self.numbers.of(&mut conn, series).await {
            Err(RepositoryError::Contention(_)) => {
                // It may be in the middle of a transaction, and hold the counter.
                answers::cut(conn);
                let mut conn = self.pool.get_conn().await.map_err(explain)?;
                self.numbers.of(&mut conn, series).await
            }
            settled => settled,
        }
    }

    /// The numbers that were handed out in that era are of another table.
    pub(in super::super) fn is_of_another_table(&self, era: SeriesEra) -> RepositoryError {
        self.numbers.is_of_another_table(era)
    }
}

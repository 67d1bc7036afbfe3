//! Numbers for those who ask now and then: management and the quarantine.

use std::sync::Arc;

use mysql_async::Pool;
use tokio::sync::Mutex;

use super::Bounds;
use super::{
    super::{answers, error::explain},
    Numbers, SMALL_CACHE_BYTES, SeriesNumbers,
};
use crate::{model::Limits, repository::RepositoryError};

/// Gives numbers to series over connections of its own.
pub(in super::super) struct Naming {
    pool: Pool,
    numbers: Mutex<SeriesNumbers>,
}

impl Naming {
    /// `used_in` is the table of readings that have the numbers.
    pub(in super::super) fn new(
        pool: Pool,
        limits: Limits,
        bounds: Arc<Bounds>,
        used_in: &'static str,
    ) -> Self {
        let numbers = SeriesNumbers::new(SMALL_CACHE_BYTES, limits, bounds, used_in);
        Self {
            pool,
            numbers: Mutex::new(numbers),
        }
    }

    /// The numbers of these series, in their order. A table that turns out to be another one is asked once more.
    pub(in super::super) async fn numbers(
        &self,
        series: &[(i32, &str, &str)],
    ) -> Result<Numbers, RepositoryError> {
        let mut numbers = self.numbers.lock().await;
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        match numbers.of(&mut conn, series).await {
            Err(RepositoryError::Contention(_)) => {
                // It may be in the middle of a transaction, and hold the counter.
                answers::cut(conn);
                let mut conn = self.pool.get_conn().await.map_err(explain)?;
                numbers.of(&mut conn, series).await
            }
            settled => settled,
        }
    }

    /// The numbers that were handed out are of another table.
    pub(in super::super) async fn is_of_another_table(&self) -> RepositoryError {
        self.numbers.lock().await.is_of_another_table()
    }
}

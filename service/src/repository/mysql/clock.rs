//! The table `retention_clock`: one row.

use async_trait::async_trait;
use mysql_async::{Pool, prelude::Queryable as _};

use super::error::explain;
use crate::repository::{ClockStore, KeptClock, RepositoryError};

const NOW: &str = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";
const READ: &str = "SELECT trusted_us, waiting_us, steady_s FROM retention_clock WHERE id = 1";

pub(super) struct MySqlClock {
    pool: Pool,
}

impl MySqlClock {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl ClockStore for MySqlClock {
    async fn now_us(&self) -> Result<i64, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let now_us: Option<i64> = conn.query_first(NOW).await.map_err(explain)?;
        now_us.ok_or_else(|| RepositoryError::Other("the server does not tell the time".to_owned()))
    }

    async fn kept(&self) -> Result<Option<KeptClock>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let row: Option<(i64, Option<i64>, u32)> = conn.query_first(READ).await.map_err(explain)?;
        Ok(row.map(|(trusted_us, waiting_us, steady_s)| KeptClock {
            trusted_us,
            waiting_us,
            steady_s,
        }))
    }

    async fn keep(&self, clock: KeptClock, confirmed: bool) -> Result<(), RepositoryError> {
        let KeptClock {
            trusted_us,
            waiting_us,
            steady_s,
        } = clock;
        let waiting_us = waiting_us.map_or("NULL".to_owned(), |at_us| at_us.to_string());
        // Instances do this side by side: what one of them believes already, no other takes back by itself.
        let trusted = match confirmed {
            true => trusted_us.to_string(),
            false => format!("GREATEST(trusted_us, {trusted_us})"),
        };
        let sql = format!(
            "INSERT INTO retention_clock (id, trusted_us, waiting_us, steady_s, updated_at) \
             VALUES (1, {trusted_us}, {waiting_us}, {steady_s}, UTC_TIMESTAMP(6)) \
             ON DUPLICATE KEY UPDATE trusted_us = {trusted}, waiting_us = {waiting_us}, \
             steady_s = {steady_s}, updated_at = UTC_TIMESTAMP(6)"
        );
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        conn.query_drop(sql).await.map_err(explain)
    }
}

//! Removes what the quarantine is not to keep any longer, in small transactions.

use mysql_async::prelude::Queryable as _;

use super::{super::error::explain, MySqlQuarantine};
use crate::{model::TimeSpan, repository::RepositoryError};

impl MySqlQuarantine {
    /// The first and the last id, which is the newest; None when there is nothing.
    pub(crate) async fn ids(&self) -> Result<Option<(u64, u64)>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let ids: Option<(Option<u64>, Option<u64>)> = conn
            .query_first("SELECT MIN(id), MAX(id) FROM rejected_readings")
            .await
            .map_err(explain)?;
        Ok(ids.and_then(|(first, last)| first.zip(last)))
    }

    /// The newest rejection that is one too many. Walks through as many as may stay: ids have gaps.
    pub(crate) async fn last_beyond(&self, max_rows: u64) -> Result<Option<u64>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let sql = format!(
            "SELECT id FROM rejected_readings FORCE INDEX (PRIMARY) ORDER BY id DESC LIMIT 1 OFFSET {max_rows}"
        );
        conn.query_first(sql).await.map_err(explain)
    }

    /// How many there are, counted up to `most`.
    pub(crate) async fn count(&self, most: u64) -> Result<u64, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT id FROM rejected_readings FORCE INDEX (by_time) LIMIT {most}) AS counted"
        );
        let rows: Option<u64> = conn.query_first(sql).await.map_err(explain)?;
        Ok(rows.unwrap_or_default())
    }

    /// Removes rejections up to this one, the oldest first and at most `rows`; says how many.
    pub(crate) async fn remove_up_to(&self, id: u64, rows: u32) -> Result<u64, RepositoryError> {
        let which = format!("id <= {id} ORDER BY id");
        self.remove(&which, rows).await
    }

    /// Removes rejections that are older, the oldest first and at most `rows`; says how many.
    pub(crate) async fn remove_older(
        &self,
        than: TimeSpan,
        rows: u32,
    ) -> Result<u64, RepositoryError> {
        let which = format!(
            "rejected_at < UTC_TIMESTAMP(6) - INTERVAL {} MICROSECOND ORDER BY rejected_at",
            than.us()
        );
        self.remove(&which, rows).await
    }

    async fn remove(&self, which: &str, rows: u32) -> Result<u64, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let sql = format!("DELETE FROM rejected_readings WHERE {which} LIMIT {rows}");
        conn.query_drop(sql).await.map_err(explain)?;
        Ok(conn.affected_rows())
    }
}

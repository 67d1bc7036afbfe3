//! How many changes of stored readings each instance has begun and ended, and where all lanes stand: what copies of readings that are
//! kept elsewhere are held against.

use std::time::Duration;

use mysql_async::{Pool, prelude::Queryable as _};

use super::{answers, error::explain};
use crate::{
    model::StreamId,
    repository::{RepositoryError, Standing},
};

/// Counts the changes of this instance.
pub struct MySqlChangeCounts {
    pool: Pool,
    instance: String,
}

impl MySqlChangeCounts {
    pub(super) fn new(pool: Pool, instance: &str) -> Self {
        Self {
            pool,
            instance: instance.to_owned(),
        }
    }

    /// The name under which the changes of this instance stand.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", Standing::CHANGES_PREFIX, self.instance)
    }

    /// A change begins, which is known to be over after that time, whatever happens. Returns its number.
    pub(crate) async fn begin(&self, open_for: Duration) -> Result<u64, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let sql = "INSERT INTO reading_changes (instance, begun, ended, open_until) \
                   VALUES (?, 1, 0, UTC_TIMESTAMP(6) + INTERVAL ? SECOND) \
                   ON DUPLICATE KEY UPDATE begun = begun + 1, open_until = GREATEST(open_until, VALUES(open_until))";
        conn.exec_drop(sql, (&self.instance, open_for.as_secs()))
            .await
            .map_err(explain)?;
        let sql = "SELECT begun FROM reading_changes WHERE instance = ?";
        let begun: Option<u64> = conn
            .exec_first(sql, (&self.instance,))
            .await
            .map_err(explain)?;
        begun.ok_or_else(|| RepositoryError::Other("the count of changes is gone".to_owned()))
    }

    /// One that has begun takes longer.
    pub(crate) async fn goes_on(&self, open_for: Duration) -> Result<(), RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let sql = "UPDATE reading_changes SET open_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND WHERE instance = ?";
        conn.exec_drop(sql, (open_for.as_secs(), &self.instance))
            .await
            .map_err(explain)
    }

    /// A change has ended, or all have.
    pub(crate) async fn end(&self, all: bool) -> Result<(), RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let sql = "UPDATE reading_changes SET ended = IF(?, begun, LEAST(ended + 1, begun)) WHERE instance = ?";
        conn.exec_drop(sql, (all, &self.instance))
            .await
            .map_err(explain)
    }

    /// Where all lanes and counts of all instances stand.
    pub(crate) async fn standings(&self) -> Result<Vec<Standing>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let sql = format!(
            "SELECT stream_id, CONCAT(epoch, ':', committed_seq), 0 FROM ingest_streams FORCE INDEX (PRIMARY) \
             WHERE stream_id LIKE '{}%' UNION ALL \
             SELECT CONCAT('{}', instance), CONCAT('0:', begun), begun > ended AND open_until > UTC_TIMESTAMP(6) \
             FROM reading_changes",
            StreamId::LANE_PREFIX,
            Standing::CHANGES_PREFIX
        );
        let rows: Vec<(String, String, bool)> =
            answers::ask(&mut conn, &sql).await.map_err(explain)?;
        let standing = |(name, place, is_open)| Standing {
            name,
            place,
            is_open,
        };
        Ok(rows.into_iter().map(standing).collect())
    }
}

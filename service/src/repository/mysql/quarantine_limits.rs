//! Removes what the quarantine is not to keep any longer, in small transactions.

use mysql_async::{Conn, Pool, prelude::Queryable as _};

use super::error::explain;
use crate::repository::{QuarantineLimits, RepositoryError};

/// The quarantine, held to its limits.
pub struct MySqlQuarantine {
    pool: Pool,
}

impl MySqlQuarantine {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Removes rejections that are beyond the limits, the oldest first and at most `rows`; says how many.
    pub(crate) async fn trim(
        &self,
        limits: QuarantineLimits,
        rows: u32,
    ) -> Result<u64, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let mut removed = 0;
        if let Some(retention) = limits.retention {
            let sql = format!(
                "DELETE FROM rejected_readings WHERE rejected_at < UTC_TIMESTAMP(6) - INTERVAL {} MICROSECOND \
                 ORDER BY rejected_at LIMIT {rows}",
                retention.us()
            );
            removed += delete(&mut conn, &sql).await?;
        }
        if let Some(last) = last_beyond(&mut conn, limits.max_rows).await? {
            let sql = format!(
                "DELETE FROM rejected_readings WHERE id <= {last} ORDER BY id LIMIT {rows}"
            );
            removed += delete(&mut conn, &sql).await?;
        }
        Ok(removed)
    }
}

async fn delete(conn: &mut Conn, sql: &str) -> Result<u64, RepositoryError> {
    conn.query_drop(sql).await.map_err(explain)?;
    Ok(conn.affected_rows())
}

/// The newest row that is one too many. Ids may have gaps, so they are counted only where there could be too many.
async fn last_beyond(conn: &mut Conn, max_rows: u64) -> Result<Option<u64>, RepositoryError> {
    let span: Option<Option<u64>> = conn
        .query_first("SELECT MAX(id) - MIN(id) FROM rejected_readings")
        .await
        .map_err(explain)?;
    if span.flatten().is_none_or(|span| span < max_rows) {
        return Ok(None);
    }
    let sql = format!(
        "SELECT id FROM rejected_readings FORCE INDEX (PRIMARY) ORDER BY id DESC LIMIT 1 OFFSET {max_rows}"
    );
    conn.query_first(sql).await.map_err(explain)
}

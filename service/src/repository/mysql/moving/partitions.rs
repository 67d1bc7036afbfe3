//! The partitions of a table that readings are moved out of, and those of the one that they are moved into.

use chrono::{DateTime, Datelike as _, NaiveDateTime};
use mysql_async::Conn;

use super::{
    super::{
        names::quoted,
        partitions::{literal, name},
    },
    ask, ask_one,
};
use crate::repository::RepositoryError;

/// Where the old table has no partitions, the new one gets one for about so many readings.
const READINGS: u64 = 2_000_000;
/// And no more than so many.
const MOST: u64 = 200;

/// The partitions by ascending bound; one without a name where a table has none.
pub(super) async fn of(conn: &mut Conn, table: &str) -> Result<Vec<String>, RepositoryError> {
    let sql = format!(
        "SELECT COALESCE(PARTITION_NAME, '') FROM information_schema.PARTITIONS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' \
         GROUP BY PARTITION_ORDINAL_POSITION, PARTITION_NAME ORDER BY PARTITION_ORDINAL_POSITION"
    );
    ask(conn, &sql).await
}

/// About how many readings a table holds, and in how many bytes.
pub(super) async fn size(conn: &mut Conn, table: &str) -> Result<(u64, u64), RepositoryError> {
    let sql = format!(
        "SELECT COALESCE(CAST(SUM(TABLE_ROWS) AS UNSIGNED), 0), \
         COALESCE(CAST(SUM(DATA_LENGTH + INDEX_LENGTH) AS UNSIGNED), 0) \
         FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'"
    );
    ask_one(conn, &sql).await
}

/// The partitions of a table that is to take what another one holds, as `CREATE TABLE` has them: with the same bounds, or
/// with bounds that divide the time where the other one has none.
pub(super) async fn like(conn: &mut Conn, table: &str) -> Result<String, RepositoryError> {
    let sql = format!(
        "SELECT PARTITION_NAME, PARTITION_DESCRIPTION FROM information_schema.PARTITIONS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' AND PARTITION_METHOD = 'RANGE COLUMNS' \
         AND REPLACE(PARTITION_EXPRESSION, '`', '') = 'ts' AND PARTITION_DESCRIPTION <> 'MAXVALUE' \
         GROUP BY PARTITION_ORDINAL_POSITION, PARTITION_NAME, PARTITION_DESCRIPTION \
         ORDER BY PARTITION_ORDINAL_POSITION"
    );
    let bounds: Vec<(String, String)> = ask(conn, &sql).await?;
    let bounds = match bounds.is_empty() {
        true => divided(conn, table).await?,
        false => bounds,
    };
    let partitions: Vec<String> = bounds
        .iter()
        .map(|(name, bound)| format!("  PARTITION {} VALUES LESS THAN ({bound}),\n", quoted(name)))
        .collect();
    Ok(partitions.concat() + "  PARTITION p_rest VALUES LESS THAN (MAXVALUE)\n")
}

/// Names and bounds that divide the time of a table without partitions.
async fn divided(conn: &mut Conn, table: &str) -> Result<Vec<(String, String)>, RepositoryError> {
    let (readings, _) = size(conn, table).await?;
    let sql = format!(
        "SELECT DATE_FORMAT(MIN(ts), '%Y-%m-%d %H:%i:%s'), DATE_FORMAT(MAX(ts), '%Y-%m-%d %H:%i:%s') FROM {table}"
    );
    let (first, last): (Option<String>, Option<String>) = ask_one(conn, &sql).await?;
    let at = |text: Option<String>| {
        let parsed = NaiveDateTime::parse_from_str(&text?, "%Y-%m-%d %H:%M:%S").ok()?;
        Some(parsed.and_utc().timestamp())
    };
    let (Some(first), Some(last)) = (at(first), at(last)) else {
        return Ok(Vec::new());
    };
    let bounds = cuts(first, last, readings).into_iter();
    let named = bounds.filter_map(|at_s| {
        // What lies behind the last time that a bound can have is for the last partition.
        DateTime::from_timestamp(at_s, 0).filter(|at| at.year() <= 9_999)?;
        let at_us = at_s * 1_000_000;
        Some((name(at_us), literal(at_us)))
    });
    Ok(named.collect())
}

/// Seconds that divide a time into equal parts, ascending, one for the end of all.
fn cuts(first_s: i64, last_s: i64, readings: u64) -> Vec<i64> {
    let parts = readings.div_ceil(READINGS).clamp(1, MOST) as i64;
    let width_s = ((last_s - first_s) / parts + 1).max(1);
    let cuts = (1..=parts).map(|part| first_s + part * width_s);
    let mut cuts: Vec<i64> = cuts.collect();
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_partitions_is_divided_by_time() {
        assert_eq!(cuts(0, 99, 1), [100]);
        assert_eq!(cuts(0, 99, 3 * READINGS), [34, 68, 102]);
        assert_eq!(cuts(5, 5, u64::MAX).len(), MOST as usize);
        assert!(cuts(-10, -1, 1)[0] > -1);
    }
}

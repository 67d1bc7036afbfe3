//! Partitions of the readings table: RANGE COLUMNS (ts), the last one without an upper bound.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use mysql_async::{Conn, Pool, prelude::Queryable as _};

use super::{
    answers,
    error::{explain, explain_to},
    ledger::quote,
    names::{Names, is_same, quoted},
    table::Table,
};
use crate::repository::{Partition, PartitionChange, RepositoryError, Split};

/// The server has a row for each subpartition, of which those of a partition are added up.
fn read_statement(table: &str) -> String {
    format!(
        "SELECT PARTITION_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, PARTITION_DESCRIPTION, \
         CAST(SUM(TABLE_ROWS) AS UNSIGNED), CAST(SUM(DATA_LENGTH + INDEX_LENGTH) AS UNSIGNED) \
         FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} \
         GROUP BY PARTITION_ORDINAL_POSITION, PARTITION_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, \
         PARTITION_DESCRIPTION ORDER BY PARTITION_ORDINAL_POSITION",
        quote(table)
    )
}

/// MySQL's own copy of the row estimates is up to a day old. MariaDB has none, and does not know the variable.
const FRESH_ESTIMATES: &str = "SET SESSION information_schema_stats_expiry = 0";
/// A lock's name has at most 64 characters, and a database's too. MySQL 9 has no MD5.
const LOCK: &str =
    "SELECT GET_LOCK(CONCAT('sluicegate.partitions.', LEFT(SHA2(DATABASE(), 256), 40)), 0)";
const UNLOCK: &str =
    "DO RELEASE_LOCK(CONCAT('sluicegate.partitions.', LEFT(SHA2(DATABASE(), 256), 40)))";
/// Of a session that is idle: when this host is gone in the middle of a pass, another instance has the lock soon, and not
/// after the hours that a TCP connection takes to be given up. A statement that runs is not idle.
const SHORT_LIFE: &str = "SET SESSION wait_timeout = 30";

/// Hands out passes over a pool.
pub struct MySqlPartitions {
    pool: Pool,
    table: String,
    names: Names,
    timestamps: String,
}

impl MySqlPartitions {
    /// `by_time` is the index that begins with the time. The optimizer has to be told: where most readings lie behind a
    /// point in time, it may sort all of them by way of another index to find the first.
    pub(super) fn new(pool: Pool, table: &Table, by_time: Option<&str>) -> Self {
        let index = by_time.map(|name| format!(" FORCE INDEX ({})", quoted(name)));
        let timestamps = format!(
            "SELECT DATE_FORMAT(ts, '%Y-%m-%d %H:%i:%s.%f') FROM {}{}",
            table.layout.table(),
            index.unwrap_or_default()
        );
        Self {
            pool,
            table: table.name.clone(),
            names: table.names.clone(),
            timestamps,
        }
    }

    /// Begins a pass under the lock that only one manager of this database holds at a time; None when another has it.
    pub async fn begin(&self) -> Result<Option<PartitionPass>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let locked: Option<Option<u8>> = conn.query_first(LOCK).await.map_err(explain)?;
        if locked.flatten() != Some(1) {
            return Ok(None);
        }
        let _ = conn.query_drop(FRESH_ESTIMATES).await;
        conn.query_drop(SHORT_LIFE).await.map_err(explain)?;
        let timestamps = self.timestamps.clone();
        Ok(Some(PartitionPass {
            conn,
            table: self.table.clone(),
            names: self.names.clone(),
            timestamps,
        }))
    }
}

/// Holds the named lock. The pool resets the session when the connection comes back, which frees the lock.
pub struct PartitionPass {
    conn: Conn,
    table: String,
    names: Names,
    /// Asks for timestamps.
    timestamps: String,
}

impl PartitionPass {
    /// The partitions by ascending bound; the catch-all is the last.
    pub async fn partitions(&mut self) -> Result<Vec<Partition>, RepositoryError> {
        type Row = (
            Option<String>,
            Option<String>,
            Option<String>,
            Option<String>,
            Option<u64>,
            Option<u64>,
        );
        let rows: Vec<Row> = answers::ask(&mut self.conn, &read_statement(&self.table))
            .await
            .map_err(explain)?;
        let mut partitions = Vec::with_capacity(rows.len());
        for (name, method, expression, bound, rows, bytes) in rows {
            let (Some(name), Some(bound)) = (name, bound) else {
                return Err(self.not_ours());
            };
            let ts = self.names.column("ts");
            let by_time = expression.is_some_and(|text| {
                let text = text.trim_matches('`').replace("``", "`");
                is_same(&text, ts)
            });
            if method.as_deref() != Some("RANGE COLUMNS") || !by_time {
                return Err(self.not_ours());
            }
            partitions.push(Partition {
                name,
                upper_us: read_bound(&bound)?,
                rows: rows.unwrap_or_default(),
                bytes: bytes.unwrap_or_default(),
            });
        }
        match partitions.last() {
            Some(last) if last.upper_us.is_none() => Ok(partitions),
            _ => Err(self.not_ours()),
        }
    }

    /// Timestamp of the newest reading before `end_us`, leaving out `newer` that are newer.
    pub async fn newest_before(
        &mut self,
        end_us: i64,
        newer: u64,
    ) -> Result<Option<i64>, RepositoryError> {
        let end = literal(end_us);
        self.timestamp(&format!(
            "WHERE ts < {end} ORDER BY ts DESC LIMIT {newer}, 1"
        ))
        .await
    }

    /// Timestamp of the oldest reading at or after `start_us`, or of all.
    pub async fn oldest_from(
        &mut self,
        start_us: Option<i64>,
    ) -> Result<Option<i64>, RepositoryError> {
        let from = start_us.map_or(String::new(), |start_us| {
            format!("WHERE ts >= {}", literal(start_us))
        });
        self.timestamp(&format!("{from} ORDER BY ts LIMIT 1")).await
    }

    /// Counts the readings in a partition, but no further than `limit`.
    pub async fn count_up_to(
        &mut self,
        partition: &str,
        limit: u64,
    ) -> Result<u64, RepositoryError> {
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM {} PARTITION ({}) LIMIT {limit}) AS counted",
            quoted(&self.table),
            quoted(partition)
        );
        let count: Option<u64> = self.conn.query_first(sql).await.map_err(explain)?;
        Ok(count.unwrap_or_default())
    }

    pub async fn buffer_pool_bytes(&mut self) -> Result<u64, RepositoryError> {
        let sql = "SELECT @@GLOBAL.innodb_buffer_pool_size";
        let bytes: Option<u64> = self.conn.query_first(sql).await.map_err(explain)?;
        bytes.ok_or_else(|| {
            RepositoryError::Other("the server does not tell its settings".to_owned())
        })
    }

    /// While an ALTER waits for transactions that run, new ones queue behind it: it must not wait for long.
    /// Alters the table. Readings of a partition that is divided are copied, and ingestion waits for that. Gives up with
    /// [`RepositoryError::Contention`] when transactions that run do not let it in within `patience_s`.
    pub async fn alter(
        &mut self,
        change: &PartitionChange,
        patience_s: u32,
    ) -> Result<(), RepositoryError> {
        let sql = match change {
            PartitionChange::Split(split) => {
                split_statement(&quoted(&self.table), self.find(&split.name).await?, split)
            }
            PartitionChange::Drop(names) => drop_statement(&quoted(&self.table), names),
        };
        let patience = format!("SET SESSION lock_wait_timeout = {patience_s}");
        self.conn.query_drop(patience).await.map_err(explain)?;
        tracing::debug!(sql, "altering");
        let what = "make and drop partitions (partitions.enabled)";
        let altered = self.conn.query_drop(sql).await;
        altered.map_err(|error| explain_to(what, error))
    }

    pub async fn end(mut self) {
        // Where this fails the connection is gone, and the lock with it.
        let _ = self.conn.query_drop(UNLOCK).await;
    }

    async fn timestamp(&mut self, which: &str) -> Result<Option<i64>, RepositoryError> {
        let sql = format!("{} {which}", self.timestamps);
        let sql = self.names.said(&sql).into_owned();
        let text: Option<String> = self.conn.query_first(sql).await.map_err(explain)?;
        text.map(|text| parse(&text)).transpose()
    }

    fn not_ours(&self) -> RepositoryError {
        RepositoryError::Setup(format!(
            "{} is not partitioned by RANGE COLUMNS ({}) with a last partition below MAXVALUE: alter it, or set \
             partitions.enabled to false",
            self.table,
            self.names.column("ts")
        ))
    }

    async fn find(&mut self, name: &str) -> Result<Partition, RepositoryError> {
        let partitions = self.partitions().await?;
        let found = partitions.into_iter().find(|each| each.name == name);
        found.ok_or_else(|| {
            let reason = format!("the partition {name} is gone: somebody else alters the table");
            RepositoryError::Other(reason)
        })
    }
}

fn drop_statement(table: &str, names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("ALTER TABLE {table} DROP PARTITION {}", names.join(", "))
}

fn split_statement(table: &str, whole: Partition, split: &Split) -> String {
    let pieces = split.bounds_us.iter().map(|&bound_us| {
        let bound = literal(bound_us);
        format!("PARTITION {} VALUES LESS THAN ({bound})", name(bound_us))
    });
    let bound = whole.upper_us.map_or("MAXVALUE".to_owned(), literal);
    let whole = quoted(&whole.name);
    let last = format!("PARTITION {whole} VALUES LESS THAN ({bound})");
    let pieces: Vec<String> = pieces.chain([last]).collect();
    format!(
        "ALTER TABLE {table} REORGANIZE PARTITION {whole} INTO ({})",
        pieces.join(", ")
    )
}

/// A partition is named by its upper bound in UTC.
pub(super) fn name(upper_us: i64) -> String {
    at(upper_us).format("p%Y%m%d_%H%M%S").to_string()
}

pub(super) fn literal(timestamp_us: i64) -> String {
    quote(&at(timestamp_us).format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

fn at(timestamp_us: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(timestamp_us)
        .unwrap_or_default()
        .naive_utc()
}

fn read_bound(description: &str) -> Result<Option<i64>, RepositoryError> {
    match description {
        "MAXVALUE" => Ok(None),
        text => parse(text.trim_matches('\'')).map(Some),
    }
}

fn parse(text: &str) -> Result<i64, RepositoryError> {
    // A bound may have been written as a day.
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(NaiveTime::MIN));
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .or(day)
        .map(|at| at.and_utc().timestamp_micros())
        .map_err(|_| RepositoryError::Other(format!("{text:?} is not a point in time")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE_US: i64 = 1_767_225_600_000_000;

    #[test]
    fn a_split_keeps_the_name_and_the_bound_of_its_last_piece() {
        let whole = Partition {
            name: "p_rest".to_owned(),
            upper_us: None,
            rows: 0,
            bytes: 0,
        };
        let split = Split {
            name: "p_rest".to_owned(),
            bounds_us: vec![BASE_US, BASE_US + 60_000_000],
        };
        assert_eq!(
            split_statement("readings", whole, &split),
            "ALTER TABLE readings REORGANIZE PARTITION `p_rest` INTO (\
             PARTITION p20260101_000000 VALUES LESS THAN ('2026-01-01 00:00:00.000000'), \
             PARTITION p20260101_000100 VALUES LESS THAN ('2026-01-01 00:01:00.000000'), \
             PARTITION `p_rest` VALUES LESS THAN (MAXVALUE))"
        );
    }

    #[test]
    fn a_bound_reads_back_as_it_was_written() {
        assert_eq!(read_bound("MAXVALUE").unwrap(), None);
        assert_eq!(read_bound(&literal(BASE_US)).unwrap(), Some(BASE_US));
        assert_eq!(read_bound("'2026-01-01 00:00:00'").unwrap(), Some(BASE_US));
        assert_eq!(read_bound("'2026-01-01'").unwrap(), Some(BASE_US));
        assert!(read_bound("12").is_err());
    }
}

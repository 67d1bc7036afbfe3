//! What is done for series now and then: noting when they were last seen, and looking for readings whose series is not there
//! any more, after a restore for example.

use std::ops::RangeInclusive;

use mysql_async::{Conn, Pool, prelude::Queryable as _};

use super::super::{
    answers,
    error::explain,
    metrics::SeriesMetrics,
    statement::{force, listed},
};
use crate::repository::{Nameless, RepositoryError};

/// So many numbers are read by one statement.
const PAGE_SERIES: usize = 10_000;
/// So many gaps between numbers are looked at by one statement.
const GAPS: usize = 100;

/// So many series are in one update.
pub(crate) const SEEN_AT_ONCE: usize = 1_000;

/// The table of series, to be kept up.
#[derive(Debug)]
pub struct MySqlSeriesUpkeep {
    pool: Pool,
    /// The index of the readings that begins with their series.
    index: Option<String>,
    metrics: SeriesMetrics,
}

impl MySqlSeriesUpkeep {
    pub(in super::super) fn new(pool: Pool, index: Option<String>, metrics: SeriesMetrics) -> Self {
        Self {
            pool,
            index,
            metrics,
        }
    }

    /// Notes that readings of these were stored on a day, as days since the Unix epoch: of [`SEEN_AT_ONCE`] at the most.
    pub(crate) async fn note_seen(&self, day: i32, numbers: &[u32]) -> Result<(), RepositoryError> {
        let sql = format!(
            "UPDATE series SET last_seen = DATE'1970-01-01' + INTERVAL {day} DAY WHERE series_id IN ({}) \
             AND (last_seen IS NULL OR last_seen < DATE'1970-01-01' + INTERVAL {day} DAY)",
            listed(numbers)
        );
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        conn.query_drop(sql).await.map_err(explain)
    }

    /// Counts readings that have the number of no series. Only what lies between the numbers that are there is looked at.
    pub(crate) async fn count_nameless(&self) -> Result<Nameless, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        // All of one moment: a series that gets its number meanwhile is not missed among the readings that follow.
        let snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                        START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
        conn.query_drop(snapshot).await.map_err(explain)?;
        let mut found = Nameless::default();
        let mut gaps = Vec::new();
        let mut next = 0;
        loop {
            let numbers = numbers(&mut conn, next).await?;
            let Some(&last) = numbers.last() else {
                break;
            };
            for number in numbers {
                if number > next {
                    gaps.push(next..=number - 1);
                }
                next = number.saturating_add(1);
            }
            for gaps in gaps.chunks(GAPS) {
                found = found.and(self.within(&mut conn, gaps).await?);
            }
            gaps.clear();
            if last == u32::MAX {
                break;
            }
        }
        let behind = [next..=u32::MAX];
        found = found.and(self.within(&mut conn, &behind).await?);
        conn.query_drop("ROLLBACK").await.map_err(explain)?;
        self.metrics.nameless(found.readings);
        Ok(found)
    }

    async fn within(
        &self,
        conn: &mut Conn,
        gaps: &[RangeInclusive<u32>],
    ) -> Result<Nameless, RepositoryError> {
        let ranges: Vec<String> = gaps
            .iter()
            .map(|gap| format!("series_id BETWEEN {} AND {}", gap.start(), gap.end()))
            .collect();
        let sql = format!(
            "SELECT COUNT(*), COUNT(DISTINCT series_id) FROM readings{} WHERE {}",
            force(self.index.as_ref()),
            ranges.join(" OR ")
        );
        let counted: Option<(u64, u64)> = conn.query_first(sql).await.map_err(explain)?;
        let (readings, series) = counted.unwrap_or_default();
        Ok(Nameless { readings, series })
    }
}

async fn numbers(conn: &mut Conn, first: u32) -> Result<Vec<u32>, RepositoryError> {
    let sql = format!(
        "SELECT series_id FROM series WHERE series_id >= {first} ORDER BY series_id LIMIT {PAGE_SERIES}"
    );
    answers::ask(conn, &sql).await.map_err(explain)
}

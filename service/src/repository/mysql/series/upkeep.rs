//! What is done for series now and then: noting when they were last seen, and looking for readings whose series is not there
//! any more, after a restore for example.

use std::{collections::HashMap, ops::RangeInclusive};

use mysql_async::{Conn, Pool, prelude::Queryable as _};

use super::super::{
    answers,
    error::explain,
    ledger::quote,
    metrics::SeriesMetrics,
    statement::{force, listed},
};
use crate::{
    model::{Series, Tags},
    repository::{Nameless, RepositoryError},
};

/// So many numbers are read by one statement.
const PAGE_SERIES: usize = 10_000;
/// So many tags are written by one statement.
const PAGE_TAGS: usize = 500;
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

    /// Gives series the tags that producers told, and no others, unless somebody has set tags of them over REST. Whether each of
    /// them has a number.
    pub(crate) async fn tag_told(
        &self,
        told: &[(&Series, &Tags)],
    ) -> Result<Vec<bool>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let tagged = tag_told(&mut conn, told).await;
        if tagged.is_err() {
            // In the middle of a transaction, which ends with it.
            answers::cut(conn);
        }
        tagged
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

async fn tag_told(
    conn: &mut Conn,
    told: &[(&Series, &Tags)],
) -> Result<Vec<bool>, RepositoryError> {
    conn.query_drop("START TRANSACTION")
        .await
        .map_err(explain)?;
    let names = told.iter().map(|(series, _)| {
        format!(
            "(id1 = {} AND id2 = {} AND sensor_type = {} AND id2_bytes = {} AND sensor_type_bytes = {})",
            series.id1,
            quote(&series.id2),
            quote(&series.sensor_type),
            series.id2.len(),
            series.sensor_type.len(),
        )
    });
    // Who tags over REST locks the same rows in the same order, and is waited for.
    let sql = format!(
        "SELECT series_id, id1, id2, sensor_type, tagged_at IS NULL FROM series FORCE INDEX (by_names) WHERE {} \
         ORDER BY series_id LOCK IN SHARE MODE",
        names.collect::<Vec<_>>().join(" OR ")
    );
    type Found = (u32, i32, String, String, bool);
    let found: Vec<Found> = answers::ask(conn, &sql).await.map_err(explain)?;
    let by_name: HashMap<(i32, &str, &str), (u32, bool)> = found
        .iter()
        .map(|(number, id1, id2, sensor_type, is_free)| {
            (
                (*id1, id2.as_str(), sensor_type.as_str()),
                (*number, *is_free),
            )
        })
        .collect();
    let of = |series: &Series| {
        let name = (series.id1, series.id2.as_str(), series.sensor_type.as_str());
        by_name.get(&name).copied()
    };
    // Of what was told twice the last is true.
    let mut free = HashMap::new();
    for (series, tags) in told {
        if let Some((number, true)) = of(series) {
            free.insert(number, *tags);
        }
    }
    if !free.is_empty() {
        let mut numbers: Vec<u32> = free.keys().copied().collect();
        numbers.sort_unstable();
        let sql = format!(
            "DELETE FROM series_tags WHERE series_id IN ({})",
            listed(&numbers)
        );
        conn.query_drop(sql).await.map_err(explain)?;
        let rows = numbers.iter().flat_map(|number| {
            let tags = free[number].iter();
            tags.map(move |(tag, value)| format!("({number},{},{})", quote(tag), quote(value)))
        });
        let rows: Vec<String> = rows.collect();
        for some in rows.chunks(PAGE_TAGS) {
            let sql = format!(
                "INSERT INTO series_tags (series_id, tag, value) VALUES {}",
                some.join(",")
            );
            conn.query_drop(sql).await.map_err(explain)?;
        }
    }
    conn.query_drop("COMMIT").await.map_err(explain)?;
    Ok(told
        .iter()
        .map(|(series, _)| of(series).is_some())
        .collect())
}

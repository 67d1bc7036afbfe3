//! Rollups as rows of their table.

use std::ops::Range;

use mysql_async::{Conn, Params, Row, Value, prelude::Queryable as _};

use super::super::{answers::unexpected, error::explain, instant, statement::listed};
use crate::{
    model::rollup::{Edge, Rollup, RollupsByBucket, add, bucket_of},
    repository::RepositoryError,
};

/// Rows of one statement.
const ROWS: usize = 500;
const COLUMNS: &str = "every_s, series_id, bucket, readings, total, lowest, highest, first_ts, first_id, first_sensor_value, last_ts, last_id, \
                       last_sensor_value";
const COLUMN_COUNT: usize = 13;
const US: i64 = 1_000_000;

/// The same in buckets of another length.
pub(super) fn coarser(rollups: &RollupsByBucket, every_us: i64) -> RollupsByBucket {
    let mut coarse = RollupsByBucket::default();
    for (&(series, bucket), one) in rollups {
        add(&mut coarse, (series, bucket_of(bucket, every_us)), one);
    }
    coarse
}

/// What is done where a row is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    /// Both together.
    Add,
    /// There is none.
    Never,
}

// From left to right, and each with what was there before: the key of an edge comes behind its value.
const ADD: &str = " ON DUPLICATE KEY UPDATE readings = readings + VALUES(readings), \
    total = IF(total IS NULL OR VALUES(total) IS NULL OR ABS(total / 2 + VALUES(total) / 2) > 8.9e307, NULL, total + VALUES(total)), \
    lowest = LEAST(lowest, VALUES(lowest)), highest = GREATEST(highest, VALUES(highest)), \
    first_sensor_value = IF((VALUES(first_ts), VALUES(first_id)) < (first_ts, first_id), VALUES(first_sensor_value), first_sensor_value), \
    first_id = IF((VALUES(first_ts), VALUES(first_id)) < (first_ts, first_id), VALUES(first_id), first_id), \
    first_ts = LEAST(first_ts, VALUES(first_ts)), \
    last_sensor_value = IF((VALUES(last_ts), VALUES(last_id)) > (last_ts, last_id), VALUES(last_sensor_value), last_sensor_value), \
    last_id = IF((VALUES(last_ts), VALUES(last_id)) > (last_ts, last_id), VALUES(last_id), last_id), \
    last_ts = GREATEST(last_ts, VALUES(last_ts))";

/// Writes rollups of a level, in the order of their key, as all do.
pub(super) async fn write(
    conn: &mut Conn,
    every_s: u32,
    rollups: &RollupsByBucket,
    there: There,
) -> Result<(), RepositoryError> {
    let mut keys: Vec<&(u32, i64)> = rollups.keys().collect();
    keys.sort_unstable();
    for some in keys.chunks(ROWS) {
        let mut params: Vec<Value> = Vec::with_capacity(some.len() * COLUMN_COUNT);
        for key in some {
            params.extend(values(every_s, **key, &rollups[*key]));
        }
        let row = format!("({})", vec!["?"; COLUMN_COUNT].join(","));
        let sql = format!(
            "INSERT INTO rollups ({COLUMNS}) VALUES {}{}",
            vec![row; some.len()].join(","),
            match there {
                There::Add => ADD,
                There::Never => "",
            }
        );
        conn.exec_drop(sql, Params::Positional(params))
            .await
            .map_err(explain)?;
    }
    Ok(())
}

fn values(every_s: u32, (series, bucket_us): (u32, i64), one: &Rollup) -> [Value; COLUMN_COUNT] {
    let total = one.total.is_finite().then_some(one.total);
    [
        every_s.into(),
        series.into(),
        instant::to_value(bucket_us),
        one.readings.into(),
        total.into(),
        one.lowest.into(),
        one.highest.into(),
        instant::to_value(one.first.timestamp_us),
        one.first.id.into(),
        one.first.value.into(),
        instant::to_value(one.last.timestamp_us),
        one.last.id.into(),
        one.last.value.into(),
    ]
}

/// Reads those of a level whose buckets begin in a stretch, of these series or of all.
pub(super) async fn read(
    conn: &mut Conn,
    every_s: u32,
    stretch: &Range<i64>,
    series: Option<&[u32]>,
    mut row: impl FnMut((u32, i64), Rollup),
) -> Result<u64, RepositoryError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rollups{} WHERE every_s = ? AND bucket >= ? AND bucket < ?{}",
        index(series),
        of_series(series)
    );
    let params = (every_s, at_second(stretch.start), at_second(stretch.end));
    let mut result = conn.exec_iter(sql, params).await.map_err(explain)?;
    let mut rows = 0;
    while let Some(found) = result.next().await.map_err(explain)? {
        let (key, one) = of_row(&found).ok_or_else(unexpected)?;
        row(key, one);
        rows += 1;
    }
    result.drop_result().await.map_err(explain)?;
    Ok(rows)
}

fn of_row(row: &Row) -> Option<((u32, i64), Rollup)> {
    let number = |index| row.get_opt::<f64, _>(index)?.ok();
    let at = |index| instant::from_value(row.as_ref(index)?);
    let edge = |index| {
        Some(Edge {
            timestamp_us: at(index)?,
            id: row.get_opt(index + 1)?.ok()?,
            value: number(index + 2)?,
        })
    };
    let one = Rollup {
        readings: row.get_opt(3)?.ok()?,
        total: row
            .get_opt::<Option<f64>, _>(4)?
            .ok()?
            .unwrap_or(f64::INFINITY),
        lowest: number(5)?,
        highest: number(6)?,
        first: edge(7)?,
        last: edge(10)?,
    };
    Some(((row.get_opt(1)?.ok()?, at(2)?), one))
}

/// Removes those of a level whose buckets begin in a stretch, of these series or of all.
pub(super) async fn remove(
    conn: &mut Conn,
    every_s: u32,
    stretch: &Range<i64>,
    series: Option<&[u32]>,
) -> Result<(), RepositoryError> {
    let sql = format!(
        "DELETE FROM rollups WHERE every_s = ? AND bucket >= ? AND bucket < ?{}",
        of_series(series)
    );
    let params = (every_s, at_second(stretch.start), at_second(stretch.end));
    conn.exec_drop(sql, params).await.map_err(explain)
}

/// The last that a DATETIME can name stands for all behind it: no bucket begins there.
const LAST_SECOND: i64 = 253_402_300_799;

/// A second as a parameter.
pub(super) fn at_second(second: i64) -> Value {
    instant::to_value(second.min(LAST_SECOND) * US)
}

fn index(series: Option<&[u32]>) -> &'static str {
    match series {
        Some(_) => " FORCE INDEX (PRIMARY)",
        None => " FORCE INDEX (by_bucket)",
    }
}

fn of_series(series: Option<&[u32]>) -> String {
    series.map_or_else(String::new, |series| {
        format!(" AND series_id IN ({})", listed(series))
    })
}

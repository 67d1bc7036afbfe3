//! Aggregation by time bucket and series, in one pass over the rows.

use mysql_async::{Row, Value};

use super::super::{
    instant,
    statement::{Shape, Statement},
};
use crate::{
    model::{Bucket, BucketKey, BucketWidth, Series},
    repository::AggregateQuery,
};

/// The key of a row and its value as one text of which the lowest is the first reading and the highest the last. Both
/// engines write a double with the digits that it takes to read it back. Without the cast they take 22 characters for the
/// longest, and cut the exponent of one with 24.
const KEYED_VALUE: &str = "CONCAT(ts, LPAD(id, 20, '0'), CAST(sensor_value AS CHAR(30)))";
const ID_DIGITS: usize = 20;
const LARGEST: f64 = f64::MAX;

/// Texts are grouped and ordered as bytes: the columns' own collation takes 'a' and 'a ' for one.
const COLUMNS: &str = "id1, CAST(id2 AS BINARY) AS id2_bytes, CAST(sensor_type AS BINARY) AS type_bytes, COUNT(*), \
                       MIN(sensor_value), MAX(sensor_value), AVG(sensor_value)";
const ORDER: &str = "bucket, id1, id2_bytes, type_bytes";

/// The groups of a query.
pub(super) fn statement(shape: Shape<'_>, query: &AggregateQuery) -> Statement {
    let selection = &query.selection;
    let start = start_of_bucket(query.width);
    let mut statement = Statement::new(&format!(
        "SELECT {start} AS bucket, {COLUMNS}, MIN({KEYED_VALUE}), MAX({KEYED_VALUE}) FROM sensor_readings"
    ));
    statement
        .force_index(shape, selection)
        .push(" WHERE TRUE", [])
        .of_time(shape, selection.time)
        .of_sensor_type(selection.sensor_type.as_deref());
    for (index, pair) in selection.pairs.iter().flatten().enumerate() {
        let before = if index == 0 { " AND ((" } else { ") OR (" };
        statement.push(before, []).of_pair(shape, pair);
    }
    if selection
        .pairs
        .as_ref()
        .is_some_and(|pairs| !pairs.is_empty())
    {
        statement.push("))", []);
    }
    if let Some(after) = &query.after {
        behind(&mut statement, after, query.width);
    }
    statement.push(
        &format!(" GROUP BY {ORDER} ORDER BY {ORDER} LIMIT ?"),
        [query.limit.into()],
    );
    statement
}

/// The groups of a query by the number of their series, up to the table; what restricts the readings comes next. An
/// average that is beyond all doubles is NULL: in a temporary table it would become the largest of them.
pub(super) fn numbered_groups(width: BucketWidth) -> String {
    let start = start_of_bucket(width);
    format!(
        "SELECT {start} AS bucket, readings.series_id AS series_id, COUNT(*) AS readings, MIN(sensor_value) AS lowest, \
         MAX(sensor_value) AS highest, IF(ABS(AVG(sensor_value)) <= {LARGEST:e}, AVG(sensor_value), NULL) AS average, MIN({KEYED_VALUE}) AS first_keyed, \
         MAX({KEYED_VALUE}) AS last_keyed FROM readings"
    )
}

/// Behind the restrictions. Buckets that an earlier page ended with begin again; which of their groups are behind it needs
/// the names.
pub(super) fn end_numbered_groups(groups: &mut Statement, query: &AggregateQuery) {
    if let Some(after) = &query.after {
        groups.push(" AND ts >= ?", [instant::to_value(after.start_us)]);
    }
    groups.push(" GROUP BY bucket, series_id", []);
}

/// Numbered groups with the names of their series, in order.
pub(super) fn named(groups: Statement, query: &AggregateQuery) -> Statement {
    let mut statement = Statement::new(
        "SELECT bucket, id1, id2_bytes, type_bytes, readings, lowest, highest, average, \
         first_keyed, last_keyed FROM (SELECT bucket, series.id1 AS id1, CAST(series.id2 AS BINARY) AS id2_bytes, \
         CAST(series.sensor_type AS BINARY) AS type_bytes, readings, lowest, highest, average, first_keyed, last_keyed FROM (",
    );
    statement.push(&groups.sql, groups.params).push(
        ") AS numbered STRAIGHT_JOIN series ON series.series_id = numbered.series_id) AS named",
        [],
    );
    if let Some(after) = &query.after {
        let bytes = |text: &str| Value::Bytes(text.as_bytes().to_vec());
        statement.push(
            " WHERE bucket > ? OR id1 > ? OR (id1 = ? AND (id2_bytes > ? OR (id2_bytes = ? AND type_bytes > ?)))",
            [
                after.start_us.into(),
                after.id1.into(),
                after.id1.into(),
                bytes(&after.id2),
                bytes(&after.id2),
                bytes(&after.sensor_type),
            ],
        );
    }
    statement.push(&format!(" ORDER BY {ORDER} LIMIT ?"), [query.limit.into()]);
    statement
}

/// Microseconds since the epoch at which a row's bucket begins; `%` is exact and takes the sign of the left side.
fn start_of_bucket(width: BucketWidth) -> String {
    let at = "TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', ts)";
    let width = width.as_us();
    format!("{at} - (({at} % {width}) + {width}) % {width}")
}

fn behind(statement: &mut Statement, after: &BucketKey, width: BucketWidth) {
    let next_start = after.start_us.saturating_add(width.as_us());
    let bytes = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    statement.push(
        " AND ts >= ? AND (ts >= ? OR id1 > ? OR (id1 = ? AND (CAST(id2 AS BINARY) > ? \
         OR (CAST(id2 AS BINARY) = ? AND CAST(sensor_type AS BINARY) > ?))))",
        [
            instant::to_value(after.start_us),
            instant::to_value(next_start),
            after.id1.into(),
            after.id1.into(),
            bytes(&after.id2),
            bytes(&after.id2),
            bytes(&after.sensor_type),
        ],
    );
}

/// A row as the statement returns it.
pub(super) fn bucket(row: Row, timestamp_decimals: u8) -> Option<Bucket> {
    type Columns = (
        i64,
        i32,
        String,
        String,
        u64,
        f64,
        f64,
        Option<f64>,
        String,
        String,
    );
    let columns = mysql_async::from_row_opt::<Columns>(row).ok()?;
    let (start_us, id1, id2, sensor_type, count, min, max, avg, first, last) = columns;
    let value = |keyed: &str| keyed_value(keyed, timestamp_decimals);
    Some(Bucket {
        start_us,
        series: Series {
            id1,
            id2,
            sensor_type,
        },
        count,
        min,
        max,
        avg: avg.unwrap_or(f64::INFINITY),
        first: value(&first)?,
        last: value(&last)?,
    })
}

fn keyed_value(keyed: &str, timestamp_decimals: u8) -> Option<f64> {
    let fraction = match timestamp_decimals {
        0 => 0,
        decimals => 1 + usize::from(decimals),
    };
    let key = "YYYY-MM-DD hh:mm:ss".len() + fraction + ID_DIGITS;
    keyed.get(key..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_stands_behind_the_key() {
        let keyed = "2026-01-01 00:00:00.00000000000000000000000012-1.5e300";
        assert_eq!(keyed_value(keyed, 6), Some(-1.5e300));
        assert_eq!(
            keyed_value("2026-01-01 00:00:00000000000000000000120.1", 0),
            Some(0.1)
        );
        assert_eq!(keyed_value("short", 6), None);
    }
}

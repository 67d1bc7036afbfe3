//! Aggregation by time bucket and series, in one pass over the rows.

use mysql_async::{Row, Value};

use super::{
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
        .of_type(selection);
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
    type Columns = (i64, i32, String, String, u64, f64, f64, f64, String, String);
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
        avg,
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

//! Aggregation by time bucket and series, in one pass over the rows.

use mysql_async::{Row, Value};

use super::super::{
    aggregate_text::{ID_DIGITS, LARGEST, TIME_CHARS, keyed, start_of_bucket},
    instant,
    statement::{Shape, Statement},
};
use crate::{
    model::{Bucket, BucketKey, BucketWidth, Series},
    repository::AggregateQuery,
};

/// Times of less digits than microseconds get them, so that what two tables say of a series can be compared.
fn keyed_value(shape: Shape<'_>) -> String {
    let ts = match shape.limits.timestamp.decimals {
        6 => "ts",
        _ => "CAST(ts AS DATETIME(6))",
    };
    keyed(ts, "id", "sensor_value")
}

/// Texts are grouped and ordered as bytes: the columns' own collation takes 'a' and 'a ' for one. A table of somebody's own may
/// have columns of any name, which would be grouped by instead of these: so nobody else has them.
const COLUMNS: &str = "id1, CAST(id2 AS BINARY) AS sluicegate_id2, CAST(sensor_type AS BINARY) AS sluicegate_type, COUNT(*), \
                       MIN(sensor_value), MAX(sensor_value), AVG(sensor_value)";
const PLAIN_ORDER: &str = "sluicegate_bucket, id1, sluicegate_id2, sluicegate_type";
const ORDER: &str = "bucket, id1, id2_bytes, type_bytes";

/// The groups of a query.
pub(super) fn statement(table: &str, shape: Shape<'_>, query: &AggregateQuery) -> Statement {
    let selection = &query.selection;
    let (start, keyed) = (start_of_bucket("ts", query.width), keyed_value(shape));
    let mut statement = Statement::new(&format!(
        "SELECT {start} AS sluicegate_bucket, {COLUMNS}, MIN({keyed}), MAX({keyed}) FROM {table}"
    ));
    statement
        .force_index(shape, selection)
        .push(" WHERE TRUE", [])
        .of_time(shape, selection.time)
        .of_sensor_type(selection.sensor_type.as_deref())
        .of_tags(&selection.tags);
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
        &format!(" GROUP BY {PLAIN_ORDER} ORDER BY {PLAIN_ORDER} LIMIT ?"),
        [query.limit.into()],
    );
    statement
}

/// The groups of a query by the number of their series, up to the table; what restricts the readings comes next. An
/// average that is beyond all doubles is NULL: in a temporary table it would become the largest of them.
pub(super) fn numbered_groups(table: &str, shape: Shape<'_>, width: BucketWidth) -> String {
    let (start, keyed) = (start_of_bucket("ts", width), keyed_value(shape));
    format!(
        "SELECT {start} AS bucket, readings.series_id AS series_id, COUNT(*) AS readings, MIN(sensor_value) AS lowest, \
         MAX(sensor_value) AS highest, IF(ABS(AVG(sensor_value)) <= {LARGEST:e}, AVG(sensor_value), NULL) AS average, MIN({keyed}) AS first_keyed, \
         MAX({keyed}) AS last_keyed FROM {table}"
    )
}

/// The same as parts of groups, with their sums.
pub(super) fn numbered_parts(table: &str, shape: Shape<'_>, width: BucketWidth) -> String {
    let (start, keyed) = (start_of_bucket("ts", width), keyed_value(shape));
    format!(
        "SELECT {start} AS bucket, readings.series_id AS series_id, COUNT(*) AS readings, \
         IF(ABS(SUM(sensor_value)) <= {LARGEST:e}, SUM(sensor_value), NULL) AS total, MIN(sensor_value) AS lowest, \
         MAX(sensor_value) AS highest, MIN({keyed}) AS first_keyed, MAX({keyed}) AS last_keyed FROM {table}"
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

/// A group, and which readings are its first and last.
pub(super) struct Group {
    pub(super) bucket: Bucket,
    first: String,
    last: String,
}

impl Group {
    /// Both together, which are of the same series and bucket.
    pub(super) fn and(self, other: Self) -> Self {
        let (one, two) = (&self.bucket, &other.bucket);
        let count = one.count + two.count;
        let share = |of: &Bucket| of.avg * (of.count as f64 / count as f64);
        let bucket = Bucket {
            count,
            min: one.min.min(two.min),
            max: one.max.max(two.max),
            avg: share(one) + share(two),
            first: if self.first <= other.first {
                one.first
            } else {
                two.first
            },
            last: if self.last >= other.last {
                one.last
            } else {
                two.last
            },
            ..self.bucket.clone()
        };
        Self {
            bucket,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// A row as the statements return it.
pub(super) fn group(row: Row) -> Option<Group> {
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
    let value = |keyed: &str| keyed.get(TIME_CHARS + ID_DIGITS..)?.parse().ok();
    let bucket = Bucket {
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
    };
    Some(Group {
        bucket,
        first,
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u64, avg: f64, first: &str, last: &str) -> Group {
        let value = |keyed: &str| keyed[TIME_CHARS + ID_DIGITS..].parse().unwrap();
        Group {
            bucket: Bucket {
                start_us: 0,
                series: Series {
                    id1: 1,
                    id2: "a".to_owned(),
                    sensor_type: "t".to_owned(),
                },
                count,
                min: avg - 1.0,
                max: avg + 1.0,
                avg,
                first: value(first),
                last: value(last),
            },
            first: first.to_owned(),
            last: last.to_owned(),
        }
    }

    #[test]
    fn what_two_tables_say_of_a_group_is_taken_together() {
        let one = of(
            3,
            1.0,
            "2026-01-01 00:00:00.00000000000000000000000012-1.5e300",
            "2026-01-01 00:00:09.000000000000000000000000017",
        );
        let two = of(
            1,
            5.0,
            "2026-01-01 00:00:00.000000000000000000000000110.25",
            "2026-01-01 00:00:02.000000000000000000000000193",
        );
        let both = one.and(two).bucket;
        assert_eq!((both.count, both.avg), (4, 2.0));
        assert_eq!((both.min, both.max), (0.0, 6.0));
        assert_eq!((both.first, both.last), (0.25, 7.0));
    }
}

//! The expressions of aggregations that readings and rollups have in common.

use crate::model::BucketWidth;

pub(super) const TIME_CHARS: usize = "YYYY-MM-DD hh:mm:ss.ffffff".len();
pub(super) const ID_DIGITS: usize = 20;
pub(super) const LARGEST: f64 = f64::MAX;

/// The key of a row and its value as one text of which the lowest is the first reading and the highest the last. Both
/// engines write a double with the digits that it takes to read it back. Without the cast they take 22 characters for the
/// longest, and cut the exponent of one with 24.
pub(super) fn keyed(ts: &str, id: &str, value: &str) -> String {
    format!("CONCAT({ts}, LPAD({id}, {ID_DIGITS}, '0'), CAST({value} AS CHAR(30)))")
}

/// Microseconds since the epoch at which the bucket of an instant begins; `%` is exact and takes the sign of the left side.
pub(super) fn start_of_bucket(column: &str, width: BucketWidth) -> String {
    let at = format!("TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', {column})");
    let width = width.as_us();
    format!("{at} - (({at} % {width}) + {width}) % {width}")
}

//! Writes rejected readings, as they were sent, into `rejected_readings`.

use mysql_async::{Conn, Value, prelude::Queryable as _};

use super::error::explain;
use crate::{
    model::{Rejection, StreamId},
    repository::RepositoryError,
};

/// Statements stay well below every server's max_allowed_packet; one reading cannot be longer than a message.
const STATEMENT_BYTES: usize = 1 << 20;
/// Longest text that is kept as it was sent; escaping may double it.
const TEXT_BYTES: usize = 1 << 20;
const COLUMNS: &str = "INSERT INTO rejected_readings (stream_id, seq, field, reason, sensor_value, sensor_type, id1, \
                       id2, timestamp_us, rejected_at) VALUES ";

/// Inserts rejections inside the current transaction.
pub(super) async fn insert<'a>(
    conn: &mut Conn,
    rejections: impl Iterator<Item = (Option<&'a StreamId>, &'a Rejection)>,
) -> Result<(), RepositoryError> {
    let mut sql = String::new();
    for (stream, rejection) in rejections {
        sql.push_str(if sql.is_empty() { COLUMNS } else { "," });
        push_row(&mut sql, stream, rejection);
        if sql.len() >= STATEMENT_BYTES {
            conn.query_drop(std::mem::take(&mut sql))
                .await
                .map_err(explain)?;
        }
    }
    if !sql.is_empty() {
        conn.query_drop(sql).await.map_err(explain)?;
    }
    Ok(())
}

fn push_row(sql: &mut String, stream: Option<&StreamId>, rejection: &Rejection) {
    let reading = &rejection.reading;
    let values = [
        stream.map_or(Value::NULL, |stream| Value::from(stream.as_str())),
        Value::from(rejection.seq.0),
        Value::from(rejection.fault.field().as_str()),
        Value::from(rejection.fault.to_string()),
        // The shortest text that reads back the same: Display would spell f64::MAX out in 309 digits.
        Value::from(format!("{:?}", reading.sensor_value)),
        Value::from(kept(&reading.series.sensor_type)),
        Value::from(reading.series.id1),
        Value::from(kept(&reading.series.id2)),
        Value::from(reading.timestamp_us),
    ];
    sql.push('(');
    for value in values {
        sql.push_str(&value.as_sql(false));
        sql.push(',');
    }
    sql.push_str("UTC_TIMESTAMP(6))");
}

/// The beginning of a text that no statement and no column could hold whole.
fn kept(text: &str) -> &str {
    let mut ends = (0..=text.len().min(TEXT_BYTES)).rev();
    let end = ends.find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Fault, Seq},
        repository::mysql::ledger::quote,
    };

    #[test]
    fn a_quarantined_reading_keeps_what_has_no_number() {
        let rejection = Rejection::without_series(Seq(7), Fault::NotFinite, f64::NAN, -1);
        let mut sql = String::new();
        push_row(&mut sql, None, &rejection);
        assert!(sql.starts_with("(NULL,7,'sensor_value',"), "{sql}");
        assert!(sql.contains("'NaN'"), "{sql}");
        assert_eq!(quote("a'b\\"), "'a\\'b\\\\'");
    }
}

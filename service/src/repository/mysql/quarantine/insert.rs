//! Writes rejected readings into `rejected_readings`, as they were sent but for what is cut off long texts.

use mysql_async::{Conn, Value, prelude::Queryable as _};

use super::super::{error::explain, ledger::binary};
use crate::{
    ledger::{PartOutcome, Plan},
    model::{Fault, Field, Rejection, Seq, StreamId, Undecoded},
    repository::{LoadBatch, RepositoryError},
};

/// No statement is longer: half of the smallest max_allowed_packet that `checks` accepts. A row takes some tens of kilobytes
/// at the most, because its texts and its payload are cut.
const STATEMENT_BYTES: usize = 512 << 10;
const COLUMNS: &str = "INSERT INTO rejected_readings (stream_id, seq, field, reason, sensor_value, sensor_type, id1, \
                       id2, timestamp_us, origin, payload_bytes, payload_position, payload_value, payload_context, \
                       payload, rejected_at) VALUES ";

/// One line for a batch, however many readings are refused.
pub(in crate::repository::mysql) fn report(number: Seq, refused: &[(u32, Rejection)]) {
    if let Some((_, first)) = refused.first() {
        tracing::warn!(
            batch = number.0,
            readings = refused.len(),
            reason = %first.fault,
            "the database refuses readings: they go into quarantine"
        );
    }
}

/// The rejections of a batch that are new: those of validation, and those that the database found.
pub(in crate::repository::mysql) fn of_batch<'a>(
    plan: &'a Plan,
    batch: &'a dyn LoadBatch,
) -> impl Iterator<Item = (Option<&'a StreamId>, &'a Rejection)> {
    let stream_of = |part: usize| {
        batch.parts()[part]
            .stream
            .as_ref()
            .map(|(stream, _)| stream)
    };
    let by_validation = plan
        .quarantined
        .iter()
        .map(move |&(part, rejection)| (stream_of(part), &batch.rejections()[rejection]));
    let by_database = plan
        .outcomes
        .iter()
        .enumerate()
        .flat_map(move |(part, outcome)| {
            let found = match outcome {
                PartOutcome::Stored {
                    found_by_database, ..
                } => found_by_database.as_slice(),
                _ => &[],
            };
            found
                .iter()
                .map(move |rejection| (stream_of(part), rejection))
        });
    by_validation.chain(by_database)
}

/// Inserts rejections inside the current transaction.
pub(in crate::repository::mysql) async fn insert<'a>(
    conn: &mut Conn,
    mut rejections: impl Iterator<Item = (Option<&'a StreamId>, &'a Rejection)>,
) -> Result<(), RepositoryError> {
    let mut waiting = None;
    while let Some(statement) = next_statement(&mut rejections, &mut waiting) {
        conn.query_drop(statement).await.map_err(explain)?;
    }
    Ok(())
}

/// A statement of as many rows as it may have. The row that did not fit is `waiting` for the next one.
fn next_statement<'a>(
    rejections: &mut impl Iterator<Item = (Option<&'a StreamId>, &'a Rejection)>,
    waiting: &mut Option<String>,
) -> Option<String> {
    let mut sql = String::new();
    while let Some(row) = waiting.take().or_else(|| {
        let (stream, rejection) = rejections.next()?;
        Some(row(stream, rejection))
    }) {
        if !sql.is_empty() && sql.len() + ",".len() + row.len() > STATEMENT_BYTES {
            *waiting = Some(row);
            break;
        }
        sql.push_str(if sql.is_empty() { COLUMNS } else { "," });
        sql.push_str(&row);
    }
    (!sql.is_empty()).then_some(sql)
}

fn row(stream: Option<&StreamId>, rejection: &Rejection) -> String {
    let series = &rejection.series;
    let origin = rejection.origin();
    let kept = rejection.undecoded().map(Kept::of).unwrap_or_default();
    let values = [
        stream.map_or(Value::NULL, |stream| Value::from(stream.as_str())),
        Value::from(rejection.seq.0),
        Value::from(rejection.fault.field().as_str()),
        Value::from(rejection.fault.to_string()),
        Value::from(value_text(rejection)),
        Value::from(series.sensor_type.as_str()),
        Value::from(series.id1),
        Value::from(series.id2.as_str()),
        Value::from(rejection.timestamp_us),
        origin.map_or(Value::NULL, |origin| Value::from(origin.place.as_str())),
        kept.bytes.map_or(Value::NULL, Value::from),
        kept.position.map_or(Value::NULL, Value::from),
        kept.value.map_or(Value::NULL, Value::from),
        kept.context.map_or(Value::NULL, Value::from),
    ];
    let mut sql = "(".to_owned();
    for value in values {
        sql.push_str(&value.as_sql(false));
        sql.push(',');
    }
    match origin {
        Some(origin) => sql.push_str(&binary(&origin.payload)),
        None => sql.push_str("NULL"),
    }
    sql + ",UTC_TIMESTAMP(6))"
}

/// Characters of a value's name that its column has.
const VALUE_CHARS: usize = 255;

/// What is needed to decode something once more.
#[derive(Default)]
struct Kept<'a> {
    bytes: Option<u64>,
    position: Option<String>,
    value: Option<&'a str>,
    context: Option<&'a str>,
}

impl<'a> Kept<'a> {
    fn of(undecoded: &'a Undecoded) -> Self {
        let Undecoded { value, origin, .. } = undecoded;
        // Of a name that was cut off nobody could say which value it is.
        if value
            .as_ref()
            .is_some_and(|name| name.chars().count() > VALUE_CHARS)
        {
            return Self::default();
        }
        Self {
            bytes: origin.payload_bytes.map(|bytes| bytes as u64),
            position: Some(origin.position.to_string()),
            value: value.as_deref(),
            context: origin.context.as_str(),
        }
    }
}

/// The shortest text that reads back the same: Display would spell f64::MAX out in 309 digits.
fn value_text(rejection: &Rejection) -> String {
    match rejection.fault {
        Fault::Absent(Field::SensorValue) | Fault::Undecodable(_) => "absent".to_owned(),
        _ => format!("{:?}", rejection.sensor_value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{KeptSeries, Seq},
        repository::mysql::ledger::quote,
    };

    fn rejection(seq: u64, series: KeptSeries) -> Rejection {
        Rejection {
            seq: Seq(seq),
            fault: Fault::NotFinite,
            series,
            sensor_value: f64::NAN,
            timestamp_us: -1,
        }
    }

    #[test]
    fn a_quarantined_reading_keeps_what_has_no_number() {
        let sql = row(None, &rejection(7, KeptSeries::unknown()));
        assert!(sql.starts_with("(NULL,7,'sensor_value',"), "{sql}");
        assert!(sql.contains("'NaN'"), "{sql}");
        assert_eq!(quote("a'b\\"), "'a\\'b\\\\'");
    }

    #[test]
    fn no_statement_is_longer_than_the_smallest_packet_allows() {
        let longest = "'".repeat(STATEMENT_BYTES);
        let series = KeptSeries::of(i32::MIN, &longest, &longest);
        let rejections: Vec<_> = (1..2_001)
            .map(|seq| rejection(seq, series.clone()))
            .collect();
        let mut rows = rejections.iter().map(|one| (None, one));
        let mut waiting = None;
        let statements: Vec<_> =
            std::iter::from_fn(|| next_statement(&mut rows, &mut waiting)).collect();
        assert!(statements.len() > 1);
        assert!(statements.iter().all(|sql| sql.len() <= STATEMENT_BYTES));
        let rows: usize = statements
            .iter()
            .map(|sql| sql.matches("(NULL,").count())
            .sum();
        assert_eq!(rows, rejections.len());
    }
}

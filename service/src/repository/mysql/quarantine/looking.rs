//! The quarantine, to look at.

use mysql_async::{Row, Value, prelude::FromValue};

use super::super::{MySqlLedgerReader, instant, statement::Statement};
use crate::{
    model::{
        KeptPayload, QuarantineFilter, QuarantineKey, QuarantineOf, QuarantineStretch, Quarantined,
        Seq, Series, TimestampRange,
    },
    repository::RepositoryError,
};

/// A page may have ten thousand rows: of payloads it has the beginnings.
const PAGE_COLUMNS: &str = "SELECT id, stream_id, seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us, \
                            rejected_at, origin, LEFT(payload, 1024), payload_bytes, payload_position, payload_value, NULL \
                            FROM rejected_readings WHERE ";
const COLUMNS: &str = "SELECT id, stream_id, seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us, \
                       rejected_at, origin, payload, payload_bytes, payload_position, payload_value, payload_context \
                       FROM rejected_readings WHERE ";

impl MySqlLedgerReader {
    /// A page, in the order of [`QuarantineKey`]; of what could not be decoded with at most 1,024 bytes, and without how it
    /// was read.
    pub(crate) async fn quarantine(
        &self,
        filter: &QuarantineFilter,
        after: Option<QuarantineKey>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, RepositoryError> {
        let mut statement = Statement::new(PAGE_COLUMNS);
        statement.of_quarantine(filter);
        let after = after.unwrap_or(QuarantineKey { seq: 0, id: 0 });
        match filter.of {
            QuarantineOf::Everyone => statement.push(
                " AND id > ? ORDER BY id LIMIT ?",
                [after.id.into(), limit.into()],
            ),
            QuarantineOf::Anonymous | QuarantineOf::Stream(_) => statement.push(
                " AND ((seq = ? AND id > ?) OR seq > ?) ORDER BY seq, id LIMIT ?",
                [
                    after.seq.into(),
                    after.id.into(),
                    after.seq.into(),
                    limit.into(),
                ],
            ),
        };
        self.rows(statement, quarantined).await
    }

    /// Some of a stretch, by id.
    pub(crate) async fn quarantine_stretch(
        &self,
        filter: &QuarantineFilter,
        stretch: QuarantineStretch,
        limit: usize,
    ) -> Result<Vec<Quarantined>, RepositoryError> {
        let mut statement = Statement::new(COLUMNS);
        statement.of_stretch(filter, stretch, limit);
        self.rows(statement, quarantined).await
    }

    /// The same, the ids alone.
    pub(crate) async fn quarantine_ids(
        &self,
        filter: &QuarantineFilter,
        stretch: QuarantineStretch,
        limit: usize,
    ) -> Result<Vec<u64>, RepositoryError> {
        let mut statement = Statement::new("SELECT id FROM rejected_readings WHERE ");
        statement.of_stretch(filter, stretch, limit);
        self.rows(statement, |mut row| row.take_opt(0)?.ok()).await
    }

    /// How many are meant.
    pub(crate) async fn count_quarantine(
        &self,
        filter: &QuarantineFilter,
    ) -> Result<u64, RepositoryError> {
        let mut statement = Statement::new("SELECT COUNT(*) FROM rejected_readings WHERE ");
        statement.of_quarantine(filter);
        let counted = self
            .rows(statement, |mut row| row.take_opt(0)?.ok())
            .await?;
        Ok(counted.first().copied().unwrap_or_default())
    }
}

impl Statement {
    /// The conditions of a filter.
    fn of_quarantine(&mut self, filter: &QuarantineFilter) -> &mut Self {
        match &filter.of {
            QuarantineOf::Everyone => self.push("TRUE", []),
            QuarantineOf::Anonymous => self.push("stream_id IS NULL", []),
            QuarantineOf::Stream(stream) => self.push(
                "stream_id = ? AND LENGTH(stream_id) = ?",
                [stream.as_str().into(), stream.len().into()],
            ),
        };
        if let Some(ids) = &filter.ids {
            let marks = vec!["?"; ids.len()].join(",");
            let ids = ids.iter().map(|&id| id.into());
            self.push(&format!(" AND id IN ({marks})"), ids);
        }
        if let Some(field) = &filter.field {
            self.push(" AND field = ?", [field.as_str().into()]);
        }
        if let Some(part) = &filter.reason {
            self.push(" AND LOCATE(?, reason) > 0", [part.as_str().into()]);
        }
        if let Some(beginning) = &filter.origin {
            let beginning = beginning.as_str();
            self.push(
                " AND LEFT(origin, CHAR_LENGTH(?)) = ?",
                [beginning.into(), beginning.into()],
            );
        }
        // What the column cannot hold is before or behind all.
        let range = TimestampRange::DATETIME_6;
        if let Some(from) = filter.from_us {
            match from > range.max_us {
                true => self.push(" AND FALSE", []),
                false => self.push(
                    " AND rejected_at >= ?",
                    [instant::to_value(from.max(range.min_us))],
                ),
            };
        }
        if let Some(to) = filter.to_us
            && to <= range.max_us
        {
            self.push(
                " AND rejected_at < ?",
                [instant::to_value(to.max(range.min_us))],
            );
        }
        self
    }

    fn of_stretch(
        &mut self,
        filter: &QuarantineFilter,
        QuarantineStretch { after, last }: QuarantineStretch,
        limit: usize,
    ) {
        self.of_quarantine(filter).push(
            " AND id > ? AND id <= ? ORDER BY id LIMIT ?",
            [after.into(), last.into(), limit.into()],
        );
    }
}

fn quarantined(mut row: Row) -> Option<Quarantined> {
    // There are more columns than a tuple is read from.
    fn take<T: FromValue>(row: &mut Row, column: usize) -> Option<T> {
        row.take_opt(column)?.ok()
    }
    let row = &mut row;
    let rejected_at: Value = take(row, 10)?;
    let payload: Option<Vec<u8>> = take(row, 12)?;
    let (whole_bytes, position, value, context) = (
        take(row, 13)?,
        take(row, 14)?,
        take(row, 15)?,
        take(row, 16)?,
    );
    Some(Quarantined {
        id: take(row, 0)?,
        stream_id: take(row, 1)?,
        seq: Seq(take(row, 2)?),
        field: take(row, 3)?,
        reason: take(row, 4)?,
        sensor_value: take(row, 5)?,
        series: Series {
            sensor_type: take(row, 6)?,
            id1: take(row, 7)?,
            id2: take(row, 8)?,
        },
        timestamp_us: take(row, 9)?,
        rejected_us: instant::from_value(&rejected_at)?,
        origin: take(row, 11)?,
        payload: payload.map(|bytes| KeptPayload {
            bytes,
            whole_bytes,
            position,
            value,
            context,
        }),
    })
}

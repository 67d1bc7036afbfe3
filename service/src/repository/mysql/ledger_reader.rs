//! The ledger and the quarantine, to look at.

use mysql_async::{Row, Value, prelude::FromValue};

use super::{asking::Asking, instant, readings::unexpected, statement::Statement};
use crate::{
    model::{
        Epoch, QuarantineKey, QuarantineOf, Quarantined, Seq, Series, SourceMark, SourcePosition,
        StreamStanding,
    },
    repository::RepositoryError,
};

const STREAM_COLUMNS: &str = "SELECT stream_id, epoch, committed_seq, committed, rejected, duplicate, created_at, \
                              updated_at, owner, source_position, source_seq FROM ingest_streams WHERE ";
const QUARANTINE_COLUMNS: &str = "SELECT id, stream_id, seq, field, reason, sensor_value, sensor_type, id1, id2, \
                                  timestamp_us, rejected_at, origin, payload FROM rejected_readings WHERE ";

/// The ledger and the quarantine, to look at.
pub struct MySqlLedgerReader {
    asking: Asking,
}

impl MySqlLedgerReader {
    pub(super) fn new(asking: Asking) -> Self {
        Self { asking }
    }

    async fn rows<T>(
        &self,
        statement: Statement,
        row: impl Fn(Row) -> Option<T>,
    ) -> Result<Vec<T>, RepositoryError> {
        let rows = self.asking.rows(statement).await?;
        let rows = rows
            .into_iter()
            .map(|each| row(each).ok_or_else(unexpected));
        rows.collect()
    }

    /// Rows in order of their names, from behind `after`.
    pub(crate) async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamStanding>, RepositoryError> {
        let mut statement = Statement::new(STREAM_COLUMNS);
        statement.push(
            "stream_id > ? ORDER BY stream_id LIMIT ?",
            [after.unwrap_or_default().into(), limit.into()],
        );
        self.rows(statement, standing).await
    }

    pub(crate) async fn stream(
        &self,
        stream_id: &str,
    ) -> Result<Option<StreamStanding>, RepositoryError> {
        let mut statement = Statement::new(STREAM_COLUMNS);
        statement.push(
            "stream_id = ? AND LENGTH(stream_id) = ?",
            [stream_id.into(), stream_id.len().into()],
        );
        Ok(self.rows(statement, standing).await?.pop())
    }

    pub(crate) async fn quarantine(
        &self,
        of: &QuarantineOf,
        after: Option<QuarantineKey>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, RepositoryError> {
        let mut statement = Statement::new(QUARANTINE_COLUMNS);
        let after = after.unwrap_or(QuarantineKey { seq: 0, id: 0 });
        if *of == QuarantineOf::Everyone {
            statement.push(
                "id > ? ORDER BY id LIMIT ?",
                [after.id.into(), limit.into()],
            );
            return self.rows(statement, quarantined).await;
        }
        match of {
            QuarantineOf::Stream(stream) => statement.push(
                "stream_id = ? AND LENGTH(stream_id) = ?",
                [stream.as_str().into(), stream.len().into()],
            ),
            _ => statement.push("stream_id IS NULL", []),
        };
        statement.push(
            " AND ((seq = ? AND id > ?) OR seq > ?) ORDER BY seq, id LIMIT ?",
            [
                after.seq.into(),
                after.id.into(),
                after.seq.into(),
                limit.into(),
            ],
        );
        self.rows(statement, quarantined).await
    }
}

fn standing(row: Row) -> Option<StreamStanding> {
    type Columns = (
        String,
        u64,
        u64,
        u64,
        u64,
        u64,
        Value,
        Value,
        Option<String>,
        Option<Vec<u8>>,
        u64,
    );
    let columns = mysql_async::from_row_opt::<Columns>(row).ok()?;
    let (
        stream_id,
        epoch,
        committed_seq,
        committed,
        rejected,
        duplicate,
        created,
        updated,
        owner,
        position,
        source_seq,
    ) = columns;
    Some(StreamStanding {
        stream_id,
        epoch: Epoch(epoch),
        committed_seq: Seq(committed_seq),
        committed,
        rejected,
        duplicate,
        created_us: instant::from_value(&created)?,
        updated_us: instant::from_value(&updated)?,
        owner,
        mark: position.map(|bytes| SourceMark {
            seq: Seq(source_seq),
            position: SourcePosition::stored(&bytes),
        }),
    })
}

fn quarantined(mut row: Row) -> Option<Quarantined> {
    // There are more columns than a tuple is read from.
    fn take<T: FromValue>(row: &mut Row, column: usize) -> Option<T> {
        row.take_opt(column)?.ok()
    }
    let row = &mut row;
    let rejected_at: Value = take(row, 10)?;
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
        payload: take(row, 12)?,
    })
}

//! The ledger and the quarantine, to look at.

use mysql_async::{Row, Value};

use super::{answers::unexpected, asking::Asking, instant, statement::Statement};
use crate::{
    model::{Epoch, Seq, SourceMark, SourcePosition, StreamStanding},
    repository::RepositoryError,
};

const STREAM_COLUMNS: &str = "SELECT stream_id, epoch, committed_seq, committed, rejected, duplicate, created_at, \
                              updated_at, owner, source_position, source_seq FROM ingest_streams WHERE ";

/// The ledger and the quarantine, to look at.
pub struct MySqlLedgerReader {
    asking: Asking,
}

impl MySqlLedgerReader {
    pub(super) fn new(asking: Asking) -> Self {
        Self { asking }
    }

    pub(super) async fn rows<T>(
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

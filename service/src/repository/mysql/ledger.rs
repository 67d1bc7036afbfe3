//! The ledger's own statements: taking a stream over, and asking where it stands.

use std::fmt::Write as _;

use mysql_async::{Conn, Pool, Value, prelude::Queryable as _};

use super::{
    answers::{self, LEDGER_ROW_BYTES},
    error::explain,
};
use crate::{
    ledger::LedgerGain,
    model::{
        Epoch, PrincipalName, Resumption, Seq, SourceMark, SourcePosition, StreamId, StreamPosition,
    },
    repository::{OpenedStream, RepositoryError, Resumed},
};

/// The ledger of streams. Each call is tried a second time on a new connection: a restart of the database leaves dead
/// ones in the pool. All may run twice: an epoch that is raised by 2 fences as well, and one that was resumed stays.
pub struct MySqlLedger {
    pool: Pool,
}

impl MySqlLedger {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Takes a stream over: raises its epoch, which fences older writers, and says where it stands.
    /// One that belongs to nobody belongs to the principal from then on, if there is one; None when it belongs to another.
    pub(crate) async fn open(
        &self,
        stream: &StreamId,
        principal: Option<&PrincipalName>,
    ) -> Result<Option<OpenedStream>, RepositoryError> {
        match self.try_open(stream, principal).await {
            Err(RepositoryError::Unreachable(_)) => self.try_open(stream, principal).await,
            settled => settled,
        }
    }

    /// Raises the epoch if it is the one that is held, and says where the stream stands in either case. May be called again:
    /// it takes effect once.
    pub(crate) async fn resume(
        &self,
        stream: &StreamId,
        resumption: Resumption,
        principal: Option<&PrincipalName>,
    ) -> Result<Resumed, RepositoryError> {
        match self.try_resume(stream, resumption, principal).await {
            Err(RepositoryError::Unreachable(_)) => {
                self.try_resume(stream, resumption, principal).await
            }
            settled => settled,
        }
    }

    /// Where a stream stands. One that belongs to nobody belongs to the principal from then on, if there is one.
    pub(crate) async fn position(
        &self,
        stream: &StreamId,
        principal: Option<&PrincipalName>,
    ) -> Result<Resumed, RepositoryError> {
        match self.try_position(stream, principal).await {
            Err(RepositoryError::Unreachable(_)) => self.try_position(stream, principal).await,
            settled => settled,
        }
    }

    /// Sets whose a stream is, and raises its epoch if that is somebody else: who writes it under the earlier owner is fenced.
    /// None when it was never opened. May be called again: it takes effect once.
    pub(crate) async fn give(
        &self,
        stream: &StreamId,
        owner: Option<&PrincipalName>,
    ) -> Result<Option<OpenedStream>, RepositoryError> {
        match self.try_give(stream, owner).await {
            Err(RepositoryError::Unreachable(_)) => self.try_give(stream, owner).await,
            settled => settled,
        }
    }

    async fn try_give(
        &self,
        stream: &StreamId,
        owner: Option<&PrincipalName>,
    ) -> Result<Option<OpenedStream>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let name = quote(stream.as_str());
        let owner = owner.map_or_else(|| "NULL".to_owned(), |owner| quote(owner.as_str()));
        let raise = format!(
            "UPDATE ingest_streams SET epoch = epoch + 1, owner = {owner}, updated_at = UTC_TIMESTAMP(6) \
             WHERE stream_id = {name} AND NOT (owner <=> {owner})"
        );
        let row = raise_epoch(&mut conn, &name, &raise).await?;
        Ok(row.and_then(|row| row.of(None)))
    }

    async fn try_open(
        &self,
        stream: &StreamId,
        principal: Option<&PrincipalName>,
    ) -> Result<Option<OpenedStream>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let Some(principal) = principal else {
            return take_over(&mut conn, stream).await.map(Some);
        };
        let (name, owner) = (quote(stream.as_str()), quote(principal.as_str()));
        // From left to right, each with what those before it have set: the owner last.
        let raise = format!(
            "INSERT INTO ingest_streams (stream_id, epoch, owner, created_at, updated_at) \
             VALUES ({name}, 1, {owner}, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) \
             ON DUPLICATE KEY UPDATE epoch = IF(COALESCE(owner, {owner}) = {owner}, epoch + 1, epoch), \
             updated_at = IF(COALESCE(owner, {owner}) = {owner}, UTC_TIMESTAMP(6), updated_at), \
             owner = COALESCE(owner, {owner})"
        );
        let row = raise_epoch(&mut conn, &name, &raise).await?;
        let row = row.ok_or_else(|| RepositoryError::Other("the ledger row is gone".to_owned()))?;
        Ok(row.of(Some(principal)))
    }

    async fn try_resume(
        &self,
        stream: &StreamId,
        resumption: Resumption,
        principal: Option<&PrincipalName>,
    ) -> Result<Resumed, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let name = quote(stream.as_str());
        let Resumption { held, next } = resumption;
        let (claim, only) = match principal.map(|principal| quote(principal.as_str())) {
            None => (String::new(), String::new()),
            Some(owner) => (
                format!(", owner = {owner}"),
                format!(" AND COALESCE(owner, {owner}) = {owner}"),
            ),
        };
        let raise = format!(
            "UPDATE ingest_streams SET epoch = {next}, updated_at = UTC_TIMESTAMP(6){claim} \
             WHERE stream_id = {name} AND epoch = {held}{only}"
        );
        let row = raise_epoch(&mut conn, &name, &raise).await?;
        Ok(stands(row, principal))
    }

    async fn try_position(
        &self,
        stream: &StreamId,
        principal: Option<&PrincipalName>,
    ) -> Result<Resumed, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let mut row = row_of(&mut conn, stream).await?;
        // Once in the life of a stream that was opened before there were tokens.
        if let (Some(principal), Some(LedgerRow { owner: None, .. })) = (principal, &row) {
            let claim = "UPDATE ingest_streams SET owner = ? WHERE stream_id = ? AND owner IS NULL";
            conn.exec_drop(claim, (principal.as_str(), stream.as_str()))
                .await
                .map_err(explain)?;
            row = row_of(&mut conn, stream).await?;
        }
        Ok(stands(row, principal))
    }
}

/// A stream's row.
struct LedgerRow {
    opened: OpenedStream,
    owner: Option<String>,
}

impl LedgerRow {
    /// What it says to a principal; None when it is another's.
    fn of(self, principal: Option<&PrincipalName>) -> Option<OpenedStream> {
        let is_own = match (principal, &self.owner) {
            (Some(principal), Some(owner)) => owner == principal.as_str(),
            _ => true,
        };
        is_own.then_some(self.opened)
    }
}

fn stands(row: Option<LedgerRow>, principal: Option<&PrincipalName>) -> Resumed {
    let Some(row) = row else {
        return Resumed::NotOpened;
    };
    row.of(principal)
        .map_or(Resumed::OfAnother, Resumed::Stands)
}

/// What is read of a stream's row.
const COLUMNS: &str = "epoch, committed_seq, rejected, owner, source_position, source_seq";
type Columns = (u64, u64, u64, Option<String>, Option<Vec<u8>>, u64);

fn ledger_row(columns: Columns) -> LedgerRow {
    let (epoch, committed_seq, rejected, owner, source_position, source_seq) = columns;
    LedgerRow {
        opened: OpenedStream {
            position: position((epoch, committed_seq)),
            rejected,
            mark: source_position.map(|bytes| SourceMark {
                seq: Seq(source_seq),
                position: SourcePosition::stored(&bytes),
            }),
        },
        owner,
    }
}

async fn row_of(conn: &mut Conn, stream: &StreamId) -> Result<Option<LedgerRow>, RepositoryError> {
    let sql = format!("SELECT {COLUMNS} FROM ingest_streams WHERE stream_id = ?");
    let row: Option<Columns> = conn
        .exec_first(sql, (stream.as_str(),))
        .await
        .map_err(explain)?;
    Ok(row.map(ledger_row))
}

/// Where a stream or a lane stands; None when it has no row.
pub(super) async fn position_of(
    conn: &mut Conn,
    stream: &StreamId,
) -> Result<Option<StreamPosition>, RepositoryError> {
    let sql = "SELECT epoch, committed_seq FROM ingest_streams WHERE stream_id = ?";
    let row: Option<(u64, u64)> = conn
        .exec_first(sql, (stream.as_str(),))
        .await
        .map_err(explain)?;
    Ok(row.map(position))
}

fn position((epoch, committed_seq): (u64, u64)) -> StreamPosition {
    StreamPosition {
        epoch: Epoch(epoch),
        committed_seq: Seq(committed_seq),
    }
}

/// Raises the epoch, which fences older writers, and creates the row if there is none: the load transaction then locks
/// rows only, never gaps.
pub(super) async fn take_over(
    conn: &mut Conn,
    stream: &StreamId,
) -> Result<OpenedStream, RepositoryError> {
    let name = quote(stream.as_str());
    let raise = format!(
        "INSERT INTO ingest_streams (stream_id, epoch, created_at, updated_at) \
         VALUES ({name}, 1, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) \
         ON DUPLICATE KEY UPDATE epoch = epoch + 1, updated_at = UTC_TIMESTAMP(6)"
    );
    raise_epoch(conn, &name, &raise)
        .await?
        .and_then(|row| row.of(None))
        .ok_or_else(|| RepositoryError::Other("the ledger row is gone".to_owned()))
}

/// Runs the statement that raises the epoch of the stream with this quoted name, and says where the stream stands then.
/// The row lock waits for a load of that stream that is under way, so the answer is final.
async fn raise_epoch(
    conn: &mut Conn,
    name: &str,
    raise: &str,
) -> Result<Option<LedgerRow>, RepositoryError> {
    // In one message: a service that is paused on the way must not leave the row locked.
    let sql = format!(
        "START TRANSACTION; {raise}; \
         SELECT {COLUMNS} FROM ingest_streams WHERE stream_id = {name}; \
         COMMIT"
    );
    let mut results = conn.query_iter(sql).await.map_err(explain)?;
    for _without_rows in ["START TRANSACTION", raise] {
        results
            .for_each(|_: mysql_async::Row| ())
            .await
            .map_err(explain)?;
    }
    let rows: Vec<Columns> = answers::rows(&mut results, LEDGER_ROW_BYTES)
        .await
        .map_err(explain)?;
    // Reads on to the reply of COMMIT: without it nothing is taken over.
    results.drop_result().await.map_err(explain)?;
    Ok(rows.into_iter().next().map(ledger_row))
}

/// Moves streams and lanes on by what a batch gained them.
pub(super) fn gains_statement<'a>(
    gains: impl Iterator<Item = (&'a StreamId, &'a LedgerGain)>,
) -> String {
    let row = |(stream, gain): (&StreamId, &LedgerGain)| {
        let LedgerGain {
            epoch,
            committed_seq,
            committed,
            rejected,
            duplicate,
            mark,
        } = gain;
        let name = quote(stream.as_str());
        let (source_position, source_seq) = match mark {
            Some(mark) => (binary(mark.position.as_bytes()), mark.seq),
            None => ("NULL".to_owned(), Seq(0)),
        };
        format!(
            "({name},{epoch},{committed_seq},{committed},{rejected},{duplicate},UTC_TIMESTAMP(6),UTC_TIMESTAMP(6),\
             {source_position},{source_seq})"
        )
    };
    let rows: Vec<String> = gains.map(row).collect();
    format!(
        "INSERT INTO ingest_streams (stream_id, epoch, committed_seq, committed, rejected, duplicate, created_at, \
         updated_at, source_position, source_seq) VALUES {} ON DUPLICATE KEY UPDATE committed_seq = VALUES(committed_seq), \
         committed = committed + VALUES(committed), rejected = rejected + VALUES(rejected), \
         duplicate = duplicate + VALUES(duplicate), updated_at = VALUES(updated_at), \
         source_seq = IF(VALUES(source_position) IS NULL, source_seq, VALUES(source_seq)), \
         source_position = COALESCE(VALUES(source_position), source_position)",
        rows.join(",")
    )
}

/// Bytes as an SQL literal.
pub(super) fn binary(bytes: &[u8]) -> String {
    bytes.iter().fold("x'".to_owned(), |mut literal, byte| {
        let _ = write!(literal, "{byte:02x}");
        literal
    }) + "'"
}

/// A text as an SQL literal. The session's sql_mode leaves the backslash its meaning.
pub(super) fn quote(text: &str) -> String {
    Value::from(text).as_sql(false)
}

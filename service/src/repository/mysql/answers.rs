//! Answers of a bounded size: who answers may not be the database, and would otherwise fill the memory.

use mysql_async::{
    Conn, Error, FromRowError, QueryResult, Row, Value,
    prelude::{FromRow, Protocol, Queryable as _},
};

use crate::repository::RepositoryError;

/// What a page or the list of a table's partitions may take, bytes: some thousands of rows.
pub(super) const PAGE_BYTES: usize = 32 << 20;
/// What one row of the ledger may take, bytes.
pub(super) const LEDGER_ROW_BYTES: usize = 4 << 10;

/// What a row takes besides its values, and a value besides its text.
const ROW_BYTES: usize = size_of::<Row>();
const VALUE_BYTES: usize = size_of::<Option<Value>>();

/// An answer that no question of ours has.
#[derive(Debug, thiserror::Error)]
#[error(
    "it goes on for longer than any question of this program asks for: look at who answers in the database's place"
)]
pub(super) struct TooLong;

/// Asks for some rows.
pub(super) async fn ask<T>(conn: &mut Conn, sql: &str) -> Result<Vec<T>, Error>
where
    T: FromRow + Send + 'static,
{
    let mut result = conn.query_iter(sql).await?;
    let rows = rows(&mut result, PAGE_BYTES).await?;
    result.drop_result().await?;
    Ok(rows)
}

/// The rows of this set, up to `most_bytes` of them.
pub(super) async fn rows<T, P>(
    result: &mut QueryResult<'_, 'static, P>,
    most_bytes: usize,
) -> Result<Vec<T>, Error>
where
    T: FromRow + Send + 'static,
    P: Protocol,
{
    let mut found = Vec::new();
    let mut bytes = 0;
    while let Some(row) = result.next().await? {
        bytes += size(&row);
        if bytes > most_bytes {
            return Err(Error::Other(Box::new(TooLong)));
        }
        found.push(T::from_row_opt(row).map_err(strange)?);
    }
    Ok(found)
}

fn strange(FromRowError(row): FromRowError) -> Error {
    mysql_async::DriverError::FromRow { row }.into()
}

fn size(row: &Row) -> usize {
    let values = (0..row.len()).map(|index| match row.as_ref(index) {
        Some(Value::Bytes(bytes)) => VALUE_BYTES + bytes.len(),
        _ => VALUE_BYTES,
    });
    ROW_BYTES + values.sum::<usize>()
}

pub(super) fn is_too_long(error: &Error) -> bool {
    matches!(error, Error::Other(other) if other.is::<TooLong>())
}

pub(super) fn unexpected() -> RepositoryError {
    RepositoryError::Other("a row does not look as expected".to_owned())
}

/// Closes a connection, or what holds one, without a word. Otherwise the driver reads an answer to its end first, which may
/// have none; where a thread unwinds it lets go at once, of its pool, too.
pub(super) fn cut<T>(held: T) {
    let unwinding = std::panic::AssertUnwindSafe(move || {
        let _dropped_with_this = held;
        std::panic::resume_unwind(Box::new(()));
    });
    let _ = std::panic::catch_unwind(unwinding);
}

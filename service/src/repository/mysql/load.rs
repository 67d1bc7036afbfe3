//! One LOAD statement, and whether the server stored what it was sent.

use mysql_async::{Conn, Error, ServerError, prelude::Queryable as _};

use super::{error::explain, refusal::of_server, table::Table};
use crate::repository::RepositoryError;

/// ER_DATA_TOO_LONG
const TOO_LONG: u16 = 1406;
/// ER_NO_REFERENCED_ROW and ER_NO_REFERENCED_ROW_2
const NO_PARENT: [u16; 2] = [1216, 1452];

/// Loads one line inside of the current transaction, after a savepoint.
pub(super) async fn line(
    conn: &mut Conn,
    table: &Table,
    line: Vec<u8>,
) -> Result<(), RepositoryError> {
    lines(conn, table, line, 1).await
}

/// The same of some lines.
pub(super) async fn lines(
    conn: &mut Conn,
    table: &Table,
    lines: Vec<u8>,
    rows: u32,
) -> Result<(), RepositoryError> {
    conn.set_infile_handler(async move {
        let whole = futures::stream::once(async move { Ok(lines.into()) });
        Ok(Box::pin(whole) as _)
    });
    run(conn, table, || rows)
        .await
        .map_err(RepositoryError::from)
}

/// Why a LOAD did not store what was sent.
pub(super) enum Refused {
    /// A text is longer than its column, although all were held against the columns of the start.
    TooLong(String),
    /// A foreign key wants a row of another table that is not there.
    NoParent(String),
    Other(RepositoryError),
}

impl From<Refused> for RepositoryError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLong(reason) | Refused::NoParent(reason) => Self::Data(reason),
            Refused::Other(error) => error,
        }
    }
}

/// Loads what the infile handler hands over, after a savepoint. `sent` says how many rows that were.
pub(super) async fn run(
    conn: &mut Conn,
    table: &Table,
    sent: impl FnOnce() -> u32,
) -> Result<(), Refused> {
    let statement = format!("SAVEPOINT before_load; {}", table.load_statement);
    match conn.query_drop(statement).await {
        Err(Error::Server(error)) if error.code == TOO_LONG => {
            return Err(Refused::TooLong(error.message));
        }
        Err(Error::Server(error)) if NO_PARENT.contains(&error.code) => {
            return Err(Refused::NoParent(error.message));
        }
        other => other.map_err(explain).map_err(Refused::Other)?,
    }
    settle(conn, sent()).await.map_err(Refused::Other)
}

/// Whether the LOAD that has just ended stored what it was sent.
pub(super) async fn settle(conn: &mut Conn, sent: u32) -> Result<(), RepositoryError> {
    match verify(conn.affected_rows(), conn.get_warnings(), sent) {
        Err(RepositoryError::Data(differs)) => Err(warned(conn, differs).await?),
        verified => verified,
    }
}

/// The OK packet must count exactly what was sent, and no warning: a coerced value is a warning, a row in the place of
/// another one counts twice. What the server says in words is in the language of its operator.
fn verify(affected: u64, warnings: u16, sent: u32) -> Result<(), RepositoryError> {
    let sent = u64::from(sent);
    if affected > sent {
        return Err(RepositoryError::Other(format!(
            "ids are in use already: {sent} rows were sent, {affected} are affected"
        )));
    }
    if affected < sent || warnings > 0 {
        return Err(RepositoryError::Data(format!(
            "stored it differently: {sent} rows were sent, {affected} are affected, with {warnings} warnings"
        )));
    }
    Ok(())
}

/// What the first warning of the last statement means.
async fn warned(conn: &mut Conn, differs: String) -> Result<RepositoryError, RepositoryError> {
    let first: Option<(String, u16, String)> = conn
        .query_first("SHOW WARNINGS LIMIT 1")
        .await
        .map_err(explain)?;
    let meaning = first.map(|(_, code, message)| {
        of_server(&ServerError {
            code,
            message,
            state: String::new(),
        })
    });
    Ok(match meaning {
        Some(of_table @ RepositoryError::Table(_)) => of_table,
        Some(RepositoryError::Data(reason)) => RepositoryError::Data(reason),
        _ => RepositoryError::Data(differs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_warnings_must_be_what_was_sent() {
        assert!(verify(3, 0, 3).is_ok());
        for (affected, warnings) in [(2, 0), (3, 1), (0, 0)] {
            let differs = verify(affected, warnings, 3);
            assert!(
                matches!(differs, Err(RepositoryError::Data(_))),
                "{affected} {warnings}"
            );
        }
        for warnings in [0, 1] {
            let replaced = verify(4, warnings, 3);
            assert!(matches!(replaced, Err(RepositoryError::Other(_))));
        }
    }
}

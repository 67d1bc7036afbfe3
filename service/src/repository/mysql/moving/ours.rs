//! Tables and views that a move makes and removes again. Somebody may have others of the same names, which stay.

use mysql_async::Conn;

use super::{ask, run};
use crate::repository::RepositoryError;

/// What tells a table of ours from others.
pub(super) const COMMENT: &str = "COMMENT = 'made by sluicegate migrate --to'";
const COMMENT_TEXT: &str = "made by sluicegate migrate --to";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    View,
    /// A table that keeps its history, or anything else.
    Other,
}

/// What a table is; None where there is none.
pub(super) async fn kind(conn: &mut Conn, name: &str) -> Result<Option<Kind>, RepositoryError> {
    let sql = format!(
        "SELECT TABLE_TYPE FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{name}'"
    );
    let found: Option<String> = ask(conn, &sql).await?.pop();
    Ok(found.map(|kind| match kind.as_str() {
        "BASE TABLE" => Kind::Table,
        "VIEW" => Kind::View,
        _ => Kind::Other,
    }))
}

/// Its columns, in their order.
async fn columns(conn: &mut Conn, name: &str) -> Result<Vec<String>, RepositoryError> {
    let sql = format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{name}' ORDER BY ORDINAL_POSITION"
    );
    ask(conn, &sql).await
}

/// Refuses something else that has the name.
pub(super) async fn expect_columns(
    conn: &mut Conn,
    name: &str,
    expected: &[&str],
) -> Result<(), RepositoryError> {
    let found = columns(conn, name).await?;
    let is_there = |column: &&str| found.iter().any(|found| found == column);
    match found.is_empty() || expected.iter().all(is_there) {
        true => Ok(()),
        false => Err(in_the_way(name)),
    }
}

pub(super) async fn expect_empty(conn: &mut Conn, table: &str) -> Result<(), RepositoryError> {
    let found: Vec<u8> = ask(conn, &format!("SELECT 1 FROM {table} LIMIT 1")).await?;
    match found.is_empty() {
        true => Ok(()),
        false => Err(in_the_way(table)),
    }
}

/// Drops a table of ours, if it is there.
pub(super) async fn drop_table(conn: &mut Conn, name: &str) -> Result<(), RepositoryError> {
    match kind(conn, name).await? {
        None => return Ok(()),
        Some(Kind::Table) => {}
        Some(_) => return Err(in_the_way(name)),
    }
    let sql = format!(
        "SELECT TABLE_COMMENT FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{name}'"
    );
    let comment: Option<String> = ask(conn, &sql).await?.pop();
    match comment.as_deref() {
        Some(COMMENT_TEXT) => run(conn, &format!("DROP TABLE {name}")).await,
        _ => Err(in_the_way(name)),
    }
}

/// Drops a view of ours, if it is there.
pub(super) async fn drop_view(conn: &mut Conn, name: &str) -> Result<(), RepositoryError> {
    match kind(conn, name).await? {
        None => return Ok(()),
        Some(Kind::View) => {}
        Some(_) => return Err(in_the_way(name)),
    }
    let ours = ["id", "sensor_value", "sensor_type", "id1", "id2", "ts"];
    // One whose tables have other names now has none.
    let found = columns(conn, name).await?;
    match found.is_empty() || found == ours {
        true => run(conn, &format!("DROP VIEW {name}")).await,
        false => Err(in_the_way(name)),
    }
}

pub(super) fn in_the_way(name: &str) -> RepositoryError {
    RepositoryError::Setup(format!(
        "{name} is there already, and is not what the move needs under this name: give it another one (RENAME TABLE)"
    ))
}

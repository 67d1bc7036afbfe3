//! A lane's claim: an advisory lock that its connection holds, so that a connection that was lost can be found again.
//!
//! When a network or a host fails, the database may not notice for hours, and keep the lost connection's transaction
//! with its row locks: the lane could neither load nor learn what became of its COMMIT.

use mysql_async::{Conn, prelude::Queryable as _};

use super::{error::explain, ledger::quote};
use crate::{model::StreamId, repository::RepositoryError};

/// How long the end of a killed connection may take, rolling back included.
const RELEASE_DEADLINE_S: u32 = 10;

/// Takes the claim of a lane for this connection, and ends the connection that held it before.
///
/// # Errors
/// When the other connection does not end in time; retriable.
pub(super) async fn take(conn: &mut Conn, lane: &StreamId) -> Result<(), RepositoryError> {
    let lane = quote(lane.as_str());
    // The name of an advisory lock has at most 64 characters, and is the server's, not the schema's.
    let name =
        format!("CONCAT('sluicegate.', LEFT(SHA2(CONCAT(DATABASE(), '/', {lane}), 256), 40))");
    if get_lock(conn, &name, 0).await? {
        return Ok(());
    }
    let holder: Option<Option<u64>> = conn
        .query_first(format!("SELECT IS_USED_LOCK({name})"))
        .await
        .map_err(explain)?;
    if let Some(holder) = holder.flatten() {
        tracing::info!(holder, "ending the lane's lost connection");
        // It may have ended by itself, and an account may kill its own connections.
        let _ = conn.query_drop(format!("KILL {holder}")).await;
    }
    if get_lock(conn, &name, RELEASE_DEADLINE_S).await? {
        return Ok(());
    }
    let reason = "the lane's lost connection does not end".to_owned();
    Err(RepositoryError::Contention(reason))
}

async fn get_lock(conn: &mut Conn, name: &str, wait_s: u32) -> Result<bool, RepositoryError> {
    let sql = format!("SELECT GET_LOCK({name}, {wait_s})");
    let got: Option<Option<u8>> = conn.query_first(sql).await.map_err(explain)?;
    Ok(got.flatten() == Some(1))
}

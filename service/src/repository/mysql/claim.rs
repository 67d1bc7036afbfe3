//! A lane's claim: an advisory lock that its connection holds, so that a connection that was lost can be found again.
//!
//! When a network or a host fails, the database may not notice for hours, and keep the lost connection's transaction
//! with its row locks: the lane could neither load nor learn what became of its COMMIT.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{connection::Connector, error::explain, ledger::quote};
use crate::{model::StreamId, repository::RepositoryError};

/// How long the end of a killed connection may take, rolling back included.
const RELEASE_DEADLINE_S: u32 = 10;
/// How long taking the claim may go without an answer: a network that drops packets would hold the lane otherwise.
const TAKE_DEADLINE: Duration = Duration::from_secs(2 * RELEASE_DEADLINE_S as u64);
/// How often the database is asked what it knows of a connection that has not answered yet.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A connection that the database has heard nothing of for so long, in the middle of a load, is not heard by it. What
/// the loader does between two statements takes milliseconds.
const UNHEARD_S: u32 = 5;

/// Another process's connection that has been silent for so long no longer has its lane: lanes that rest say so more
/// often.
const SILENT_S: u32 = 10;

/// Who has a lane after it was asked for.
#[derive(Debug)]
pub(super) enum Claim {
    Taken,
    /// Another process, and the database has heard of it lately: this says which connection, and from where.
    Held(String),
}

/// Takes the claim of a lane for this connection. The one that held it before is ended when it was `own`, lost by this
/// process, or when it is silent.
///
/// # Errors
/// When the other connection does not end in time, or the database does not answer; retriable.
pub(super) async fn take(
    conn: &mut Conn,
    lane: &StreamId,
    own: Option<u32>,
) -> Result<Claim, RepositoryError> {
    tokio::time::timeout(TAKE_DEADLINE, take_from_holder(conn, lane, own))
        .await
        .unwrap_or_else(|_| {
            let reason = "no answer to the claim of a lane".to_owned();
            Err(RepositoryError::Unreachable(reason))
        })
}

/// Takes the claim of a lane that nobody holds; false when somebody does.
pub(super) async fn take_if_free(
    conn: &mut Conn,
    lane: &StreamId,
) -> Result<bool, RepositoryError> {
    get_lock(conn, &name(lane), 0).await
}

/// Leaves a claim that this connection holds.
pub(super) async fn give_back(conn: &mut Conn, lane: &StreamId) -> Result<(), RepositoryError> {
    let sql = format!("DO RELEASE_LOCK({})", name(lane));
    conn.query_drop(sql).await.map_err(explain)
}

async fn take_from_holder(
    conn: &mut Conn,
    lane: &StreamId,
    own: Option<u32>,
) -> Result<Claim, RepositoryError> {
    let name = name(lane);
    if get_lock(conn, &name, 0).await? {
        return Ok(Claim::Taken);
    }
    let holder: Option<Option<u64>> = conn
        .query_first(format!("SELECT IS_USED_LOCK({name})"))
        .await
        .map_err(explain)?;
    if let Some(holder) = holder.flatten() {
        if own.map(u64::from) != Some(holder)
            && let Some(host) = host_if_heard(conn, holder).await?
        {
            return Ok(Claim::Held(format!("connection {holder} from {host}")));
        }
        tracing::info!(holder, "ending the lane's lost connection");
        // It may have ended by itself, and an account may kill its own connections.
        let _ = conn.query_drop(format!("KILL {holder}")).await;
    }
    if get_lock(conn, &name, RELEASE_DEADLINE_S).await? {
        return Ok(Claim::Taken);
    }
    let reason = "the lane's lost connection does not end".to_owned();
    Err(RepositoryError::Contention(reason))
}

/// Where a connection comes from, unless it is gone or the database has heard nothing of it for too long.
async fn host_if_heard(conn: &mut Conn, id: u64) -> Result<Option<String>, RepositoryError> {
    let sql = format!(
        "SELECT HOST FROM information_schema.PROCESSLIST \
         WHERE ID = {id} AND NOT (COMMAND = 'Sleep' AND TIME >= {SILENT_S})"
    );
    conn.query_first(sql).await.map_err(explain)
}

/// The name of an advisory lock has at most 64 characters, and is the server's, not the schema's.
fn name(lane: &StreamId) -> String {
    let lane = quote(lane.as_str());
    format!("CONCAT('sluicegate.', LEFT(SHA2(CONCAT(DATABASE(), '/', {lane}), 256), 40))")
}

/// Resolves when it is in vain to wait for a reply on the connection that holds the lane's claim, because the database
/// has ended it, or waits for us as we wait for it. A network that drops what is sent without a word looks from here
/// like a long wait for a lock, and the system's own timeouts take a quarter of an hour.
pub(super) async fn lost(connector: &Connector, lane: &StreamId) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match tokio::time::timeout(LOOK_EVERY, is_at_work(connector, lane)).await {
            Ok(Ok(false)) => return,
            Ok(Ok(true)) => {}
            // The loader will meet the same, or not.
            Ok(Err(reason)) => tracing::debug!(%reason, "cannot look for the lane's connection"),
            Err(_) => tracing::debug!("no answer about the lane's connection"),
        }
    }
}

/// Whether the database is busy with what the holder of the claim last asked.
async fn is_at_work(connector: &Connector, lane: &StreamId) -> Result<bool, RepositoryError> {
    let mut conn = connector.connect().await?;
    let name = name(lane);
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = IS_USED_LOCK({name}) \
         AND NOT (COMMAND = 'Sleep' AND TIME >= {UNHEARD_S})"
    );
    let found: Option<u64> = conn.query_first(sql).await.map_err(explain)?;
    let _ = conn.disconnect().await;
    Ok(found != Some(0))
}

async fn get_lock(conn: &mut Conn, name: &str, wait_s: u32) -> Result<bool, RepositoryError> {
    let sql = format!("SELECT GET_LOCK({name}, {wait_s})");
    let got: Option<Option<u8>> = conn.query_first(sql).await.map_err(explain)?;
    Ok(got.flatten() == Some(1))
}

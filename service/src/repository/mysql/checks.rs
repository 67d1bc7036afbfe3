//! Checks at start. Each failure is one sentence that says what to change.

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    error::{explain, explain_to},
    infile::CHUNK_BYTES,
    names::Names,
    table::{Table, TableLayout},
};
use crate::repository::{Durability, RepositoryError};

pub(super) struct Server {
    pub(super) version: String,
    pub(super) durability: Durability,
}

/// Reads the server settings that ingestion depends on.
pub(super) async fn server(conn: &mut Conn) -> Result<Server, RepositoryError> {
    let sql = "SELECT VERSION(), @@GLOBAL.local_infile, @@GLOBAL.max_allowed_packet, \
               @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin, @@GLOBAL.sync_binlog, CONCAT(@@GLOBAL.read_only)";
    type Settings = (String, bool, u64, u64, bool, u64, String);
    let row: Option<Settings> = conn.query_first(sql).await.map_err(explain)?;
    let Some((version, local_infile, max_packet, flush, log_bin, sync_binlog, read_only)) = row
    else {
        return Err(RepositoryError::Other(
            "the server does not tell its settings".to_owned(),
        ));
    };
    if !local_infile {
        return Err(RepositoryError::Setup(
            "local_infile is off: run SET GLOBAL local_infile = 1 and put local_infile = 1 into the server's \
             configuration"
                .to_owned(),
        ));
    }
    if max_packet < 4 * CHUNK_BYTES as u64 {
        return Err(RepositoryError::Setup(format!(
            "max_allowed_packet is {max_packet} bytes: set it to at least {}",
            4 * CHUNK_BYTES
        )));
    }
    // A number on some versions, a word on others.
    if !matches!(read_only.as_str(), "0" | "OFF") {
        tracing::warn!("the server is read-only: nothing can be stored before it is not");
    }
    expect_utc(conn).await?;
    let full = flush == 1 && (!log_bin || sync_binlog == 1);
    let durability = if full {
        Durability::Full
    } else {
        Durability::ProcessCrash
    };
    Ok(Server {
        version,
        durability,
    })
}

/// The session was set to UTC. A proxy that shares connections may have dropped that.
async fn expect_utc(conn: &mut Conn) -> Result<(), RepositoryError> {
    let offset: Option<i64> = conn
        .query_first("SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), NOW())")
        .await
        .map_err(explain)?;
    if offset == Some(0) {
        return Ok(());
    }
    Err(RepositoryError::Setup(
        "the session is not in UTC although SET time_zone = '+00:00' was sent: let the proxy in front of the database \
         pass session settings through, or connect to the database itself"
            .to_owned(),
    ))
}

/// Runs every kind of statement that ingestion needs, on no rows, and rolls back: a privilege that is missing shows
/// now and not with the first reading.
pub(super) async fn can_write(conn: &mut Conn, table: &Table) -> Result<(), RepositoryError> {
    let statements = [
        ("begin", "START TRANSACTION"),
        (
            "lock the ledger",
            "SELECT epoch FROM ingest_streams WHERE stream_id = '' FOR UPDATE",
        ),
        (
            "open streams in the ledger",
            "INSERT INTO ingest_streams SELECT * FROM ingest_streams WHERE FALSE",
        ),
        (
            "move streams on in the ledger",
            "UPDATE ingest_streams SET epoch = epoch, owner = owner WHERE stream_id = ''",
        ),
        (
            "take lanes that are gone out of the ledger",
            "DELETE FROM ingest_streams WHERE FALSE",
        ),
        (
            "put rejected readings into the quarantine",
            "INSERT INTO rejected_readings SELECT * FROM rejected_readings WHERE FALSE",
        ),
        (
            "keep names that are longer than their column",
            "INSERT INTO long_names SELECT * FROM long_names WHERE FALSE",
        ),
        (
            "let rejected readings go",
            "DELETE FROM rejected_readings WHERE FALSE",
        ),
        (
            "take ids",
            "UPDATE id_blocks SET next_id = next_id WHERE FALSE",
        ),
        (
            "remember the time",
            "INSERT INTO retention_clock SELECT * FROM retention_clock WHERE FALSE",
        ),
        (
            "remember the time",
            "UPDATE retention_clock SET steady_s = steady_s WHERE FALSE",
        ),
        (
            "count changes of readings",
            "INSERT INTO reading_changes SELECT * FROM reading_changes WHERE FALSE",
        ),
        (
            "count changes of readings",
            "UPDATE reading_changes SET begun = begun WHERE FALSE",
        ),
        ("load readings", table.load_statement.as_str()),
        ("roll back", "ROLLBACK"),
    ];
    let of_series: &[(&str, &str)] = match table.layout.is_numbered() {
        true => &SERIES_WRITES,
        false => &[],
    };
    for (what, statement) in of_series.iter().copied().chain(statements) {
        conn.set_infile_handler(async { Ok(Box::pin(futures::stream::empty()) as _) });
        conn.query_drop(statement)
            .await
            .map_err(|error| match explain_to(what, error) {
                RepositoryError::Other(reason) => RepositoryError::Setup(format!(
                    "the schema does not fit: {reason}: run `sluicegate migrate`"
                )),
                other => other,
            })?;
    }
    Ok(())
}

/// What gives numbers to series, for no rows.
const SERIES_WRITES: [(&str, &str); 7] = [
    (
        "look whether there are rollups",
        "SELECT every_s FROM rollup_state WHERE FALSE LOCK IN SHARE MODE",
    ),
    (
        "note batches for rollups",
        "INSERT INTO rollup_batches SELECT * FROM rollup_batches WHERE FALSE",
    ),
    (
        "give series their numbers",
        "INSERT INTO series (series_id, id1, id2, sensor_type, first_seen) \
         SELECT series_id, id1, id2, sensor_type, first_seen FROM series AS known WHERE FALSE",
    ),
    (
        "look for the numbers of series",
        "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (place FOR ORDINALITY)) AS wanted \
         STRAIGHT_JOIN series FORCE INDEX (by_names) ON FALSE",
    ),
    (
        "keep tags that producers tell",
        "SELECT tagged_at FROM series WHERE FALSE LOCK IN SHARE MODE",
    ),
    (
        "keep tags that producers tell",
        "DELETE FROM series_tags WHERE FALSE",
    ),
    (
        "look for the numbers of series",
        "SELECT generation FROM series_generation WHERE FALSE LOCK IN SHARE MODE",
    ),
];

/// Asks all that management asks, for no rows, and says what it may not change. That is no reason not to start: who
/// only looks needs no more. `leftover` is the layout that readings are still moved from.
pub(super) async fn can_manage(
    conn: &mut Conn,
    layout: TableLayout,
    leftover: Option<TableLayout>,
    names: &Names,
) -> Result<(), RepositoryError> {
    let mut questions = vec![
        (
            "show streams over REST",
            "SELECT * FROM ingest_streams LIMIT 0".to_owned(),
        ),
        (
            "show rejected readings over REST",
            "SELECT * FROM rejected_readings LIMIT 0".to_owned(),
        ),
    ];
    let mut changes = Vec::new();
    let moving = leftover.map(|left| (left.moving_table(), left));
    for (table, layout) in [(layout.table(), layout)].into_iter().chain(moving) {
        let (names, changed) = match layout.is_numbered() {
            true => (
                format!(" JOIN series ON series.series_id = {table}.series_id"),
                "series_id = series_id",
            ),
            false => (String::new(), "sensor_type = sensor_type, ts = ts"),
        };
        questions.push((
            "show readings over REST",
            format!(
                "SELECT id, ts, id1, id2, sensor_type, sensor_value FROM {table}{names} LIMIT 0"
            ),
        ));
        changes.push((
            "change readings over REST",
            format!("UPDATE {table} SET sensor_value = sensor_value, {changed} WHERE FALSE"),
        ));
        changes.push((
            "delete readings over REST",
            format!("DELETE FROM {table} WHERE FALSE"),
        ));
    }
    for (what, question) in questions {
        let asked = conn.query_drop(names.said(&question)).await;
        asked.map_err(|error| explain_to(what, error))?;
    }
    for (what, change) in changes {
        let tried = conn.query_drop(names.said(&change)).await;
        match tried.map_err(|error| explain_to(what, error)) {
            Err(RepositoryError::Setup(reason)) => tracing::warn!("{reason}"),
            tried => tried?,
        }
    }
    Ok(())
}

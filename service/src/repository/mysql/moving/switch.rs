//! The tables of the new layout, made beside the old one, put into its place, and the end of the old one.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{
        error::explain_to,
        leftover::{make_mark, remove_mark},
        migrations::{Layout, run_script},
        names::Names,
        series,
        table::{self, Held, TableLayout},
    },
    MOVING, MovedPartition, Way, ask, partitions, run,
    step::{ACCOUNT, make_account},
};
use crate::repository::RepositoryError;

/// All that the layouts put into a table of readings.
const COLUMNS: [&str; 8] = [
    "id",
    "sensor_value",
    "sensor_type",
    "id1",
    "id2",
    "ts",
    "id_hash",
    "series_id",
];
/// Its own indexes.
const INDEXES: [&str; 6] = [
    "PRIMARY",
    "by_time",
    "by_ids",
    "by_ids_time",
    "by_hash_time",
    "by_series_time",
];

/// What the catch-all partition of a layout's script is.
const WHOLE: &str = "  PARTITION p_rest VALUES LESS THAN (MAXVALUE)\n";
const VIEW: &str = "CREATE SQL SECURITY INVOKER VIEW sensor_readings AS";
/// So far ids may go on, by a table that counts them itself, until it is renamed.
const IDS_MEANWHILE: u64 = 1_000_000_000;
/// While a RENAME waits for transactions, others wait behind it.
const RENAME_PATIENCE_S: u32 = 3;
const RENAME_ATTEMPTS: u32 = 40;
const RENAME_PAUSE: Duration = Duration::from_secs(1);

/// What a table is; None where there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    View,
}

async fn kind(conn: &mut Conn, name: &str) -> Result<Option<Kind>, RepositoryError> {
    let sql = format!(
        "SELECT TABLE_TYPE = 'VIEW' FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{name}'"
    );
    let found: Option<bool> = ask(conn, &sql).await?.pop();
    Ok(found.map(|is_view| if is_view { Kind::View } else { Kind::Table }))
}

/// Refuses a table with columns for which the other layout has no place, and tells of what else would stay behind.
pub(super) async fn expect_no_other_columns(
    conn: &mut Conn,
    table: &str,
) -> Result<(), RepositoryError> {
    let sql = format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'"
    );
    let columns: Vec<String> = ask(conn, &sql).await?;
    if let Some(other) = columns
        .iter()
        .find(|name| !COLUMNS.contains(&name.as_str()))
    {
        return Err(RepositoryError::Setup(format!(
            "{table} has the column {other}, for which the other layout has no place: drop it, or leave the readings where they \
             are"
        )));
    }
    let sql = format!(
        "SELECT DISTINCT CONCAT('index ', INDEX_NAME) FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' AND INDEX_NAME NOT IN ('{}') \
         UNION ALL SELECT CONCAT('trigger ', TRIGGER_NAME) FROM information_schema.TRIGGERS \
         WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = '{table}'",
        INDEXES.join("','")
    );
    let left_behind: Vec<String> = ask(conn, &sql).await?;
    for what in left_behind {
        tracing::warn!(table, what, "it stays with the old table, and goes with it");
    }
    Ok(())
}

/// Makes what is missing of the new layout. It may have been begun, and given up, before.
pub(super) async fn prepare(conn: &mut Conn, way: Way) -> Result<(), RepositoryError> {
    let held = Held::read(conn, way.from, way.from.table(), &Names::default()).await?;
    expect_free(conn, way).await?;
    let script = match way.to {
        TableLayout::Series => Layout::Series.sql(),
        _ => Layout::Partitioned.sql(),
    };
    let mut script = script
        .replace(WHOLE, &partitions::like(conn, way.from.table()).await?)
        .replace(
            "id2 VARCHAR(50)",
            &format!("id2 VARCHAR({})", held.limits.id2_max_chars),
        )
        .replace(
            "sensor_type VARCHAR(50)",
            &format!("sensor_type VARCHAR({})", held.limits.sensor_type_max_chars),
        );
    let subpartitions = table::subpartitions(conn, way.from.table(), &Names::default()).await?;
    if subpartitions > 0 {
        script = script.replace("SUBPARTITIONS 2", &format!("SUBPARTITIONS {subpartitions}"));
    }
    if way.to.is_numbered() {
        // The view is made of what is there now, and knows tables by their names.
        let view = "CREATE OR REPLACE SQL SECURITY INVOKER VIEW sensor_readings_next AS";
        script = script.replace(VIEW, view);
        script = script.trim_end().trim_end_matches(';').to_owned();
        script += "\nUNION ALL SELECT id, sensor_value, sensor_type, id1, id2, ts FROM sensor_readings_moving;\n";
        script.insert_str(0, PLAIN_PLACEHOLDER);
    } else {
        script.insert_str(0, NUMBERED_PLACEHOLDER);
        script = script.replace(
            "CREATE TABLE sensor_readings (",
            "CREATE TABLE sensor_readings_next (",
        );
    }
    run_script(conn, &script).await?;
    run(conn, &format!("DROP TABLE IF EXISTS {ACCOUNT}")).await?;
    run(conn, &make_account(ACCOUNT)).await?;
    if way.to.is_numbered() {
        series::start(conn).await?;
        expect_room_for_names(conn, &held).await?;
    }
    Ok(())
}

/// Stands for the old table until that has its name: a view knows it by that, and accounts are given rights to it.
const PLAIN_PLACEHOLDER: &str = "CREATE TABLE sensor_readings_moving (id BIGINT NOT NULL PRIMARY KEY, sensor_value DOUBLE NOT NULL, \
     sensor_type VARCHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, id1 INT NOT NULL, \
     id2 VARCHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, ts DATETIME(6) NOT NULL) ENGINE = InnoDB;\n";

const NUMBERED_PLACEHOLDER: &str = "CREATE TABLE readings_moving (ts DATETIME(6) NOT NULL, id BIGINT NOT NULL PRIMARY KEY, \
     series_id INT UNSIGNED NOT NULL, sensor_value DOUBLE NOT NULL) ENGINE = InnoDB;\n";

/// Whether the names that the new tables will have are free, or those of an attempt that was given up before it began.
async fn expect_free(conn: &mut Conn, way: Way) -> Result<(), RepositoryError> {
    let (empty, other_kind): (&[&str], Kind) = match way.to.is_numbered() {
        true => (&["readings", "sensor_readings_moving"], Kind::Table),
        false => (&["sensor_readings_next", "readings_moving"], Kind::View),
    };
    // The move the other way has this name for something of another kind.
    if kind(conn, "sensor_readings_next").await? == Some(other_kind) {
        let what = match other_kind {
            Kind::Table => "TABLE",
            Kind::View => "VIEW",
        };
        if other_kind == Kind::Table {
            expect_empty(conn, "sensor_readings_next").await?;
        }
        run(conn, &format!("DROP {what} sensor_readings_next")).await?;
    }
    for table in empty {
        match kind(conn, table).await? {
            None => {}
            Some(Kind::Table) => expect_empty(conn, table).await?,
            Some(Kind::View) => return Err(in_the_way(table)),
        }
    }
    Ok(())
}

async fn expect_empty(conn: &mut Conn, table: &str) -> Result<(), RepositoryError> {
    let found: Vec<u8> = ask(conn, &format!("SELECT 1 FROM {table} LIMIT 1")).await?;
    match found.is_empty() {
        true => Ok(()),
        false => Err(in_the_way(table)),
    }
}

fn in_the_way(table: &str) -> RepositoryError {
    RepositoryError::Setup(format!(
        "{table} is there already, and holds something: rename it, as the move needs a table of this name"
    ))
}

/// A table of series that was there before may have narrower columns.
async fn expect_room_for_names(conn: &mut Conn, old: &Held) -> Result<(), RepositoryError> {
    let new = Held::read(
        conn,
        TableLayout::Series,
        TableLayout::Series.table(),
        &Names::default(),
    )
    .await?;
    for (column, holds, wanted) in [
        ("id2", new.limits.id2_max_chars, old.limits.id2_max_chars),
        (
            "sensor_type",
            new.limits.sensor_type_max_chars,
            old.limits.sensor_type_max_chars,
        ),
    ] {
        if holds < wanted {
            return Err(RepositoryError::Setup(format!(
                "series.{column} holds {holds} characters, and sensor_readings.{column} {wanted}: make it as wide: ALTER TABLE \
                 series MODIFY {column} VARCHAR({wanted}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
            )));
        }
    }
    Ok(())
}

/// Puts the new tables into the place of the old one.
pub(super) async fn switch(conn: &mut Conn, way: Way) -> Result<(), RepositoryError> {
    if way.from == TableLayout::Seed {
        // It counted ids itself, and may do so until it has another name.
        let sql = format!(
            "UPDATE id_blocks SET next_id = GREATEST(next_id, \
             (SELECT COALESCE(MAX(id), 0) FROM sensor_readings) + {IDS_MEANWHILE}) WHERE name = 'sensor_readings'"
        );
        run(conn, &sql).await?;
    }
    run(conn, &make_mark(way.from)).await?;
    run(
        conn,
        &format!("SET SESSION lock_wait_timeout = {RENAME_PATIENCE_S}"),
    )
    .await?;
    let rename = match way.to.is_numbered() {
        true => {
            "RENAME TABLE sensor_readings_moving TO sensor_readings_placeholder, \
             sensor_readings TO sensor_readings_moving, sensor_readings_next TO sensor_readings"
        }
        false => {
            "RENAME TABLE readings_moving TO sensor_readings_placeholder, sensor_readings TO sensor_readings_none, \
             sensor_readings_next TO sensor_readings, readings TO readings_moving"
        }
    };
    let mut attempt = 1;
    loop {
        match run(conn, rename).await {
            Err(RepositoryError::Contention(reason)) if attempt < RENAME_ATTEMPTS => {
                tracing::info!(
                    reason,
                    attempt,
                    "transactions hold the tables, which get their new names later"
                );
                attempt += 1;
                tokio::time::sleep(RENAME_PAUSE).await;
            }
            renamed => {
                renamed?;
                break;
            }
        }
    }
    remove_none(conn).await
}

/// What had the names that others have now: a view, and an empty table.
async fn remove_none(conn: &mut Conn) -> Result<(), RepositoryError> {
    if kind(conn, "sensor_readings_none").await? == Some(Kind::View) {
        run(conn, "DROP VIEW sensor_readings_none").await?;
    }
    if kind(conn, "sensor_readings_placeholder").await? == Some(Kind::Table) {
        expect_empty(conn, "sensor_readings_placeholder").await?;
        run(conn, "DROP TABLE sensor_readings_placeholder").await?;
    }
    Ok(())
}

/// The old table is empty: it goes, and what was moved is told.
pub(super) async fn finish(
    conn: &mut Conn,
    way: Way,
) -> Result<Vec<MovedPartition>, RepositoryError> {
    remove_none(conn).await?;
    if way.to.is_numbered() {
        let view = Layout::Series.sql().split(VIEW).nth(1).unwrap_or_default();
        let view = view.trim_end().trim_end_matches(';');
        let replace = VIEW.replace("CREATE", "CREATE OR REPLACE");
        run(conn, &format!("{replace}{view}")).await?;
    }
    let old = way.from.moving_table();
    if kind(conn, old).await?.is_some() {
        expect_empty(conn, old).await?;
        run(conn, &format!("DROP TABLE {old}")).await?;
    }
    run(conn, &remove_mark(way.from)).await?;
    if kind(conn, ACCOUNT).await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT partition_name, readings, CAST(checksum AS CHAR(50)) FROM {ACCOUNT} ORDER BY partition_name"
    );
    let moved: Vec<(String, u64, String)> = ask(conn, &sql).await?;
    conn.query_drop(format!("DROP TABLE {ACCOUNT}"))
        .await
        .map_err(|error| explain_to(MOVING, error))?;
    let moved = moved
        .into_iter()
        .map(|(name, readings, checksum)| MovedPartition {
            name,
            readings,
            checksum,
        });
    Ok(moved.collect())
}

//! The tables of the new layout, made beside the old one, put into its place, and the end of the old one.

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
    MOVING, MovedPartition, Way, ask,
    ours::{Kind, drop_table, drop_view, expect_columns, expect_empty, in_the_way, kind},
    partitions, patiently, run,
    step::{ACCOUNT, make_account},
    trial,
};
use crate::repository::RepositoryError;

/// What the catch-all partition of a layout's script is.
const WHOLE: &str = "  PARTITION p_rest VALUES LESS THAN (MAXVALUE)\n";
const VIEW: &str = "CREATE SQL SECURITY INVOKER VIEW sensor_readings AS";
/// So far ids may go on, by a table that counts them itself, until it is renamed.
const IDS_MEANWHILE: u64 = 1_000_000_000;

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
     id2 VARCHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, ts DATETIME(6) NOT NULL) ENGINE = InnoDB COMMENT = 'made by sluicegate migrate --to';\n";

const NUMBERED_PLACEHOLDER: &str = "CREATE TABLE readings_moving (ts DATETIME(6) NOT NULL, id BIGINT NOT NULL PRIMARY KEY, \
     series_id INT UNSIGNED NOT NULL, sensor_value DOUBLE NOT NULL) ENGINE = InnoDB COMMENT = 'made by sluicegate migrate --to';\n";

/// Whether the names that the new tables will have are free, or of an attempt that was given up before it began.
async fn expect_free(conn: &mut Conn, way: Way) -> Result<(), RepositoryError> {
    let plain = ["id", "sensor_value", "sensor_type", "id1", "id2", "ts"];
    let numbered = ["ts", "id", "series_id", "sensor_value"];
    drop_table(conn, ACCOUNT).await?;
    drop_table(conn, way.from.moving_table()).await?;
    trial::remove(conn).await?;
    remove_none(conn).await?;
    // The move the other way has this name for something of another kind.
    match kind(conn, "sensor_readings_next").await? {
        None => {}
        Some(Kind::View) => drop_view(conn, "sensor_readings_next").await?,
        Some(Kind::Table | Kind::Other) => {
            expect_columns(conn, "sensor_readings_next", &plain).await?;
            expect_empty(conn, "sensor_readings_next").await?;
            run(conn, "DROP TABLE sensor_readings_next").await?;
        }
    }
    if !way.to.is_numbered() {
        return Ok(());
    }
    for (table, columns) in [
        ("readings", &numbered[..]),
        (
            "series",
            &["series_id", "id1", "id2", "sensor_type", "first_seen"],
        ),
        ("series_tags", &["series_id", "tag", "value"]),
        ("series_generation", &["id", "generation"]),
    ] {
        match kind(conn, table).await? {
            None => {}
            Some(Kind::Table) => expect_columns(conn, table, columns).await?,
            Some(Kind::View | Kind::Other) => return Err(in_the_way(table)),
        }
    }
    match kind(conn, "readings").await? {
        None => Ok(()),
        Some(_) => expect_empty(conn, "readings").await,
    }
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
    patiently(conn, rename).await?;
    remove_none(conn).await
}

/// What had the names that others have now: a view, and an empty table.
async fn remove_none(conn: &mut Conn) -> Result<(), RepositoryError> {
    drop_view(conn, "sensor_readings_none").await?;
    drop_table(conn, "sensor_readings_placeholder").await
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
        patiently(conn, &format!("{replace}{view}")).await?;
    }
    let old = way.from.moving_table();
    if kind(conn, old).await?.is_some() {
        expect_empty(conn, old).await?;
        patiently(conn, &format!("DROP TABLE {old}")).await?;
    }
    if way.from.is_numbered() {
        // It looks at readings that are not there any more.
        run(conn, "DROP TRIGGER IF EXISTS series_with_readings_stay").await?;
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

//! How long a move would take, and in how much room: some steps of it on copies that are thrown away.

use std::time::{Duration, Instant};

use mysql_async::Conn;

use super::{
    super::migrations::Layout,
    Way, ask_one,
    ours::{COMMENT, drop_table},
    partitions, run,
    step::{Part, Tables, make_account},
};
use crate::repository::RepositoryError;

/// Readings that are copied.
const SAMPLE: u32 = 100_000;
const OLD: &str = "moving_trial_old";
const NEW: &str = "moving_trial_new";
const SERIES: &str = "moving_trial_series";
const MOVED: &str = "moving_trial_moved";
/// What a move would be.
#[derive(Clone, Copy, Debug)]
pub struct MoveEstimate {
    /// About how many readings the old table holds.
    pub readings: u64,
    /// In so many bytes.
    pub bytes: u64,
    /// In so many they would be afterwards.
    pub new_bytes: u64,
    pub duration: Duration,
    /// Readings that were moved to find that out.
    pub sample: u64,
}

/// Moves the first readings of the old table from a copy into another one.
pub(super) async fn estimate(
    conn: &mut Conn,
    way: Way,
    tables: &Tables,
    step_readings: u32,
) -> Result<MoveEstimate, RepositoryError> {
    let (readings, _) = partitions::size(conn, &tables.from).await?;
    remove(conn).await?;
    let tried = try_out(conn, way, tables, step_readings).await;
    remove(conn).await?;
    let Tried {
        sample,
        elapsed,
        bytes,
        new_bytes,
    } = tried?;
    let scale = match sample {
        0 => 0.0,
        sample => readings as f64 / sample as f64,
    };
    Ok(MoveEstimate {
        readings,
        bytes: (bytes as f64 * scale) as u64,
        new_bytes: (new_bytes as f64 * scale) as u64,
        duration: elapsed.mul_f64(scale),
        sample,
    })
}

/// Drops copies that a trial left behind, which was killed.
pub(super) async fn remove(conn: &mut Conn) -> Result<(), RepositoryError> {
    for copy in [OLD, NEW, SERIES, MOVED] {
        drop_table(conn, copy).await?;
    }
    Ok(())
}

struct Tried {
    sample: u64,
    elapsed: Duration,
    /// Of the copies, whose pages are as full as those of the tables can be.
    bytes: u64,
    new_bytes: u64,
}

async fn try_out(
    conn: &mut Conn,
    way: Way,
    tables: &Tables,
    step_readings: u32,
) -> Result<Tried, RepositoryError> {
    copy(conn, way, tables).await?;
    let trial = Tables {
        from: OLD.to_owned(),
        to: NEW.to_owned(),
        series: match way.to.is_numbered() {
            true => SERIES.to_owned(),
            false => tables.series.clone(),
        },
        account: MOVED.to_owned(),
        ..tables.clone()
    };
    run(conn, &make_account(MOVED)).await?;
    run(conn, &format!("ANALYZE TABLE {OLD}")).await?;
    let (_, bytes) = partitions::size(conn, OLD).await?;
    let began = Instant::now();
    if way.to.is_numbered() {
        run(
            conn,
            &format!(
                "INSERT INTO {SERIES} (series_id, id1, id2, sensor_type, first_seen) \
                 SELECT ROW_NUMBER() OVER (), id1, id2, sensor_type, UTC_TIMESTAMP(6) FROM (SELECT id1, MIN(id2) AS id2, \
                 MIN(sensor_type) AS sensor_type FROM {OLD} GROUP BY id1, CAST(id2 AS BINARY), CAST(sensor_type AS BINARY)) AS names"
            ),
        )
        .await?;
    }
    let part = Part {
        tables: &trial,
        partition: "",
    };
    let (mut sample, mut after) = (0, None);
    while let Some(done) = part.step(conn, after.as_ref(), step_readings, None).await? {
        sample += done.readings;
        after = Some(done.last);
    }
    let elapsed = began.elapsed();
    run(conn, &format!("ANALYZE TABLE {NEW}")).await?;
    let (_, new_bytes) = partitions::size(conn, NEW).await?;
    Ok(Tried {
        sample,
        elapsed,
        bytes,
        new_bytes,
    })
}

/// Makes the copies.
async fn copy(conn: &mut Conn, way: Way, tables: &Tables) -> Result<(), RepositoryError> {
    let from = &tables.from;
    run(conn, &format!("CREATE TABLE {OLD} LIKE {from}")).await?;
    run(conn, &format!("ALTER TABLE {OLD} {COMMENT}")).await?;
    let names = partitions::of(conn, OLD).await?;
    if names.iter().any(|name| !name.is_empty()) {
        run(conn, &format!("ALTER TABLE {OLD} REMOVE PARTITIONING")).await?;
    }
    let columns = match tables.from_numbered {
        true => "ts, id, series_id, sensor_value",
        false => "id, sensor_value, sensor_type, id1, id2, ts",
    };
    let order = match tables.by_time {
        true => "ts, id",
        false => "id",
    };
    run(
        conn,
        &format!(
            "INSERT INTO {OLD} ({columns}) SELECT {columns} FROM {from} FORCE INDEX (PRIMARY) ORDER BY {order} LIMIT {SAMPLE}"
        ),
    )
    .await?;
    let (script, table) = match way.to.is_numbered() {
        true => (Layout::Series.sql(), "CREATE TABLE readings ("),
        false => (Layout::Partitioned.sql(), "CREATE TABLE sensor_readings ("),
    };
    run(conn, &statement_of(script, table, NEW)).await?;
    run(conn, &format!("ALTER TABLE {NEW} {COMMENT}")).await?;
    if way.to.is_numbered() {
        let widths: (u64, u64) = ask_one(
            conn,
            &format!(
                "SELECT MAX(CASE COLUMN_NAME WHEN 'id2' THEN CHARACTER_MAXIMUM_LENGTH END), \
                 MAX(CASE COLUMN_NAME WHEN 'sensor_type' THEN CHARACTER_MAXIMUM_LENGTH END) \
                 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{OLD}'"
            ),
        )
        .await?;
        let series = statement_of(script, "CREATE TABLE series (", SERIES)
            .replace("id2 VARCHAR(50)", &format!("id2 VARCHAR({})", widths.0))
            .replace(
                "sensor_type VARCHAR(50)",
                &format!("sensor_type VARCHAR({})", widths.1),
            );
        run(conn, &series).await?;
        run(conn, &format!("ALTER TABLE {SERIES} {COMMENT}")).await?;
    }
    Ok(())
}

/// The statement of a script that makes a table, with another name for it.
fn statement_of(script: &str, beginning: &str, name: &str) -> String {
    let body = script
        .split(beginning)
        .nth(1)
        .and_then(|rest| rest.split(";\n").next())
        .unwrap_or_default();
    format!("CREATE TABLE {name} ({body}")
}

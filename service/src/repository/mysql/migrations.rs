//! Numbered migrations, and the readings table in one of its layouts.

use std::{fmt, str::FromStr};

use mysql_async::{Conn, Error, prelude::Queryable as _};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    answers,
    error::{explain, explain_to},
    fit,
    ledger::quote,
    names::Names,
    series, table,
};
use crate::repository::RepositoryError;

/// In order; a migration that was released is never changed.
const MIGRATIONS: [(u32, &str, &str); 8] = [
    (
        1,
        "ledger",
        include_str!("../../../../sql/migrations/0001_ledger.sql"),
    ),
    (
        2,
        "retention_clock",
        include_str!("../../../../sql/migrations/0002_retention_clock.sql"),
    ),
    (
        3,
        "owner",
        include_str!("../../../../sql/migrations/0003_owner.sql"),
    ),
    (
        4,
        "source_position",
        include_str!("../../../../sql/migrations/0004_source_position.sql"),
    ),
    (
        5,
        "payloads",
        include_str!("../../../../sql/migrations/0005_payloads.sql"),
    ),
    (
        6,
        "replays",
        include_str!("../../../../sql/migrations/0006_replays.sql"),
    ),
    (
        7,
        "reading_changes",
        include_str!("../../../../sql/migrations/0007_reading_changes.sql"),
    ),
    (
        8,
        "rollups",
        include_str!("../../../../sql/migrations/0008_rollups.sql"),
    ),
];

/// What an account of migration is for.
const MAKING: &str = "make the tables (`sluicegate migrate`, --migrate)";
/// ER_DUP_FIELDNAME.
const DUPLICATE_COLUMN: u16 = 1060;
/// ER_TRG_ALREADY_EXISTS
const TRIGGER_EXISTS: u16 = 1359;
/// ER_BINLOG_CREATE_ROUTINE_NEED_SUPER: what MySQL says to an account without SUPER while the binary log is on.
const NO_TRIGGERS: u16 = 1419;
/// ER_NO_SUCH_TABLE
const NO_SUCH_TABLE: u16 = 1146;

/// A lock's name has at most 64 characters, and a database's too.
const LOCK: &str =
    "SELECT GET_LOCK(CONCAT('sluicegate.migrate.', LEFT(SHA2(DATABASE(), 256), 40)), 60)";
const UNLOCK: &str =
    "DO RELEASE_LOCK(CONCAT('sluicegate.migrate.', LEFT(SHA2(DATABASE(), 256), 40)))";

/// How the readings table is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The schema as first specified: AUTO_INCREMENT, TIMESTAMP, four B-trees
    Seed,
    /// Rows in order of time, one secondary index, partitions by time
    #[default]
    Partitioned,
    /// As partitioned, with a hash of the ids as key
    Hashed,
    /// As partitioned, with one number for the names of a reading, which stand in a table of series
    Series,
}

impl Layout {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Seed => include_str!("../../../../sql/layouts/seed.sql"),
            Self::Partitioned => include_str!("../../../../sql/layouts/partitioned.sql"),
            Self::Hashed => include_str!("../../../../sql/layouts/hashed.sql"),
            Self::Series => include_str!("../../../../sql/layouts/series.sql"),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seed => "seed",
            Self::Partitioned => "partitioned",
            Self::Hashed => "hashed",
            Self::Series => "series",
        })
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        clap::ValueEnum::from_str(text, false)
    }
}

/// Applies what is missing and returns the names of what was applied. Instances that start together take turns.
pub(super) async fn apply(
    conn: &mut Conn,
    layout: Layout,
    names: &Names,
) -> Result<Vec<String>, RepositoryError> {
    let locked: Option<Option<u8>> = conn.query_first(LOCK).await.map_err(explain)?;
    if locked.flatten() != Some(1) {
        let reason = "another instance has been migrating for a minute";
        return Err(RepositoryError::Contention(reason.to_owned()));
    }
    let applied = apply_locked(conn, layout, names).await;
    conn.query_drop(UNLOCK).await.map_err(explain)?;
    applied
}

async fn apply_locked(
    conn: &mut Conn,
    layout: Layout,
    names: &Names,
) -> Result<Vec<String>, RepositoryError> {
    // A table that does not fit is refused before anything is made.
    fit::check(conn, names).await?;
    // Where all is done, an account that may not do it is good enough.
    if !exists(conn, "schema_migrations").await? {
        make(
            conn,
            "CREATE TABLE IF NOT EXISTS schema_migrations (version INT UNSIGNED NOT NULL PRIMARY KEY, \
             name VARCHAR(64) CHARACTER SET ascii NOT NULL, applied_at DATETIME(6) NOT NULL) ENGINE = InnoDB",
        )
        .await?;
    }
    let known: Vec<u32> = answers::ask(conn, "SELECT version FROM schema_migrations")
        .await
        .map_err(|error| explain_to("see which tables were made", error))?;
    if let Some(newer) = known
        .iter()
        .find(|&&version| version as usize > MIGRATIONS.len())
    {
        return Err(RepositoryError::Setup(format!(
            "the schema is at version {newer}, this program knows {}: run a newer sluicegate",
            MIGRATIONS.len()
        )));
    }
    let mut applied = Vec::new();
    for (version, name, sql) in MIGRATIONS {
        if known.contains(&version) {
            expect_tables(conn, version, name, sql).await?;
            continue;
        }
        run_script(conn, sql).await?;
        let record = format!(
            "INSERT INTO schema_migrations VALUES ({version}, {}, UTC_TIMESTAMP(6))",
            quote(name)
        );
        make(conn, &record).await?;
        applied.push(format!("{version:04}_{name}"));
    }
    if !names.are_given() && !exists(conn, "sensor_readings").await? {
        run_script(conn, layout.sql()).await?;
        applied.push(format!("layout {layout}"));
    }
    if table::layout(conn, names).await?.is_numbered() {
        series::start(conn).await?;
    }
    start_counter(conn, names).await?;
    Ok(applied)
}

/// What a migration created is not created again in silence: a ledger that is gone held positions.
async fn expect_tables(
    conn: &mut Conn,
    version: u32,
    name: &str,
    sql: &str,
) -> Result<(), RepositoryError> {
    for table in tables_of(sql) {
        if !exists(conn, table).await? {
            return Err(RepositoryError::Setup(format!(
                "the table {table} is missing, although schema_migrations says that {version:04}_{name} was applied: \
                 restore it from a backup, or give up what it held: run DELETE FROM schema_migrations WHERE version = \
                 {version}, and then `sluicegate migrate`"
            )));
        }
    }
    Ok(())
}

fn tables_of(sql: &str) -> impl Iterator<Item = &str> {
    let created = sql.split("CREATE TABLE ").skip(1);
    created.filter_map(|rest| rest.split([' ', '(']).next())
}

/// Ids go on behind those that are there. To find the last one reads a whole index, so only once.
async fn start_counter(conn: &mut Conn, names: &Names) -> Result<(), RepositoryError> {
    let name = quote(&names.counter());
    let counting = format!("SELECT COUNT(*) FROM id_blocks WHERE name = {name}");
    let counters: Option<u64> = conn.query_first(counting).await.map_err(explain)?;
    if counters == Some(1) {
        return Ok(());
    }
    let start = format!(
        "INSERT IGNORE INTO id_blocks (name, next_id) SELECT {name}, GREATEST(COALESCE(MAX(id), 0), 0) + 1 FROM sensor_readings"
    );
    // The counter's name is a text, and stays.
    make(conn, &names.said(&start)).await
}

pub(super) async fn make(conn: &mut Conn, statement: &str) -> Result<(), RepositoryError> {
    let made = conn.query_drop(statement).await;
    made.map_err(|error| explain_to(MAKING, error))
}

/// By asking it: a list of tables leaves out those that the account may not see.
async fn exists(conn: &mut Conn, table: &str) -> Result<bool, RepositoryError> {
    match conn
        .query_drop(format!("SELECT 1 FROM {table} LIMIT 0"))
        .await
    {
        Ok(()) => Ok(true),
        Err(Error::Server(error)) if error.code == NO_SUCH_TABLE => Ok(false),
        Err(error) => Err(explain_to(&format!("see the table {table}"), error)),
    }
}

/// Runs the statements of a script, each ended by a semicolon at the end of a line.
pub(super) async fn run_script(conn: &mut Conn, script: &str) -> Result<(), RepositoryError> {
    for statement in script
        .split(";\n")
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        // A run that was cut short may have left the table, the column or the trigger behind: its DDL is not undone.
        let statement = statement.replacen("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1);
        match conn.query_drop(&statement).await {
            Err(Error::Server(error))
                if [DUPLICATE_COLUMN, TRIGGER_EXISTS].contains(&error.code) => {}
            Err(Error::Server(error)) if error.code == NO_TRIGGERS => warn!(
                reason = error.message,
                "the account may not make a trigger that keeps series as they are: let no account have UPDATE and DELETE on series"
            ),
            done => done.map_err(|error| explain_to(MAKING, error))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_known_by_its_tables() {
        let tables: Vec<&str> = MIGRATIONS
            .iter()
            .flat_map(|(_, _, sql)| tables_of(sql))
            .collect();
        let expected = [
            "ingest_streams",
            "id_blocks",
            "rejected_readings",
            "retention_clock",
            "long_names",
            "reading_changes",
            "rollups",
            "rollup_state",
            "rollup_batches",
            "rollup_dirty",
        ];
        for table in expected {
            assert!(tables.contains(&table), "{table}: {tables:?}");
        }
        assert_eq!(tables.len(), expected.len(), "{tables:?}");
    }
}

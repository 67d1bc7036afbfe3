//! Whether a table can be moved: everything that would be lost with it, or could not arrive, before anything is made.

use mysql_async::Conn;

use super::{
    super::table::TableLayout,
    Way, ask,
    ours::{Kind, kind},
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

/// Refuses what cannot be moved, and tells of what would stay behind.
pub(super) async fn table(conn: &mut Conn, way: Way) -> Result<(), RepositoryError> {
    let table = way.from.table();
    if kind(conn, table).await? == Some(Kind::Other) {
        return refuse(
            table,
            "keeps its history (system versioning), which would go with it: give that up first",
        );
    }
    let columns = format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'"
    );
    let columns: Vec<String> = ask(conn, &columns).await?;
    if let Some(other) = columns
        .iter()
        .find(|name| !COLUMNS.contains(&name.as_str()))
    {
        return refuse(
            table,
            &format!(
                "has the column {other}, for which the other layout has no place: drop it, or leave the readings where they are"
            ),
        );
    }
    let keys = format!(
        "SELECT CONCAT(TABLE_NAME, '.', CONSTRAINT_NAME) FROM information_schema.KEY_COLUMN_USAGE \
         WHERE REFERENCED_TABLE_NAME IS NOT NULL AND ((REFERENCED_TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME = '{table}') \
         OR (TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'))"
    );
    if let Some(key) = ask::<String>(conn, &keys).await?.first() {
        return refuse(
            table,
            &format!(
                "is part of the foreign key {key}, which would do to other tables what is done for each reading that leaves: drop \
                 the key first"
            ),
        );
    }
    let triggers = format!(
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS \
         WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = '{table}'"
    );
    if let Some(trigger) = ask::<String>(conn, &triggers).await?.first() {
        return refuse(
            table,
            &format!(
                "has the trigger {trigger}, which would run for each reading that leaves: drop it first"
            ),
        );
    }
    expect_readings_that_arrive(conn, table, way).await?;
    let indexes = format!(
        "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' AND INDEX_NAME NOT IN ('{}')",
        INDEXES.join("','")
    );
    for index in ask::<String>(conn, &indexes).await? {
        tracing::warn!(
            table,
            index,
            "it stays with the old table, and goes with it"
        );
    }
    Ok(())
}

/// Servers of loose settings let in what ours do not.
async fn expect_readings_that_arrive(
    conn: &mut Conn,
    table: &str,
    way: Way,
) -> Result<(), RepositoryError> {
    if way.from.is_numbered() {
        return Ok(());
    }
    // Of TIMESTAMP a bound outside of what the column holds is compared with nothing.
    let first = match way.from {
        TableLayout::Seed => "1970-01-01 00:00:01",
        _ => "1000-01-01 00:00:00",
    };
    let early = format!("SELECT CAST(id AS CHAR(20)) FROM {table} WHERE ts < '{first}' LIMIT 1");
    if let Some(id) = ask::<String>(conn, &early).await?.first() {
        return refuse(
            table,
            &format!(
                "has a reading (id {id}) without a time that a table could hold: give it one, or delete it"
            ),
        );
    }
    // An INT holds no others, and without an index the look would be at every reading.
    let widened = format!(
        "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' \
         AND COLUMN_NAME = 'id1' AND DATA_TYPE <> 'int'"
    );
    if ask::<u8>(conn, &widened).await?.is_empty() {
        return Ok(());
    }
    let ids: Vec<(Option<i64>, Option<i64>)> =
        ask(conn, &format!("SELECT MIN(id1), MAX(id1) FROM {table}")).await?;
    let all = ids.iter().flat_map(|(min, max)| [min, max]).flatten();
    if let Some(id1) = all.copied().find(|&id1| i32::try_from(id1).is_err()) {
        return refuse(
            table,
            &format!(
                "has readings with the id1 {id1}, and ids go from {} to {}",
                i32::MIN,
                i32::MAX
            ),
        );
    }
    Ok(())
}

fn refuse<T>(table: &str, what: &str) -> Result<T, RepositoryError> {
    Err(RepositoryError::Setup(format!("{table} {what}")))
}

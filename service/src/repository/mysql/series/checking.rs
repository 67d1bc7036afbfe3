//! Whether the table of series keeps what numbers rest on. Each failure is one sentence that says what to change.

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{answers, error::explain},
    proof::LOOKING,
};
use crate::repository::RepositoryError;

/// Each unique index, and its columns in order.
const UNIQUE: [(&str, &[&str]); 2] = [
    ("PRIMARY", &["series_id"]),
    (
        "by_names",
        &[
            "id1",
            "id2",
            "sensor_type",
            "id2_bytes",
            "sensor_type_bytes",
        ],
    ),
];

/// Checks the server and the table of series.
///
/// # Errors
/// When the server has no `JSON_TABLE`, and when a number or a name could be there twice, or could not be there at all.
pub(in super::super) async fn check(conn: &mut Conn) -> Result<(), RepositoryError> {
    let json_table =
        "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (place FOR ORDINALITY)) AS wanted";
    if let Err(mysql_async::Error::Server(error)) = conn.query_drop(json_table).await {
        return Err(setup(&format!(
            "this server cannot {LOOKING}, which takes JSON_TABLE: the layout series needs MariaDB 10.6 or MySQL 8.0.4 \
             ({})",
            error.code
        )));
    }
    let sql = "SELECT INDEX_NAME, COALESCE(COLUMN_NAME, '') FROM information_schema.STATISTICS \
               WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'series' AND NON_UNIQUE = 0 \
               ORDER BY INDEX_NAME, SEQ_IN_INDEX";
    let found: Vec<(String, String)> = answers::ask(conn, sql).await.map_err(explain)?;
    for (index, columns) in UNIQUE {
        let of_index = found.iter().filter(|(name, _)| name == index);
        if !of_index
            .map(|(_, column)| column.as_str())
            .eq(columns.iter().copied())
        {
            return Err(setup(&format!(
                "series has no unique index {index} ({}): make it as sql/layouts/series.sql has it",
                columns.join(", ")
            )));
        }
    }
    if let Some((other, _)) = found
        .iter()
        .find(|(name, _)| UNIQUE.iter().all(|(index, _)| index != name))
    {
        return Err(setup(&format!(
            "series has the unique index {other}, but series may be alike in everything except their names: drop the \
             index, or create it again without UNIQUE"
        )));
    }
    Ok(())
}

fn setup(sentence: &str) -> RepositoryError {
    RepositoryError::Setup(sentence.to_owned())
}

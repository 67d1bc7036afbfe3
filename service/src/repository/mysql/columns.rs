//! The columns of a table, and whether they hold readings exactly. Each failure is one sentence that says what to change.

use mysql_async::{Conn, Row};

use super::{answers, error::explain, ledger::quote, names::Names};
use crate::{model::TimestampRange, repository::RepositoryError};

/// `TIMESTAMP`: the range that the MySQL manual names, without the zero value.
const TIMESTAMP_MIN_US: i64 = 1_000_000;
const TIMESTAMP_MAX_US: i64 = 2_147_483_647_999_999;

pub(super) struct Column {
    /// As the schema of ours has it, and as the table has it.
    name: String,
    shown: String,
    data_type: String,
    max_chars: Option<u64>,
    decimals: Option<u8>,
    collation: Option<String>,
    pub(super) extra: String,
}

/// The columns of a table, as the server describes them.
pub(super) struct Columns {
    table: String,
    columns: Vec<Column>,
}

impl Columns {
    pub(super) async fn read(
        conn: &mut Conn,
        table: &str,
        names: &Names,
    ) -> Result<Self, RepositoryError> {
        let sql = format!(
            "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, DATETIME_PRECISION, COLLATION_NAME, EXTRA \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}",
            quote(table)
        );
        let rows: Vec<Row> = answers::ask(conn, &sql).await.map_err(explain)?;
        if rows.is_empty() {
            return Err(setup(&format!(
                "the table {table} is missing: run `sluicegate migrate`"
            )));
        }
        let columns = rows.into_iter().filter_map(|row| {
            let text = |index: usize| row.get::<Option<String>, _>(index).flatten();
            let shown = text(0).unwrap_or_default();
            Some(Column {
                name: names.ours(&shown)?.to_owned(),
                shown,
                data_type: text(1).unwrap_or_default().to_ascii_lowercase(),
                max_chars: row.get::<Option<u64>, _>(2).flatten(),
                decimals: row.get::<Option<u8>, _>(3).flatten(),
                collation: text(4),
                extra: text(5).unwrap_or_default().to_ascii_lowercase(),
            })
        });
        Ok(Self {
            table: table.to_owned(),
            columns: columns.collect(),
        })
    }

    pub(super) fn find(&self, name: &str) -> Result<&Column, RepositoryError> {
        let found = self.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| {
            setup(&format!(
                "{} has no column {name}: run `sluicegate migrate` into an empty database",
                self.table
            ))
        })
    }

    pub(super) fn expect_type(
        &self,
        column: &Column,
        types: &[&str],
    ) -> Result<(), RepositoryError> {
        if types.contains(&column.data_type.as_str()) {
            return Ok(());
        }
        Err(setup(&format!(
            "{}.{} is {} but must be {} to hold readings exactly: alter the column",
            self.table,
            column.shown,
            column.data_type,
            types.join(" or ")
        )))
    }

    pub(super) fn text_width(&self, column: &Column) -> Result<usize, RepositoryError> {
        self.expect_type(column, &["varchar"])?;
        let collation = column.collation.as_deref().unwrap_or_default();
        if !collation.starts_with("utf8mb4") || !collation.ends_with("_bin") {
            return Err(setup(&format!(
                "{0}.{1} has the collation {collation}, which takes different texts for equal: alter the \
                 column to CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
                self.table, column.shown
            )));
        }
        Ok(column.max_chars.unwrap_or_default() as usize)
    }

    pub(super) fn timestamp_range(
        &self,
        column: &Column,
    ) -> Result<TimestampRange, RepositoryError> {
        self.expect_type(column, &["datetime", "timestamp"])?;
        let decimals = column.decimals.unwrap_or_default();
        let (min_us, max_us) = match column.data_type.as_str() {
            "timestamp" => (TIMESTAMP_MIN_US, TIMESTAMP_MAX_US),
            _ => (
                TimestampRange::DATETIME_6.min_us,
                TimestampRange::DATETIME_6.max_us,
            ),
        };
        Ok(TimestampRange {
            min_us,
            max_us,
            decimals,
        })
    }
}

fn setup(sentence: &str) -> RepositoryError {
    RepositoryError::Setup(sentence.to_owned())
}

//! Writes the full text of names that are longer than their column.

use mysql_async::{Pool, prelude::Queryable as _};

use super::{error::explain, ledger::quote};
use crate::{model::LongName, repository::RepositoryError};

/// The table of long names.
pub struct MySqlLongNames {
    pool: Pool,
}

impl MySqlLongNames {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Inserts those that are not there yet.
    pub(crate) async fn insert(&self, names: &[LongName]) -> Result<(), RepositoryError> {
        let row = |name: &LongName| {
            let (name, full_name) = (quote(name.name()), quote(name.full_name()));
            format!("({name},{full_name},UTC_TIMESTAMP(6))")
        };
        let rows: Vec<String> = names.iter().map(row).collect();
        // A duplicate is no fault; anything else stays one.
        let sql = format!(
            "INSERT INTO long_names (name, full_name, created_at) VALUES {} ON DUPLICATE KEY UPDATE name = name",
            rows.join(",")
        );
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        conn.query_drop(sql).await.map_err(explain)
    }
}

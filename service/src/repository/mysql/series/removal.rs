//! Removes series that have no readings.

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{
        answers::unexpected,
        error::explain,
        instant,
        statement::{Statement, force, listed},
    },
    MySqlSeries,
};
use crate::repository::RepositoryError;

/// So many series are looked at by one statement.
const LOOKED_AT: usize = 1_000;

/// Some series that were looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct LookedAt {
    /// Those that have no readings.
    pub(crate) unused: Vec<u32>,
    /// Where to go on; None at the end.
    pub(crate) next: Option<u32>,
}

impl MySqlSeries {
    /// Which of the next series, from this number on, got their numbers before an instant and have no readings.
    pub(crate) async fn unused(
        &self,
        first: u32,
        before_us: i64,
    ) -> Result<LookedAt, RepositoryError> {
        let mut statement = Statement::new("SELECT series_id FROM series");
        statement.push(
            " WHERE series_id >= ? ORDER BY series_id LIMIT ?",
            [first.into(), LOOKED_AT.into()],
        );
        let rows = self.asking.rows(statement).await?.into_iter();
        let numbers = rows
            .map(|row| row.get::<u32, _>(0).ok_or_else(unexpected))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(&last) = numbers.last() else {
            return Ok(LookedAt::default());
        };
        let mut statement = Statement::new(&format!(
            "SELECT series_id FROM series WHERE series_id IN ({})",
            listed(&numbers)
        ));
        statement.push(" AND first_seen < ?", [instant::to_value(before_us)]);
        statement.push(&self.without_readings(), []);
        let rows = self.asking.rows(statement).await?.into_iter();
        Ok(LookedAt {
            unused: rows
                .map(|row| row.get(0).ok_or_else(unexpected))
                .collect::<Result<_, _>>()?,
            next: last.checked_add(1),
        })
    }

    fn without_readings(&self) -> String {
        format!(
            " AND NOT EXISTS (SELECT 1 FROM readings{} WHERE readings.series_id = series.series_id)",
            force(self.readings_by_series.as_ref())
        )
    }

    /// Removes those that still have no readings, in one transaction, and returns how many. Whoever remembers numbers learns
    /// them anew.
    pub(crate) async fn remove(&self, numbers: &[u32]) -> Result<u64, RepositoryError> {
        let condition = self.without_readings();
        let numbers = listed(numbers);
        self.asking
            .in_transaction(move |conn| {
                Box::pin(async move { remove(conn, &numbers, &condition).await })
            })
            .await
    }
}

async fn remove(conn: &mut Conn, numbers: &str, condition: &str) -> Result<u64, RepositoryError> {
    // Those who are about to store readings of them are waited for, and what they have stored is seen.
    let begin = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION; \
                 UPDATE series_generation SET generation = generation + 1 WHERE id = 1";
    conn.query_drop(begin).await.map_err(explain)?;
    let sql = format!("DELETE FROM series WHERE series_id IN ({numbers}){condition}");
    conn.query_drop(sql).await.map_err(explain)?;
    let removed = conn.affected_rows();
    // The trigger does it too, where there is one.
    let sql = format!(
        "DELETE FROM series_tags WHERE series_id IN ({numbers}) \
         AND NOT EXISTS (SELECT 1 FROM series WHERE series.series_id = series_tags.series_id)"
    );
    conn.query_drop(sql).await.map_err(explain)?;
    conn.query_drop("COMMIT").await.map_err(explain)?;
    Ok(removed)
}

//! By what it can be told that numbers are still right.

use mysql_async::{Conn, QueryResult, Row, TextProtocol, prelude::Queryable as _};

use super::super::{
    answers,
    asking::Asking,
    error::{explain, explain_to},
    statement::Statement,
};
use crate::repository::RepositoryError;

/// What is done with the tables of series, for people.
pub(super) const LOOKING: &str = "look for the numbers of series";

/// An instant as microseconds.
pub(super) const FIRST_SEEN_US: &str =
    "TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', first_seen)";

/// The table's history up to here: its generation, which changes when series are removed, and the highest number that is
/// known, with the instant in which it was given. Numbers ascend in the order in which they are committed, so whatever has this
/// row has all below it. A table that was set back does not have it, or gave the number at another time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Proof {
    generation: u64,
    anchor: Option<Anchor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) number: u32,
    pub(super) first_seen_us: i64,
}

impl Proof {
    /// Of a table of which nothing is known.
    pub(super) async fn begin(conn: &mut Conn) -> Result<Self, RepositoryError> {
        let sql = "SELECT generation FROM series_generation WHERE id = 1";
        let found: Option<u64> = conn
            .query_first(sql)
            .await
            .map_err(|error| explain_to(LOOKING, error))?;
        let generation = found.ok_or_else(|| {
            RepositoryError::Setup(
                "the table series_generation is empty: run `sluicegate migrate`".to_owned(),
            )
        })?;
        Ok(Self {
            generation,
            anchor: None,
        })
    }

    /// Asks for it. Until the end of the transaction the answer stays true: neither row can be changed, and the table can be
    /// neither dropped nor made again. The answer's columns say what those of the names are like, and whether batches are to be noted
    /// for rollups, which holds as long.
    pub(in super::super) fn question(self) -> String {
        let number = self.anchor.map_or(0, |anchor| anchor.number);
        format!(
            "SELECT generation, series_id, {FIRST_SEEN_US}, id1, id2, sensor_type, every_s FROM series_generation \
             LEFT JOIN rollup_state ON rollup_state.id = 1 LEFT JOIN series ON series_id = {number} \
             WHERE series_generation.id = 1 LOCK IN SHARE MODE"
        )
    }

    /// Asks for it as a column of another statement, which is of the same moment.
    pub(in super::super) fn column(self) -> String {
        let number = self.anchor.map_or(0, |anchor| anchor.number);
        format!(
            "(SELECT CONCAT_WS(' ', generation, anchor.series_id, {FIRST_SEEN_US}) FROM series_generation \
             LEFT JOIN series AS anchor ON anchor.series_id = {number} WHERE series_generation.id = 1)"
        )
    }

    /// Asks for the one that stands for all numbers that there are, as a column of another statement.
    pub(in super::super) fn newest_column() -> String {
        format!(
            "(SELECT CONCAT_WS(' ', generation, newest.series_id, {FIRST_SEEN_US}) FROM series_generation \
             LEFT JOIN series AS newest ON newest.series_id = (SELECT MAX(series_id) FROM series) \
             WHERE series_generation.id = 1)"
        )
    }

    /// What such a column tells.
    pub(in super::super) fn told(column: &str) -> Option<Self> {
        let mut words = column.split(' ');
        let generation = words.next()?.parse().ok()?;
        let anchor = match (words.next(), words.next()) {
            (Some(number), Some(first_seen_us)) => Some(Anchor {
                number: number.parse().ok()?,
                first_seen_us: first_seen_us.parse().ok()?,
            }),
            _ => None,
        };
        Some(Self { generation, anchor })
    }

    /// Whether what is known of this number rests on it.
    pub(in super::super) fn stands_for(self, number: u32) -> bool {
        self.anchor.is_some_and(|anchor| number <= anchor.number)
    }

    /// Whether the answer, which is next in the result, is the one that the numbers rest on.
    pub(in super::super) async fn holds(
        self,
        result: &mut QueryResult<'_, 'static, TextProtocol>,
    ) -> Result<bool, RepositoryError> {
        Ok(self.looked(result).await?.0)
    }

    /// The same, and how long the shortest buckets of rollups are, seconds; 0 where there are none.
    pub(in super::super) async fn looked(
        self,
        result: &mut QueryResult<'_, 'static, TextProtocol>,
    ) -> Result<(bool, u32), RepositoryError> {
        let rows: Vec<Row> = answers::rows(result, answers::LEDGER_ROW_BYTES)
            .await
            .map_err(|error| explain_to(LOOKING, error))?;
        let row = rows.first();
        let every_s = row.and_then(|row| row.get_opt::<Option<u32>, _>("every_s")?.ok());
        let holds = row.and_then(Self::read) == Some(self);
        Ok((holds, every_s.flatten().unwrap_or(0)))
    }

    fn read(row: &Row) -> Option<Self> {
        let number = row.get_opt::<Option<u32>, _>(1)?.ok()?;
        let first_seen_us = row.get_opt::<Option<i64>, _>(2)?.ok()?;
        let anchor = number.zip(first_seen_us);
        Some(Self {
            generation: row.get_opt(0)?.ok()?,
            anchor: anchor.map(|(number, first_seen_us)| Anchor {
                number,
                first_seen_us,
            }),
        })
    }

    /// Asks for it on a connection whose transaction has begun.
    pub(in super::super) async fn is_of(self, conn: &mut Conn) -> Result<bool, RepositoryError> {
        let asked = conn.query_iter(self.question()).await;
        let mut result = asked.map_err(|error| explain_to(LOOKING, error))?;
        let holds = self.holds(&mut result).await?;
        result.drop_result().await.map_err(explain)?;
        Ok(holds)
    }

    /// Makes a change while it holds, and returns how many rows it found; None where it does not. Until the change is committed
    /// nobody can take away what it rests on.
    pub(in super::super) async fn change(
        self,
        asking: &Asking,
        statement: Statement,
    ) -> Result<Option<u64>, RepositoryError> {
        asking
            .in_transaction(move |conn| {
                Box::pin(async move {
                    conn.query_drop("START TRANSACTION")
                        .await
                        .map_err(explain)?;
                    if !self.is_of(conn).await? {
                        conn.query_drop("ROLLBACK").await.map_err(explain)?;
                        return Ok(None);
                    }
                    let Statement { sql, params } = statement;
                    conn.exec_drop(sql, params).await.map_err(explain)?;
                    let found = conn.affected_rows();
                    conn.query_drop("COMMIT").await.map_err(explain)?;
                    Ok(Some(found))
                })
            })
            .await
    }

    /// With what is known now.
    pub(super) fn with(self, found: impl IntoIterator<Item = Anchor>) -> Self {
        let anchor = self.anchor.into_iter().chain(found);
        Self {
            anchor: anchor.max_by_key(|anchor| anchor.number),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_is_the_anchor() {
        let anchor = |number| Anchor {
            number,
            first_seen_us: i64::from(number) * 10,
        };
        let proof = Proof::default().with([anchor(3), anchor(7), anchor(5)]);
        assert_eq!(proof.anchor, Some(anchor(7)));
        assert_eq!(proof.with([anchor(6)]), proof);
        assert!(proof.stands_for(7) && !proof.stands_for(8));
        assert_eq!(Proof::told("0 7 70"), Some(proof));
        assert_eq!(Proof::told("0"), Some(Proof::default()));
        for other in ["", "x", "0 7 x"] {
            assert_eq!(Proof::told(other), None, "{other}");
        }
        assert!(proof.question().contains("series_id = 7 "));
        assert!(Proof::default().question().contains("series_id = 0 "));
    }
}

//! Batches whose readings are gathered in memory are merged into the rollups.

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{answers, error::explain, ledger::quote},
    MySqlRollups, other_levels,
    rows::{There, coarser, write},
    transaction,
};
use crate::{
    model::{Seq, StreamId, rollup::RollupsByBucket},
    repository::{Merged, NotedBatch, RepositoryError},
};

/// Batches of a lane that follow each other.
pub(super) struct Run<'a> {
    lane: &'a StreamId,
    first: Seq,
    last: Seq,
}

impl Run<'_> {
    pub(super) fn condition(&self) -> String {
        let Self { lane, first, last } = self;
        format!(
            "lane = {} AND batch BETWEEN {first} AND {last}",
            quote(lane.as_str())
        )
    }

    fn batches(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }
}

/// `batches` are in order.
pub(super) fn runs(batches: &[NotedBatch]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for NotedBatch { lane, number } in batches {
        match runs.last_mut() {
            Some(run) if run.lane == lane && run.last.0 + 1 == number.0 => run.last = *number,
            _ => runs.push(Run {
                lane,
                first: *number,
                last: *number,
            }),
        }
    }
    runs
}

/// Whether a transaction merges, or makes anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// With others who merge.
    Shared,
    /// While nobody else does either.
    Alone,
}

impl MySqlRollups {
    /// Begins a transaction at whose end the levels are still our own.
    pub(super) async fn begin(&self, conn: &mut Conn, turn: Turn) -> Result<(), RepositoryError> {
        let (isolation, lock) = match turn {
            Turn::Shared => ("READ COMMITTED", "LOCK IN SHARE MODE"),
            // What is read without a lock is of the moment in which the turn is ours, and no older.
            Turn::Alone => ("REPEATABLE READ", "FOR UPDATE"),
        };
        let sql = format!(
            "SET TRANSACTION ISOLATION LEVEL {isolation}; START TRANSACTION; \
             SELECT levels FROM rollup_state WHERE id = 1 LOCK IN SHARE MODE"
        );
        let mut result = conn.query_iter(sql).await.map_err(explain)?;
        for _without_rows in ["SET", "START TRANSACTION"] {
            result
                .for_each(|_: mysql_async::Row| ())
                .await
                .map_err(explain)?;
        }
        let found: Vec<String> = answers::rows(&mut result, answers::LEDGER_ROW_BYTES)
            .await
            .map_err(explain)?;
        result.drop_result().await.map_err(explain)?;
        let found = found.into_iter().next().unwrap_or_default();
        if found != self.levels.to_string() {
            return Err(other_levels(&found, &self.levels));
        }
        let turn = format!("SELECT id FROM rollup_state WHERE id = 2 {lock}");
        conn.query_drop(turn).await.map_err(explain)
    }

    /// Merges what these batches, in order, come to in the shortest buckets. May be called again after an error: it takes effect once.
    ///
    /// # Errors
    /// When the database does not answer, and when another instance has set other levels.
    pub(crate) async fn merge(
        &self,
        batches: &[NotedBatch],
        rollups: &RollupsByBucket,
    ) -> Result<Merged, RepositoryError> {
        let runs = runs(batches);
        let mut conn = self.conn().await?;
        let merged = transaction!(conn, {
            self.begin(&mut conn, Turn::Shared).await?;
            for level in self.levels.all() {
                match self.levels.below(level) {
                    None => write(&mut conn, level.every_s(), rollups, There::Add).await?,
                    Some(_) => {
                        let coarse = coarser(rollups, level.every_us());
                        write(&mut conn, level.every_s(), &coarse, There::Add).await?;
                    }
                }
            }
            // Last: a lane that notes its next one beside them waits for no longer than this.
            let mut noted = 0;
            for run in &runs {
                let sql = format!("DELETE FROM rollup_batches WHERE {}", run.condition());
                conn.query_drop(sql).await.map_err(explain)?;
                noted += conn.affected_rows();
            }
            let known = runs.iter().map(Run::batches).sum::<u64>();
            match noted == known {
                true => Ok(noted),
                // An earlier attempt did commit, or somebody has given them up: then what is left of them is given up, too.
                false => Err(RepositoryError::Data(format!(
                    "{noted} of {known} batches are still to be merged"
                ))),
            }
        });
        match merged {
            Ok(_) => Ok(Merged::Done),
            Err(RepositoryError::Data(_)) => {
                for run in &runs {
                    self.give_up(&run.condition()).await?;
                }
                Ok(Merged::NotWanted)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_follow_each_other_are_named_at_once() {
        let batch = |lane, number| NotedBatch {
            lane: StreamId::of_lane("a", lane),
            number: Seq(number),
        };
        let batches = [
            batch(0, 3),
            batch(0, 4),
            batch(0, 6),
            batch(1, 7),
            batch(1, 8),
        ];
        let runs = runs(&batches);
        let conditions: Vec<_> = runs.iter().map(Run::condition).collect();
        assert_eq!(
            conditions,
            [
                "lane = 'lane:a/0' AND batch BETWEEN 3 AND 4",
                "lane = 'lane:a/0' AND batch BETWEEN 6 AND 6",
                "lane = 'lane:a/1' AND batch BETWEEN 7 AND 8",
            ]
        );
        assert_eq!(runs.iter().map(Run::batches).sum::<u64>(), 5);
    }
}

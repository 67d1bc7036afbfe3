//! Which levels there are: a property of the database, which all instances share.

use std::ops::Range;

use mysql_async::{Conn, prelude::Queryable as _};
use tracing::{info, warn};

use super::{
    super::{
        DatabaseSettings, ROLLUP_POOL,
        answers::{self, unexpected},
        connection::Connector,
        error::{explain, explain_to},
        statement::force,
        waiting::wait_for_database,
    },
    MySqlRollups,
    dirtying::mark,
    seconds, transaction,
};
use crate::{
    model::rollup::{RollupLevel, RollupLevels},
    repository::RepositoryError,
};

impl MySqlRollups {
    /// Sets the levels that this process was given, before its first load. Loads that are under way are waited for: from then on each
    /// notes its batch, or none does. What a new level has is made from what there is.
    ///
    /// # Errors
    /// When a level that would go has what is nowhere else, and when the database does not answer.
    pub(crate) async fn start(&self) -> Result<(), RepositoryError> {
        let mut conn = self.conn().await?;
        transaction!(conn, {
            let sql = "START TRANSACTION; SELECT levels, dropped_before IS NOT NULL FROM rollup_state WHERE id = 1 FOR UPDATE";
            let mut result = conn.query_iter(sql).await.map_err(explain)?;
            result
                .for_each(|_: mysql_async::Row| ())
                .await
                .map_err(explain)?;
            let found: Vec<(String, bool)> = answers::rows(&mut result, answers::LEDGER_ROW_BYTES)
                .await
                .map_err(explain)?;
            result.drop_result().await.map_err(explain)?;
            let (found, were_dropped) = found.into_iter().next().ok_or_else(unexpected)?;
            // Before the first setting there is none.
            let before: RollupLevels = found.parse().unwrap_or_default();
            if before == self.levels {
                return Ok(());
            }
            let is_in = |levels: &RollupLevels, one: &RollupLevel| {
                levels.all().iter().any(|level| level.every == one.every)
            };
            for level in before
                .all()
                .iter()
                .filter(|level| !is_in(&self.levels, level))
            {
                if were_dropped {
                    self.refuse_loss(&mut conn, level).await?;
                }
                let sql = format!(
                    "DELETE FROM rollup_dirty WHERE every_s = {}",
                    level.every_s()
                );
                conn.query_drop(sql).await.map_err(explain)?;
            }
            let every_s = self.levels.finest().map_or(0, RollupLevel::every_s);
            let sql = format!(
                "UPDATE rollup_state SET every_s = {every_s}, levels = '{}' WHERE id = 1",
                self.levels
            );
            conn.query_drop(sql).await.map_err(explain)?;
            if before.is_empty() {
                conn.query_drop("DELETE FROM rollup_batches")
                    .await
                    .map_err(explain)?;
            }
            for level in self
                .levels
                .all()
                .iter()
                .filter(|level| !is_in(&before, level))
            {
                if let Some(stretch) = self.extent(&mut conn, level).await? {
                    mark(&mut conn, level.every_s(), &stretch, None, None).await?;
                }
            }
            info!(levels = %self.levels, %before, "the rollups have other levels");
            Ok(())
        })
    }

    /// What a level has of readings that are gone, nobody can make again.
    async fn refuse_loss(
        &self,
        conn: &mut Conn,
        level: &RollupLevel,
    ) -> Result<(), RepositoryError> {
        let sql = format!(
            "SELECT CAST(MIN(bucket) AS CHAR) FROM rollups WHERE every_s = {} AND bucket < (SELECT dropped_before FROM rollup_state WHERE id = 1)",
            level.every_s()
        );
        let oldest: Option<Option<String>> = conn.query_first(sql).await.map_err(explain)?;
        let Some(oldest) = oldest.flatten() else {
            return Ok(());
        };
        let (every, own) = (level.every, &self.levels);
        Err(RepositoryError::Setup(format!(
            "rollups is {own}, without the level of {every}, which alone has what readings from {oldest} on came to: retention has \
             dropped them. Keep the level, or give up what it has: `sluicegate rollups drop --every {every}`"
        )))
    }

    /// Where there is, or was, anything of which a level is to be made.
    async fn extent(
        &self,
        conn: &mut Conn,
        level: &RollupLevel,
    ) -> Result<Option<Range<i64>>, RepositoryError> {
        let below = self.levels.below(level).map_or(0, RollupLevel::every_s);
        let index = force(self.by_time.as_ref());
        let mut extent: Option<Range<i64>> = None;
        for (from, to, table) in [
            ("MIN(ts)", "MAX(ts)", format!("readings{index}")),
            (
                "MIN(bucket)",
                "MAX(bucket)",
                format!("rollups WHERE every_s = {}", level.every_s()),
            ),
            (
                "MIN(bucket)",
                "MAX(bucket)",
                format!("rollups WHERE every_s = {below}"),
            ),
        ] {
            let sql = format!("SELECT {}, {} FROM {table}", seconds(from), seconds(to));
            let found: Option<(Option<i64>, Option<i64>)> =
                conn.query_first(sql).await.map_err(explain)?;
            if let Some((Some(from), Some(to))) = found {
                let found = from..to + 1;
                extent = Some(match extent {
                    Some(known) => known.start.min(found.start)..known.end.max(found.end),
                    None => found,
                });
            }
        }
        Ok(extent)
    }

    /// Those of a database, for commands that are no instance of the service.
    ///
    /// # Errors
    /// When the database is not reachable in time, or has none.
    pub async fn of_database(settings: &DatabaseSettings) -> Result<Self, RepositoryError> {
        let connector = Connector::new(&settings.access, &settings.metrics)?;
        let mut conn = wait_for_database(&connector, settings).await?;
        let sql = "SELECT levels FROM rollup_state WHERE id = 1";
        let asked = conn.query_first::<String, _>(sql).await;
        let found = asked.map_err(|error| explain_to("look for rollups", error))?;
        let levels = found.unwrap_or_default().parse().unwrap_or_default();
        let _ = conn.disconnect().await;
        let pool = connector.pool(ROLLUP_POOL);
        Ok(Self::new(pool, levels, (None, None), &settings.instance))
    }

    /// Gives up a level that is not among those of the setting any more, although nobody can make again what it has.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn give_up_level(&self, every_s: u32) -> Result<u64, RepositoryError> {
        let mut conn = self.conn().await?;
        let mut removed = 0;
        loop {
            let sql = format!("DELETE FROM rollups WHERE every_s = {every_s} LIMIT {SOME_ROWS}");
            conn.query_drop(sql).await.map_err(explain)?;
            match conn.affected_rows() {
                0 => break,
                some => removed += some,
            }
        }
        warn!(every_s, removed, "a level of the rollups is given up");
        Ok(removed)
    }
}

/// Rows that one statement removes.
pub(super) const SOME_ROWS: u32 = 5_000;

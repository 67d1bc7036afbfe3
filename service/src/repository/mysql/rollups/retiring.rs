//! What goes: rollups that are no longer kept, and readings from which they were made.

use std::ops::Range;

use mysql_async::prelude::Queryable as _;

use super::{
    super::{
        error::explain,
        instant,
        statement::{Statement, listed},
    },
    MySqlRollups,
    dirtying::{dirty, noted},
    merging::Turn,
    rows,
    state::SOME_ROWS,
    transaction,
};
use crate::{
    model::{
        IdPair,
        rollup::{Places, bucket_of},
    },
    repository::RepositoryError,
};

const US: i64 = 1_000_000;
/// The year 1000, the first that a DATETIME can name.
const FIRST_US: i64 = -30_610_224_000 * US;

/// What rollups have of readings that were dropped: the levels, and seconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outdated(Vec<(u32, Range<i64>)>);

/// Series of one statement.
const SERIES: u32 = 1_000;

impl MySqlRollups {
    /// Takes note that readings before this instant, microseconds, are about to be dropped. False while rollups of them are still to be
    /// made: then they have to stay.
    pub(crate) async fn may_drop(&self, before_us: i64) -> Result<bool, RepositoryError> {
        let mut conn = self.conn().await?;
        transaction!(conn, {
            self.begin(&mut conn, Turn::Alone).await?;
            let finest = self.levels.finest().map_or(1, |level| level.every_s());
            let dirty = dirty(&mut conn).await?.into_iter();
            let of_readings = dirty
                .filter(|one| one.every_s == finest)
                .map(|one| one.stretch);
            let waiting = noted(&mut conn).await?.and(of_readings);
            let before_s = before_us.div_euclid(1_000_000) + 1;
            if lies_before(&waiting, before_s) {
                return Ok(false);
            }
            let sql = "UPDATE rollup_state SET dropped_before = GREATEST(COALESCE(dropped_before, ?), ?) WHERE id = 1";
            let at = instant::to_value(before_us);
            conn.exec_drop(sql, (at.clone(), at))
                .await
                .map_err(explain)?;
            Ok(true)
        })
    }

    /// What rollups have of a stretch of time, microseconds, whose readings were dropped: with them it can only go bucket by bucket.
    ///
    /// # Errors
    /// `Data` where the stretch begins or ends within such a bucket: then what is left of it nobody knows.
    pub(crate) async fn outdated(
        &self,
        range_us: &Range<i64>,
    ) -> Result<Outdated, RepositoryError> {
        let mut conn = self.conn().await?;
        let sql =
            "SELECT dropped_before FROM rollup_state WHERE id = 1 AND dropped_before IS NOT NULL";
        // Not as a text.
        let found: Option<mysql_async::Value> = conn.exec_first(sql, ()).await.map_err(explain)?;
        let mut outdated = Outdated::default();
        let Some(dropped_before_us) = found.as_ref().and_then(instant::from_value) else {
            return Ok(outdated);
        };
        for level in self.levels.all() {
            let every_us = level.every_us();
            let frozen_to = bucket_of(dropped_before_us + every_us - 1, every_us);
            let (from, to) = (range_us.start.max(FIRST_US), range_us.end.min(frozen_to));
            if from >= to {
                continue;
            }
            if from.rem_euclid(every_us) != 0 || to.rem_euclid(every_us) != 0 {
                return Err(RepositoryError::Data(format!(
                    "readings of that time were dropped by retention, and rollups of {} have what they came to: it has to begin and \
                     end where such a bucket does",
                    level.every
                )));
            }
            outdated.0.push((level.every_s(), from / US..to / US));
        }
        Ok(outdated)
    }

    /// Removes it, of these series or of all.
    pub(crate) async fn remove_outdated(
        &self,
        outdated: &Outdated,
        pairs: Option<&[IdPair]>,
        sensor_type: Option<&str>,
    ) -> Result<(), RepositoryError> {
        let mut conn = self.conn().await?;
        for (every_s, stretch) in &outdated.0 {
            let mut statement = Statement::new("SELECT series_id FROM series WHERE TRUE");
            statement.of_sensor_type(sensor_type);
            if let Some(pairs) = pairs {
                statement.push(" AND (FALSE", []);
                for IdPair { id1, id2 } in pairs {
                    let values = [(*id1).into(), id2.as_str().into(), id2.len().into()];
                    statement.push(" OR (id1 = ? AND id2 = ? AND LENGTH(id2) = ?)", values);
                }
                statement.push(")", []);
            }
            let Statement { sql, params } = statement;
            let series: Vec<u32> = conn.exec(sql, params).await.map_err(explain)?;
            for some in series.chunks(SERIES as usize) {
                rows::remove(&mut conn, *every_s, stretch, Some(some)).await?;
            }
        }
        Ok(())
    }

    /// Removes what is no longer kept of some series, and what is of no level, and returns the next series to go on with; None when all
    /// have been looked at.
    pub(crate) async fn expire(&self, first: u32) -> Result<Option<u32>, RepositoryError> {
        let mut conn = self.conn().await?;
        let next = transaction!(conn, {
            self.begin(&mut conn, Turn::Shared).await?;
            let sql = format!(
                "SELECT MAX(series_id) FROM (SELECT series_id FROM series WHERE series_id >= {first} ORDER BY series_id LIMIT {SERIES}) AS some"
            );
            let last: Option<Option<u32>> = conn.query_first(sql).await.map_err(explain)?;
            let Some(last) = last.flatten() else {
                return Ok(None);
            };
            for level in self.levels.all() {
                let Some(keep) = level.keep.0 else { continue };
                let sql = format!(
                    "DELETE rollups FROM series STRAIGHT_JOIN rollups FORCE INDEX (PRIMARY) ON rollups.every_s = {every_s} \
                     AND rollups.series_id = series.series_id \
                     AND rollups.bucket < UTC_TIMESTAMP() - INTERVAL {keep} SECOND - INTERVAL {every_s} SECOND \
                     WHERE series.series_id BETWEEN {first} AND {last}",
                    every_s = level.every_s(),
                    keep = keep.seconds()
                );
                conn.query_drop(sql).await.map_err(explain)?;
            }
            Ok(last.checked_add(1))
        })?;
        if next.is_none() {
            self.remove_other_levels().await?;
        }
        Ok(next)
    }

    async fn remove_other_levels(&self) -> Result<(), RepositoryError> {
        let levels: Vec<u32> = self
            .levels
            .all()
            .iter()
            .map(|level| level.every_s())
            .collect();
        let mut conn = self.conn().await?;
        let sql = format!(
            "DELETE FROM rollups WHERE every_s NOT IN ({}) LIMIT {SOME_ROWS}",
            listed(&levels)
        );
        while !levels.is_empty() {
            conn.query_drop(&sql).await.map_err(explain)?;
            if conn.affected_rows() == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn lies_before(places: &Places, before_s: i64) -> bool {
    let first: Option<&Range<i64>> = places.all().first();
    first.is_some_and(|place| place.start < before_s)
}

//! Answers from rollups: which of them are sure, as of the moment of the answer.

use std::ops::Range;

use mysql_async::{Conn, Value, prelude::Queryable as _};

use super::{
    super::{
        aggregate_text::{LARGEST, keyed, start_of_bucket},
        answers::unexpected,
        error::explain,
        statement::{Statement, listed},
    },
    dirtying::{dirty, noted},
    rows::at_second,
    seconds,
};
use crate::{
    model::{
        BucketWidth, IdPair,
        rollup::{Cover, Covered, Known, RollupLevel, RollupLevels, cover},
    },
    repository::RepositoryError,
};

/// What aggregations are made from.
#[derive(Clone, Debug)]
pub(in super::super) struct Answering {
    levels: RollupLevels,
}

/// Which rollups an aggregation is of.
pub(in super::super) struct Sources<'a> {
    pub(in super::super) width: BucketWidth,
    /// None for all.
    pub(in super::super) series: Option<&'a [u32]>,
    pub(in super::super) sensor_type: Option<&'a str>,
    /// Only buckets that begin there or later, where it is given; microseconds.
    pub(in super::super) from_us: Option<i64>,
}

impl Answering {
    pub(in super::super) fn new(levels: RollupLevels) -> Self {
        Self { levels }
    }

    /// Levels of which buckets of this width are made, from the longest buckets to the shortest.
    fn usable(&self, width: BucketWidth) -> Vec<RollupLevel> {
        let levels = self.levels.all().iter().rev();
        let fits = |level: &&RollupLevel| width.as_us() % level.every_us() == 0;
        levels.filter(fits).copied().collect()
    }

    /// Whether rollups are of any use for this width.
    pub(in super::super) fn is_for(&self, width: BucketWidth) -> bool {
        !self.usable(width).is_empty()
    }

    /// Covers a stretch of time, microseconds, by what is sure of these pairs, or of all, in the snapshot of this connection.
    pub(in super::super) async fn cover(
        &self,
        conn: &mut Conn,
        range_us: &Range<i64>,
        width: BucketWidth,
        pairs: Option<&[IdPair]>,
    ) -> Result<Cover, RepositoryError> {
        let sql = format!(
            "SELECT levels, {} FROM rollup_state WHERE id = 1",
            seconds("UTC_TIMESTAMP()")
        );
        let found: Option<(String, i64)> = conn.query_first(sql).await.map_err(explain)?;
        let (found, now) = found.ok_or_else(unexpected)?;
        // Another instance has set others.
        if found != self.levels.to_string() {
            return Ok(cover(range_us, &[]));
        }
        let noted = noted(conn).await?;
        let is_asked = |pair: &IdPair| pairs.is_none_or(|pairs| pairs.contains(pair));
        let mut dirty = dirty(conn).await?;
        dirty.retain(|one| one.pair.as_ref().is_none_or(is_asked));
        let known = |level: RollupLevel| {
            // Of shorter buckets, too: longer ones are made from them.
            let below = dirty.iter().filter(|one| one.every_s <= level.every_s());
            let kept_from = level.keep.0.map(|keep| now - keep.seconds().cast_signed());
            let gone = kept_from.map(|from| i64::MIN / 2_000_000..from);
            let unsure = below.map(|one| one.stretch.clone()).chain(gone);
            Known {
                every_s: level.every_s(),
                unsure: noted.clone().and(unsure),
            }
        };
        let levels: Vec<Known> = self.usable(width).into_iter().map(known).collect();
        Ok(cover(range_us, &levels))
    }
}

impl Sources<'_> {
    /// What the rollups of a level say, for each series and bucket of the answer perhaps several times: the parts of a whole.
    pub(in super::super) fn of_level(&self, covered: &Covered) -> Statement {
        let start = start_of_bucket("bucket", self.width);
        let (first, last) = (
            keyed("first_ts", "first_id", "first_sensor_value"),
            keyed("last_ts", "last_id", "last_sensor_value"),
        );
        let index = match self.series {
            Some(_) => "PRIMARY",
            None => "by_bucket",
        };
        let names = match self.sensor_type {
            Some(_) => " STRAIGHT_JOIN series ON series.series_id = rollups.series_id",
            None => "",
        };
        let mut statement = Statement::new(&format!(
            "SELECT {start} AS bucket, rollups.series_id AS series_id, readings, total, lowest, highest, {first} AS first_keyed, \
             {last} AS last_keyed FROM rollups FORCE INDEX ({index}){names} WHERE every_s = {}",
            covered.every_s
        ));
        if let Some(series) = self.series {
            statement.push(
                &format!(" AND rollups.series_id IN ({})", listed(series)),
                [],
            );
        }
        let stretches = covered.stretches.iter();
        within(
            &mut statement,
            "bucket",
            stretches.map(|it| at_second(it.start)..at_second(it.end)),
        );
        if let Some(from_us) = self.from_us {
            statement.push(
                " AND bucket >= ?",
                [at_second(from_us.div_euclid(1_000_000))],
            );
        }
        statement.of_sensor_type(self.sensor_type);
        statement
    }
}

/// Within one of these stretches.
pub(in super::super) fn within(
    statement: &mut Statement,
    column: &str,
    stretches: impl Iterator<Item = Range<Value>>,
) {
    statement.push(" AND (FALSE", []);
    for Range { start, end } in stretches {
        let condition = format!(" OR ({column} >= ? AND {column} < ?)");
        statement.push(&condition, [start, end]);
    }
    statement.push(")", []);
}

/// Parts of groups, taken together. A sum that is beyond all doubles makes the average NULL.
pub(in super::super) fn together(parts: impl Iterator<Item = Statement>) -> Statement {
    let mut together = Statement::new(&format!(
        "SELECT bucket, series_id, CAST(SUM(readings) AS UNSIGNED) AS readings, MIN(lowest) AS lowest, MAX(highest) AS highest, \
         IF(COUNT(total) = COUNT(*) AND ABS(SUM(total)) <= {LARGEST:e}, SUM(total) / SUM(readings), NULL) AS average, \
         MIN(first_keyed) AS first_keyed, MAX(last_keyed) AS last_keyed FROM ("
    ));
    for (index, part) in parts.enumerate() {
        let before = if index == 0 { "(" } else { " UNION ALL (" };
        together
            .push(before, [])
            .push(&part.sql, part.params)
            .push(")", []);
    }
    together.push(") AS parts GROUP BY bucket, series_id", []);
    together
}

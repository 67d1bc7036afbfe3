//! Dirty buckets are made anew, some at a time: the shortest from readings, longer ones from those of the level below.

use std::{collections::BTreeSet, ops::Range};

use mysql_async::{Conn, Value, prelude::Queryable as _};

use super::{
    super::{
        answers::{self, unexpected},
        error::explain,
        instant,
        ledger::quote,
        statement::{force, listed},
    },
    MySqlRollups,
    dirtying::{Dirty, dirty, mark, noted},
    merging::Turn,
    rows::{There, at_second, read, remove, write},
    seconds, transaction,
};
use crate::{
    model::{
        IdPair,
        rollup::{Edge, Places, Rollup, RollupLevel, RollupsByBucket, add, bucket_of},
    },
    repository::{Remade, RepositoryError},
};

/// Of so many series of a pair it is looked when the next reading is.
const SERIES_ASKED: usize = 64;
/// A second before all that a column can hold.
const EVER: i64 = -100_000_000_000;

/// From what a bucket is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Readings,
    Below(u32),
    /// What it was made from is gone: it stays as it is.
    Nothing,
}

/// What is made anew at once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    dirty: Dirty,
    level: RollupLevel,
    stretch: Range<i64>,
    /// It might be longer, up to here.
    free_to: i64,
    source: Source,
}

/// What there is to be made anew, as of one moment.
struct Situation {
    dirty: Vec<Dirty>,
    noted: Places,
    /// Seconds since the Unix epoch.
    now: i64,
    /// Readings before it were dropped; the first second that there is where none were.
    dropped_before: i64,
}

impl MySqlRollups {
    async fn situation(&self, conn: &mut Conn) -> Result<Situation, RepositoryError> {
        let sql = format!(
            "SELECT {}, {} FROM rollup_state WHERE id = 1",
            seconds("UTC_TIMESTAMP()"),
            // A second in which some were dropped and some not is gone.
            seconds("dropped_before + INTERVAL 999999 MICROSECOND")
        );
        let found: Option<(i64, Option<i64>)> = conn.query_first(sql).await.map_err(explain)?;
        let (now, dropped_before) = found.ok_or_else(unexpected)?;
        Ok(Situation {
            now,
            dropped_before: dropped_before.unwrap_or(EVER),
            dirty: dirty(conn).await?,
            noted: noted(conn).await?,
        })
    }

    /// Makes some dirty buckets anew: those of `at_once_s` seconds, or one.
    ///
    /// # Errors
    /// When the database does not answer, and when another instance has set other levels.
    pub(crate) async fn remake(&self, at_once_s: i64) -> Result<Remade, RepositoryError> {
        let mut conn = self.conn().await?;
        let situation = self.situation(&mut conn).await?;
        if situation.dirty.is_empty() {
            return Ok(Remade::Nothing);
        }
        let Some(mut slice) = self.slice(&situation, at_once_s) else {
            return Ok(Remade::Waiting);
        };
        self.skip_gap(&mut conn, &mut slice).await?;
        let made = transaction!(conn, {
            self.begin(&mut conn, Turn::Alone).await?;
            let now = self.situation(&mut conn).await?;
            // All of one moment from here on. What has changed since the slice was chosen is looked at again later.
            match self.is_free(&now, &slice) {
                true => self.make(&mut conn, &slice, &now).await.map(Some),
                false => Ok(None),
            }
        })?;
        Ok(made.map_or(Remade::Waiting, |rows| Remade::Some { rows }))
    }

    /// Where a level must not be made anew yet, for these series.
    fn blocked(&self, situation: &Situation, level: &RollupLevel, pair: Option<&IdPair>) -> Places {
        let below = self.levels.below(level);
        let below = situation.dirty.iter().filter(|dirty| {
            below.is_some_and(|below| dirty.every_s == below.every_s()) && dirty.may_be_of(pair)
        });
        let below = below.map(|dirty| dirty.stretch.clone());
        situation.noted.clone().and(below).aligned(level.every_s())
    }

    /// From what a level is made from this second on, and up to which.
    fn source(&self, situation: &Situation, level: &RollupLevel, at: i64) -> (Source, i64) {
        let every_s = i64::from(level.every_s());
        let up = |at: i64| bucket_of(at.saturating_add(every_s - 1), every_s);
        let readings_from = up(situation.dropped_before);
        let below_from = self.levels.below(level).map(|below| {
            let keep = below.keep.0.map(|keep| keep.seconds().cast_signed());
            let kept_from = keep.map_or(EVER, |keep| situation.now - keep);
            (below.every_s(), up(kept_from))
        });
        match below_from {
            Some((below, from)) if at >= from => (Source::Below(below), i64::MAX),
            _ if at >= readings_from => (
                Source::Readings,
                below_from.map_or(i64::MAX, |(_, from)| from),
            ),
            Some((_, from)) => (Source::Nothing, from.min(readings_from)),
            None => (Source::Nothing, readings_from),
        }
    }

    /// The next to be made anew; None where all wait.
    fn slice(&self, situation: &Situation, at_once_s: i64) -> Option<Slice> {
        let mut waiting = situation.dirty.iter().filter(|dirty| !dirty.is_held);
        waiting.find_map(|dirty| {
            let mut levels = self.levels.all().iter();
            let level = levels.find(|level| level.every_s() == dirty.every_s)?;
            let blocked = self.blocked(situation, level, dirty.pair.as_ref());
            let free = blocked.without(&dirty.stretch).into_iter().next()?;
            let (source, up_to) = self.source(situation, level, free.start);
            let at_once = match source {
                Source::Nothing => i64::MAX,
                _ => at_once_s.max(level.every_s().into()),
            };
            let every_s = i64::from(level.every_s());
            let end = bucket_of(free.start.saturating_add(at_once), every_s);
            let free_to = free.end.min(up_to);
            Some(Slice {
                dirty: dirty.clone(),
                level: *level,
                stretch: free.start..end.min(free_to),
                free_to,
                source,
            })
        })
    }

    /// Whether a slice may still be made.
    fn is_free(&self, situation: &Situation, slice: &Slice) -> bool {
        let blocked = self.blocked(situation, &slice.level, slice.dirty.pair.as_ref());
        situation.dirty.contains(&slice.dirty)
            && blocked.without(&slice.stretch) == std::slice::from_ref(&slice.stretch)
    }

    /// Takes a time without anything to be read along at once.
    async fn skip_gap(&self, conn: &mut Conn, slice: &mut Slice) -> Result<(), RepositoryError> {
        let (below, column) = match slice.source {
            Source::Readings => (None, "ts"),
            Source::Below(below) => (Some(below), "bucket"),
            Source::Nothing => return Ok(()),
        };
        let series = match &slice.dirty.pair {
            Some(pair) => series_of(conn, pair).await?.into_iter().map(Some).collect(),
            None => vec![None],
        };
        let Range { start, end } = slice.stretch;
        let mut first: Option<Value> = None;
        for series in series.into_iter().take(SERIES_ASKED) {
            let table = match (below, series) {
                (None, None) => format!("readings{}", force(self.by_time.as_ref())),
                (None, Some(_)) => format!("readings{}", force(self.by_series.as_ref())),
                (Some(_), None) => "rollups FORCE INDEX (by_bucket)".to_owned(),
                (Some(_), Some(_)) => "rollups FORCE INDEX (PRIMARY)".to_owned(),
            };
            let of_level =
                below.map_or_else(String::new, |below| format!(" AND every_s = {below}"));
            let of_series =
                series.map_or_else(String::new, |one| format!(" AND series_id = {one}"));
            let sql = format!(
                "SELECT {column} FROM {table} WHERE {column} >= ? AND {column} < ?{of_level}{of_series} ORDER BY {column} LIMIT 1"
            );
            let found: Option<Value> = conn
                .exec_first(sql, (at_second(end), at_second(slice.free_to)))
                .await
                .map_err(explain)?;
            let at = |value: &Value| instant::from_value(value);
            first = [first, found].into_iter().flatten().min_by_key(at);
        }
        let next = match first {
            Some(at) => {
                let at = instant::from_value(&at).ok_or_else(unexpected)?;
                bucket_of(at.div_euclid(1_000_000), slice.level.every_s().into())
            }
            None => slice.free_to,
        };
        slice.stretch = start..next.clamp(end, slice.free_to);
        Ok(())
    }

    async fn make(
        &self,
        conn: &mut Conn,
        slice: &Slice,
        now: &Situation,
    ) -> Result<u64, RepositoryError> {
        let series = match &slice.dirty.pair {
            Some(pair) => Some(series_of(conn, pair).await?),
            None => None,
        };
        let every_s = slice.level.every_s();
        let rows = match slice.source {
            Source::Nothing => 0,
            _ if series.as_ref().is_some_and(Vec::is_empty) => 0,
            source => {
                let mut made = RollupsByBucket::default();
                let rows = match source {
                    Source::Below(below) => {
                        let every_us = slice.level.every_us();
                        let add = |(series, bucket): (u32, i64), one: Rollup| {
                            add(&mut made, (series, bucket_of(bucket, every_us)), &one);
                        };
                        read(conn, below, &slice.stretch, series.as_deref(), add).await?
                    }
                    _ => {
                        self.readings(conn, slice, series.as_deref(), &mut made)
                            .await?
                    }
                };
                remove(conn, every_s, &slice.stretch, series.as_deref()).await?;
                write(conn, every_s, &made, There::Never).await?;
                rows
            }
        };
        self.settle(conn, slice, now).await?;
        let pair = slice.dirty.pair.as_ref();
        if let Some(above) = self.levels.above(&slice.level) {
            mark(conn, above.every_s(), &slice.stretch, pair, None).await?;
        }
        Ok(rows)
    }

    /// What was made is not dirty any more; what is left of its stretch is.
    async fn settle(
        &self,
        conn: &mut Conn,
        slice: &Slice,
        now: &Situation,
    ) -> Result<(), RepositoryError> {
        let Dirty {
            id,
            every_s,
            stretch,
            pair,
            ..
        } = &slice.dirty;
        // Others that were there already, and lie in it.
        let lies_in = |one: &&Dirty| {
            one.every_s == *every_s
                && !one.is_held
                && (pair.is_none() || one.pair == *pair)
                && slice.stretch.start <= one.stretch.start
                && one.stretch.end <= slice.stretch.end
        };
        let over = now.dirty.iter().filter(lies_in).map(|one| one.id);
        let over: BTreeSet<u64> = over.chain([*id]).collect();
        let over: Vec<String> = over.iter().map(u64::to_string).collect();
        let sql = format!("DELETE FROM rollup_dirty WHERE id IN ({})", over.join(","));
        conn.query_drop(sql).await.map_err(explain)?;
        for left in Places::of(std::iter::once(slice.stretch.clone())).without(stretch) {
            mark(conn, *every_s, &left, pair.as_ref(), None).await?;
        }
        Ok(())
    }

    /// What the readings of a slice come to, and how many they are.
    async fn readings(
        &self,
        conn: &mut Conn,
        slice: &Slice,
        series: Option<&[u32]>,
        made: &mut RollupsByBucket,
    ) -> Result<u64, RepositoryError> {
        let (index, of_series) = match series {
            Some(series) => (
                &self.by_series,
                format!(" AND series_id IN ({})", listed(series)),
            ),
            None => (&self.by_time, String::new()),
        };
        let sql = format!(
            "SELECT series_id, ts, id, sensor_value FROM readings{} WHERE ts >= ? AND ts < ?{of_series}",
            force(index.as_ref())
        );
        let Range { start, end } = slice.stretch;
        let params = (at_second(start), at_second(end));
        let mut result = conn.exec_iter(sql, params).await.map_err(explain)?;
        let every_us = slice.level.every_us();
        let mut rows = 0;
        while let Some(row) = result.next().await.map_err(explain)? {
            let (series, ts, id, value) = mysql_async::from_row_opt::<(u32, Value, i64, f64)>(row)
                .map_err(|_| unexpected())?;
            let timestamp_us = instant::from_value(&ts).ok_or_else(unexpected)?;
            let one = Rollup::of(Edge {
                timestamp_us,
                id,
                value,
            });
            add(made, (series, bucket_of(timestamp_us, every_us)), &one);
            rows += 1;
        }
        result.drop_result().await.map_err(explain)?;
        Ok(rows)
    }

    /// Has everything made anew that readings of this stretch, seconds, come to. For changes made past the service.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rebuild(&self, stretch: &Range<i64>) -> Result<(), RepositoryError> {
        let Some(finest) = self.levels.finest() else {
            return Ok(());
        };
        let mut conn = self.conn().await?;
        mark(&mut conn, finest.every_s(), stretch, None, None)
            .await
            .map(drop)
    }
}

/// The numbers of a pair's series, whatever they are of.
async fn series_of(conn: &mut Conn, pair: &IdPair) -> Result<Vec<u32>, RepositoryError> {
    let sql = format!(
        "SELECT series_id FROM series FORCE INDEX (by_names) WHERE id1 = {} AND id2 = {} AND id2_bytes = {}",
        pair.id1,
        quote(&pair.id2),
        pair.id2.len()
    );
    let numbers: Vec<u32> = answers::ask(conn, &sql).await.map_err(explain)?;
    Ok(numbers
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect())
}

//! Which buckets are to be made anew: after changes of stored readings, and where batches were lost before they were merged.

use std::{ops::Range, time::Duration};

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{answers, error::explain, ledger::quote},
    GIVEN_UP_AFTER, MySqlRollups,
    merging::runs,
    transaction,
};
use crate::{
    model::{
        IdPair, Seq, StreamId, TimeRange,
        rollup::{Places, outwards},
    },
    repository::{NotedBatch, RepositoryError},
};

const US: i64 = 1_000_000;
/// The years 1000 to 9999, all that a DATETIME can name.
const FIRST_SECOND: i64 = -30_610_224_000;
const LAST_SECOND: i64 = 253_402_300_800;

/// A stretch of a level that is to be made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dirty {
    pub(super) id: u64,
    pub(super) every_s: u32,
    /// Seconds since the Unix epoch.
    pub(super) stretch: Range<i64>,
    /// None for all series.
    pub(super) pair: Option<IdPair>,
    /// A change is under way.
    pub(super) is_held: bool,
}

impl Dirty {
    /// Whether it may be of this pair, or of any where that is None.
    pub(super) fn may_be_of(&self, pair: Option<&IdPair>) -> bool {
        match (&self.pair, pair) {
            (Some(own), Some(pair)) => own == pair,
            _ => true,
        }
    }
}

/// All that there are, in order.
pub(super) async fn dirty(conn: &mut Conn) -> Result<Vec<Dirty>, RepositoryError> {
    type Columns = (u64, u32, i64, i64, Option<i32>, Option<String>, bool);
    let sql = "SELECT id, every_s, from_s, to_s, id1, id2, COALESCE(held_until > UTC_TIMESTAMP(6), FALSE) FROM rollup_dirty \
               ORDER BY id";
    let rows: Vec<Columns> = answers::ask(conn, sql).await.map_err(explain)?;
    let of_row = |(id, every_s, from_s, to_s, id1, id2, is_held): Columns| Dirty {
        id,
        every_s,
        stretch: from_s..to_s,
        pair: id1.zip(id2).map(|(id1, id2)| IdPair { id1, id2 }),
        is_held,
    };
    Ok(rows.into_iter().map(of_row).collect())
}

/// Where the readings of batches lie that are not merged yet.
pub(super) async fn noted(conn: &mut Conn) -> Result<Places, RepositoryError> {
    // Small batches of the same moment tell the same.
    let sql = "SELECT DISTINCT places FROM rollup_batches";
    let texts: Vec<String> = answers::ask(conn, sql).await.map_err(explain)?;
    places_of(&texts)
}

fn places_of(texts: &[String]) -> Result<Places, RepositoryError> {
    let mut all = Vec::new();
    for text in texts {
        let places = Places::read(text).ok_or_else(|| {
            RepositoryError::Other(format!("{text:?} in rollup_batches tells no places"))
        })?;
        all.extend_from_slice(places.all());
    }
    Ok(Places::of(all.into_iter()))
}

/// Has a stretch of a level made anew.
pub(super) async fn mark(
    conn: &mut Conn,
    every_s: u32,
    stretch: &Range<i64>,
    pair: Option<&IdPair>,
    held_for: Option<Duration>,
) -> Result<u64, RepositoryError> {
    let stretch = outwards(stretch, every_s);
    let (id1, id2) = match pair {
        Some(pair) => (pair.id1.to_string(), quote(&pair.id2)),
        None => ("NULL".to_owned(), "NULL".to_owned()),
    };
    let held_until = match held_for {
        Some(held_for) => format!("UTC_TIMESTAMP(6) + INTERVAL {} SECOND", held_for.as_secs()),
        None => "NULL".to_owned(),
    };
    let sql = format!(
        "INSERT INTO rollup_dirty (every_s, from_s, to_s, id1, id2, held_until) VALUES ({every_s}, {}, {}, {id1}, {id2}, {held_until})",
        stretch.start, stretch.end
    );
    conn.query_drop(sql).await.map_err(explain)?;
    Ok(conn.last_insert_id().unwrap_or_default())
}

impl MySqlRollups {
    /// Has everything made anew that the batches of a condition touch, as if they had never been gathered.
    pub(super) async fn give_up(&self, condition: &str) -> Result<u64, RepositoryError> {
        let Some(finest) = self.levels.finest() else {
            return Ok(0);
        };
        let mut conn = self.conn().await?;
        transaction!(conn, {
            let sql = format!(
                "START TRANSACTION; SELECT lane, batch, places FROM rollup_batches WHERE {condition} ORDER BY lane, batch FOR UPDATE"
            );
            let mut result = conn.query_iter(sql).await.map_err(explain)?;
            result
                .for_each(|_: mysql_async::Row| ())
                .await
                .map_err(explain)?;
            let rows: Vec<(String, u64, String)> = answers::rows(&mut result, answers::PAGE_BYTES)
                .await
                .map_err(explain)?;
            result.drop_result().await.map_err(explain)?;
            let noted = |(lane, number, _): &(String, u64, String)| NotedBatch {
                lane: StreamId::stored(lane),
                number: Seq(*number),
            };
            let batches: Vec<NotedBatch> = rows.iter().map(noted).collect();
            let texts: Vec<String> = rows.into_iter().map(|(_, _, places)| places).collect();
            for stretch in places_of(&texts)?.all() {
                mark(&mut conn, finest.every_s(), stretch, None, None).await?;
            }
            // Those, and none that has come since.
            for run in runs(&batches) {
                let sql = format!("DELETE FROM rollup_batches WHERE {}", run.condition());
                conn.query_drop(sql).await.map_err(explain)?;
            }
            Ok(batches.len() as u64)
        })
    }

    /// The same of one batch, of which nobody knows what it stored.
    pub(crate) async fn give_up_batch(&self, batch: &NotedBatch) -> Result<(), RepositoryError> {
        let (lane, number) = (quote(batch.lane.as_str()), batch.number);
        let condition = format!("lane = {lane} AND batch = {number}");
        self.give_up(&condition).await.map(drop)
    }

    /// The same of all that an earlier process of this name has left behind. Before the first load.
    pub(crate) async fn give_up_earlier(&self) -> Result<u64, RepositoryError> {
        let lanes = format!("{}{}/", StreamId::LANE_PREFIX, self.instance);
        let condition = format!("LEFT(lane, CHAR_LENGTH({0})) = {0}", quote(&lanes));
        self.give_up(&condition).await
    }

    /// The same of all that nobody has merged for long.
    pub(crate) async fn give_up_old(&self) -> Result<u64, RepositoryError> {
        let seconds = GIVEN_UP_AFTER.as_secs();
        let condition = format!("noted_at < UTC_TIMESTAMP(6) - INTERVAL {seconds} SECOND");
        self.give_up(&condition).await
    }
}

/// Buckets that a change under way may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held(Vec<u64>);

impl Held {
    fn ids(&self) -> String {
        let ids: Vec<String> = self.0.iter().map(u64::to_string).collect();
        ids.join(",")
    }
}

impl MySqlRollups {
    /// Buckets of these pairs, or of all, within that time, microseconds, are not sure until they are made anew, which waits until the
    /// change has ended, or has not been heard of for so long.
    pub(crate) async fn hold(
        &self,
        pairs: Option<&[IdPair]>,
        time: Option<TimeRange>,
        held_for: Duration,
    ) -> Result<Held, RepositoryError> {
        let Some(finest) = self.levels.finest() else {
            return Ok(Held::default());
        };
        let ever = FIRST_SECOND * US..LAST_SECOND * US;
        let stretch = time.map_or(ever.clone(), |time| {
            time.from_us.max(ever.start)..time.to_us.min(ever.end)
        });
        if stretch.is_empty() {
            return Ok(Held::default());
        }
        let stretch = stretch.start.div_euclid(US)..(stretch.end - 1).div_euclid(US) + 1;
        let mut conn = self.conn().await?;
        transaction!(conn, {
            conn.query_drop("START TRANSACTION")
                .await
                .map_err(explain)?;
            let mut held = Held::default();
            let each = pairs.map_or(vec![None], |pairs| pairs.iter().map(Some).collect());
            for pair in each {
                let id = mark(&mut conn, finest.every_s(), &stretch, pair, Some(held_for)).await?;
                held.0.push(id);
            }
            Ok(held)
        })
    }

    /// The change has not ended yet.
    pub(crate) async fn hold_on(
        &self,
        held: &Held,
        held_for: Duration,
    ) -> Result<(), RepositoryError> {
        let until = format!("UTC_TIMESTAMP(6) + INTERVAL {} SECOND", held_for.as_secs());
        self.hold_until(held, &until).await
    }

    /// The change has ended.
    pub(crate) async fn release(&self, held: &Held) -> Result<(), RepositoryError> {
        self.hold_until(held, "NULL").await
    }

    async fn hold_until(&self, held: &Held, until: &str) -> Result<(), RepositoryError> {
        if held.0.is_empty() {
            return Ok(());
        }
        let ids = held.ids();
        let sql = format!("UPDATE rollup_dirty SET held_until = {until} WHERE id IN ({ids})");
        self.conn().await?.query_drop(sql).await.map_err(explain)
    }
}

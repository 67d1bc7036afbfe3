//! Rollups in the database: what readings come to, by series and bucket.
//!
//! Each load notes its batch in the transaction that stores its readings ([`note`]). What the batch comes to is merged later, in the
//! transaction that removes that note, so it is merged once ([`merging`]). A bucket that is not sure is dirty: stored readings were
//! changed, or a batch was lost before it was merged. It is made anew from readings, or from shorter buckets, while nothing is merged,
//! and only where no batch is noted ([`remaking`]). Whoever answers from rollups takes what is neither dirty nor noted, as of one
//! moment ([`answering`]).

mod answering;
mod dirtying;
mod merging;
mod remaking;
mod retiring;
mod rows;
mod state;

use std::time::Duration;

use mysql_async::{Conn, Pool, prelude::Queryable as _};

pub(super) use self::answering::{Answering, Sources, together, within};
pub(crate) use self::{dirtying::Held, retiring::Outdated};
use super::{answers, error::explain, ledger::quote};
use crate::{
    model::{
        Seq, StreamId,
        rollup::{Places, RollupLevels},
    },
    repository::{LoadBatch, RepositoryError, RollupStanding},
};

/// The rollups of a table of the layout `series`.
pub struct MySqlRollups {
    pool: Pool,
    levels: RollupLevels,
    /// Indexes of the readings, by time and by series.
    by_time: Option<String>,
    by_series: Option<String>,
    /// Whose lanes' batches are merged by this process.
    instance: String,
}

impl MySqlRollups {
    pub(super) fn new(
        pool: Pool,
        levels: RollupLevels,
        (by_time, by_series): (Option<String>, Option<String>),
        instance: &str,
    ) -> Self {
        Self {
            pool,
            levels,
            by_time,
            by_series,
            instance: instance.to_owned(),
        }
    }

    #[must_use]
    pub fn levels(&self) -> &RollupLevels {
        &self.levels
    }

    async fn conn(&self) -> Result<Conn, RepositoryError> {
        self.pool.get_conn().await.map_err(explain)
    }

    /// How far they are.
    pub(crate) async fn standing(&self) -> Result<RollupStanding, RepositoryError> {
        let mut conn = self.conn().await?;
        let sql = "SELECT COUNT(*), COALESCE(TIMESTAMPDIFF(MICROSECOND, MIN(noted_at), UTC_TIMESTAMP(6)), 0) / 1e6, \
                   (SELECT COUNT(*) FROM rollup_dirty) FROM rollup_batches";
        let found: Option<(u64, f64, u64)> = conn.query_first(sql).await.map_err(explain)?;
        let (batches, oldest_s, dirty) = found.unwrap_or_default();
        Ok(RollupStanding {
            batches,
            oldest_s,
            dirty,
        })
    }
}

/// The statement that notes a batch.
pub(super) fn note(lane: &StreamId, number: Seq, batch: &dyn LoadBatch, every_us: i64) -> String {
    let columns = batch.columns();
    let at = |position| columns.timestamp_us[columns.arrival(position) as usize];
    let places = Places::of_times((0..batch.rows()).map(at), every_us);
    // A number that comes again is of a ledger that was restored: the places of both count.
    format!(
        "INSERT INTO rollup_batches (lane, batch, noted_at, places) VALUES ({}, {number}, UTC_TIMESTAMP(6), '{places}') \
         ON DUPLICATE KEY UPDATE places = CONCAT(places, ',', VALUES(places))",
        quote(lane.as_str())
    )
}

/// Runs the work of a transaction that begins and does not end on this connection, and ends it.
macro_rules! transaction {
    ($conn:ident, $work:expr) => {{
        let worked: Result<_, crate::repository::RepositoryError> = async { $work }.await;
        super::end($conn, worked).await
    }};
}
use transaction;

/// Ends a transaction. A connection on which it failed is closed, which rolls it back.
async fn end<T>(mut conn: Conn, worked: Result<T, RepositoryError>) -> Result<T, RepositoryError> {
    let ended = match worked {
        Ok(done) => {
            let committed = conn.query_drop("COMMIT").await;
            committed.map_err(explain).map(|()| done)
        }
        Err(error) => Err(error),
    };
    if ended.is_err() {
        answers::cut(conn);
    }
    ended
}

/// Seconds since the Unix epoch of a column.
fn seconds(column: &str) -> String {
    format!("TIMESTAMPDIFF(SECOND, TIMESTAMP'1970-01-01 00:00:00', {column})")
}

/// A batch of another instance that is noted for so long is not merged any more: whoever committed it is gone.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);

/// What another instance does when it has other levels.
fn other_levels(found: &str, own: &RollupLevels) -> RepositoryError {
    RepositoryError::Setup(format!(
        "the rollups of this database are {found} since another instance has set them so, and here they are {own}: give all instances \
         the same setting rollups"
    ))
}

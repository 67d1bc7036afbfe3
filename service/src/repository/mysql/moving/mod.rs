//! Moves readings from one layout into another, while readings go on coming in (`sluicegate migrate --to`).
//!
//! ```text
//! prepare    the tables of the new layout are made beside the old one
//! switch     one RENAME puts them into its place: new readings go there from now on. Whoever loads into the old one is turned
//!            away, and starts anew
//! drain      the old one is emptied in steps, each of them one transaction that is checked before it ends
//! finish     the old one, empty, is dropped
//! ```
//!
//! Where it stands is to be seen from the tables alone, so it may be ended at any time, and begun again.

mod check;
mod drain;
mod ours;
mod partitions;
mod step;
mod switch;
mod trial;

use std::{fmt, time::Duration};

use mysql_async::{Conn, prelude::Queryable as _};

use self::{drain::Drain, step::Tables};
pub use self::{drain::MoveProgress, trial::MoveEstimate};
use super::{
    MySqlSeriesUpkeep, answers,
    connection::Connector,
    error::{explain, explain_to},
    leftover,
    metrics::SeriesMetrics,
    migrations::Layout,
    names::Names,
    series::Bounds,
    table::{self, Held, TableLayout},
};
use crate::{model::SeriesBounds, repository::RepositoryError};

/// What an account of migration is for.
const MOVING: &str = "move readings into another layout (`sluicegate migrate --to`)";
/// A lock's name has at most 64 characters, and a database's too.
const LOCK: &str =
    "SELECT GET_LOCK(CONCAT('sluicegate.move.', LEFT(SHA2(DATABASE(), 256), 40)), ?)";
/// A connection that was lost holds the lock until the server has noticed.
const LOCK_PATIENCE_S: u32 = 30;
/// So long a statement of a move that was killed may go on.
const FIRST_LOCK_PATIENCE_S: u32 = 5;
/// While a change of a table waits for those who use it, others wait behind it.
const DDL_PATIENCE_S: u32 = 3;
const DDL_ATTEMPTS: u32 = 40;
const DDL_PAUSE: Duration = Duration::from_secs(1);

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveExtent {
    /// Tries some steps on copies, and says how long all would take.
    Estimate,
    /// Makes the tables of the new layout, so that accounts can be given rights to them.
    Prepare,
    /// To the end.
    All,
}

/// What is to be moved.
#[derive(Clone, Copy, Debug)]
pub struct MoveOrder {
    pub to: Layout,
    pub extent: MoveExtent,
    /// Readings a second at the most; None for as many as the database takes.
    pub max_rate: Option<u32>,
    /// Readings that are moved in one transaction, at the most.
    pub step_readings: u32,
}

/// The readings of a partition that were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedPartition {
    /// Empty for a table without partitions.
    pub name: String,
    pub readings: u64,
    /// The sum of a checksum of each, taken before and behind.
    pub checksum: String,
}

/// What became of an order.
#[derive(Debug)]
pub enum Moved {
    /// All readings are in that layout.
    Nothing,
    Estimated(MoveEstimate),
    Prepared,
    All(Vec<MovedPartition>),
}

/// From which layout to which.
#[derive(Clone, Copy, Debug)]
struct Way {
    from: TableLayout,
    to: TableLayout,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.from, self.to)
    }
}

/// Where it stands.
enum Standing {
    Done,
    NotBegun(Way),
    /// New readings go to the new layout already.
    Begun(Way),
}

/// Who moves.
pub(super) struct Mover<'a> {
    pub(super) connector: &'a Connector,
    pub(super) series_bounds: SeriesBounds,
    pub(super) series_metrics: SeriesMetrics,
    /// For how long a database that does not answer is waited for.
    pub(super) patience: Duration,
}

impl Mover<'_> {
    pub(super) async fn run(
        &self,
        mut conn: Conn,
        order: MoveOrder,
        told: &(dyn Fn(MoveProgress) + Send + Sync),
    ) -> Result<Moved, RepositoryError> {
        lock(&mut conn, FIRST_LOCK_PATIENCE_S).await?;
        // MySQL's own copy of the estimates is up to a day old. MariaDB has none, and does not know the variable.
        let _ = run(&mut conn, "SET SESSION information_schema_stats_expiry = 0").await;
        let way = match standing(&mut conn, order.to).await? {
            Standing::Done => return Ok(Moved::Nothing),
            Standing::Begun(way) if order.extent == MoveExtent::Prepare => {
                tracing::info!(%way, "the move has begun already");
                return Ok(Moved::Prepared);
            }
            Standing::Begun(way) => {
                tracing::info!(%way, "going on with the move");
                if order.extent == MoveExtent::Estimate {
                    let tables = Tables::of(&mut conn, way, way.from.moving_table()).await?;
                    let tried = trial::estimate(&mut conn, way, &tables, order.step_readings);
                    return tried.await.map(Moved::Estimated);
                }
                way
            }
            Standing::NotBegun(way) => {
                self.check(&mut conn, way).await?;
                if order.extent == MoveExtent::Estimate {
                    let tables = Tables::of(&mut conn, way, way.from.table()).await?;
                    let tried = trial::estimate(&mut conn, way, &tables, order.step_readings);
                    return tried.await.map(Moved::Estimated);
                }
                switch::prepare(&mut conn, way).await?;
                if order.extent == MoveExtent::Prepare {
                    return Ok(Moved::Prepared);
                }
                switch::switch(&mut conn, way).await?;
                tracing::info!(%way, "new readings go to the new layout from now on");
                way
            }
        };
        let bounds = SeriesBounds {
            // Nobody's, and so nobody's hour.
            new_per_hour: u32::MAX,
            ..self.series_bounds
        };
        let bounds = Bounds::new(bounds, self.series_metrics.clone());
        let drain = Drain::new(self.connector, conn, way, bounds, order);
        let mut conn = drain.finished(self.patience, told).await?;
        switch::finish(&mut conn, way).await.map(Moved::All)
    }

    /// Whether all readings can be moved.
    async fn check(&self, conn: &mut Conn, way: Way) -> Result<(), RepositoryError> {
        // It says itself which column does not hold readings exactly.
        Held::read(conn, way.from, way.from.table(), &Names::default()).await?;
        check::table(conn, way).await?;
        if way.from.is_numbered() {
            let pool = self.connector.pool("move");
            let upkeep = MySqlSeriesUpkeep::new(pool.clone(), None, self.series_metrics.clone());
            let nameless = upkeep.count_nameless().await?;
            drop(upkeep);
            let _ = pool.disconnect().await;
            if nameless.readings > 0 {
                return Err(RepositoryError::Setup(format!(
                    "{} readings have the numbers of {} series that are not there, and so no names to be moved with: restore \
                     the table series, or delete them: DELETE FROM readings WHERE series_id NOT IN (SELECT series_id FROM \
                     series)",
                    nameless.readings, nameless.series
                )));
            }
        }
        Ok(())
    }
}

/// Keeps others from moving at the same time, for as long as the connection lives.
async fn lock(conn: &mut Conn, patience_s: u32) -> Result<(), RepositoryError> {
    let locked: Option<Option<u8>> = conn
        .exec_first(LOCK, (patience_s,))
        .await
        .map_err(explain)?;
    match locked.flatten() {
        Some(1) => {
            let patience = format!("SET SESSION lock_wait_timeout = {DDL_PATIENCE_S}");
            run(conn, &patience).await
        }
        _ => Err(RepositoryError::Setup(
            "another `sluicegate migrate --to` is at work in this database: wait for its end"
                .to_owned(),
        )),
    }
}

async fn standing(conn: &mut Conn, to: Layout) -> Result<Standing, RepositoryError> {
    let current = table::layout(conn, &Names::default()).await?;
    let to = match to {
        Layout::Series => TableLayout::Series,
        Layout::Partitioned => TableLayout::Partitioned,
        Layout::Seed | Layout::Hashed => {
            return Err(RepositoryError::Setup(format!(
                "readings are moved to series, and from there to partitioned, but not to {to}"
            )));
        }
    };
    match leftover::mark(conn, current).await? {
        Some(from) if current == to => Ok(Standing::Begun(Way { from, to })),
        Some(from) => Err(RepositoryError::Setup(format!(
            "readings are still being moved from {from} to {current}: let `sluicegate migrate --to {current}` come to its end \
             first"
        ))),
        None if current == to => Ok(Standing::Done),
        None if current.is_numbered() != to.is_numbered() => {
            Ok(Standing::NotBegun(Way { from: current, to }))
        }
        None => Err(RepositoryError::Setup(format!(
            "readings are moved to series, and from there to partitioned: from {current} to {to} it takes two moves, the first \
             by --to series"
        ))),
    }
}

/// Runs one statement of a move.
async fn run(conn: &mut Conn, statement: &str) -> Result<(), RepositoryError> {
    tracing::debug!(statement, "moving");
    let done = conn.query_drop(statement).await;
    done.map_err(|error| explain_to(MOVING, error))
}

/// Changes a table as soon as those who use it let go of it.
async fn patiently(conn: &mut Conn, statement: &str) -> Result<(), RepositoryError> {
    let mut attempt = 1;
    loop {
        match run(conn, statement).await {
            Err(RepositoryError::Contention(reason)) if attempt < DDL_ATTEMPTS => {
                tracing::info!(reason, attempt, "transactions hold the tables: tried again");
                attempt += 1;
                tokio::time::sleep(DDL_PAUSE).await;
            }
            Err(RepositoryError::Contention(reason)) => {
                return Err(RepositoryError::Contention(format!(
                    "{reason}: a transaction has held the tables for minutes; when it has ended, the same command goes on"
                )));
            }
            done => return done,
        }
    }
}

/// Asks for some rows.
async fn ask<T>(conn: &mut Conn, question: &str) -> Result<Vec<T>, RepositoryError>
where
    T: mysql_async::prelude::FromRow + Send + 'static,
{
    let asked = answers::ask(conn, question).await;
    asked.map_err(|error| explain_to(MOVING, error))
}

/// Asks for one row.
async fn ask_one<T>(conn: &mut Conn, question: &str) -> Result<T, RepositoryError>
where
    T: mysql_async::prelude::FromRow + Send + 'static,
{
    let found = ask(conn, question).await?.pop();
    found.ok_or_else(answers::unexpected)
}

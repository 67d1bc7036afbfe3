//! Empties the old table, partition by partition, whatever comes in between.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mysql_async::Conn;

use super::{
    super::{
        answers,
        connection::Connector,
        leftover::is_gone,
        names::{Names, quoted},
        series::{Bounds, SeriesNumbers},
        table::Held,
    },
    LOCK_PATIENCE_S, MoveOrder, Way, lock, partitions, run,
    step::{Part, Tables},
};
use crate::repository::RepositoryError;

/// Memory for the numbers of series, bytes.
const CACHE_BYTES: usize = 64 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct MoveProgress {
    /// Readings that this run has moved.
    pub moved: u64,
    /// About how many there were when it began.
    pub expected: u64,
    /// Since then.
    pub elapsed: Duration,
}

pub(super) struct Drain<'a> {
    connector: &'a Connector,
    conn: Option<Conn>,
    way: Way,
    bounds: Arc<Bounds>,
    /// Made when the first readings want numbers.
    numbers: Option<SeriesNumbers>,
    order: MoveOrder,
    moved: u64,
    expected: u64,
    began: Instant,
    /// When something was last moved.
    moved_at: Instant,
}

impl<'a> Drain<'a> {
    pub(super) fn new(
        connector: &'a Connector,
        conn: Conn,
        way: Way,
        bounds: Arc<Bounds>,
        order: MoveOrder,
    ) -> Self {
        Self {
            connector,
            conn: Some(conn),
            way,
            bounds,
            numbers: None,
            order,
            moved: 0,
            expected: 0,
            began: Instant::now(),
            moved_at: Instant::now(),
        }
    }

    /// Goes on until the old table is empty. A database that is gone or busy is waited for.
    pub(super) async fn finished(
        mut self,
        patience: Duration,
        told: &(dyn Fn(MoveProgress) + Send + Sync),
    ) -> Result<Conn, RepositoryError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let moved = self.moved;
            match self.round(told).await {
                Ok(conn) => return Ok(conn),
                Err(error) if error.is_retriable() => {
                    if self.moved > moved {
                        pause = FIRST_PAUSE;
                    } else if self.moved_at.elapsed() > patience {
                        return Err(RepositoryError::GaveUp(format!(
                            "gave up after {} s (--connect-deadline-s) without a reading that was moved: {error}; the same \
                             command goes on from here",
                            patience.as_secs()
                        )));
                    }
                    tracing::warn!(reason = %error, "the step is tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One way through the table, with one connection.
    async fn round(
        &mut self,
        told: &(dyn Fn(MoveProgress) + Send + Sync),
    ) -> Result<Conn, RepositoryError> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let mut conn = self.connector.connect().await?;
                lock(&mut conn, LOCK_PATIENCE_S).await?;
                conn
            }
        };
        match self.empty(&mut conn, told).await {
            Ok(()) => Ok(conn),
            Err(error) => {
                // It may be in the middle of a transaction, which ends with it.
                answers::cut(conn);
                Err(error)
            }
        }
    }

    async fn empty(
        &mut self,
        conn: &mut Conn,
        told: &(dyn Fn(MoveProgress) + Send + Sync),
    ) -> Result<(), RepositoryError> {
        let table = self.way.from.moving_table();
        match run(conn, &format!("SELECT 1 FROM {table} LIMIT 0")).await {
            // An earlier run dropped it, and was ended before it could say so.
            Err(error) if is_gone(&error) => return Ok(()),
            asked => asked?,
        }
        if self.expected == 0 {
            self.expected = partitions::size(conn, table).await?.0;
        }
        let tables = Tables::of(conn, self.way, table).await?;
        if !tables.from_numbered && self.numbers.is_none() {
            let limits = Held::read(conn, self.way.to, self.way.to.table(), &Names::default())
                .await?
                .limits;
            let bounds = self.bounds.clone();
            let to = self.way.to.table();
            self.numbers = Some(SeriesNumbers::new(CACHE_BYTES, limits, bounds, to));
        }
        let names = partitions::of(conn, table).await?;
        for (index, partition) in names.iter().enumerate() {
            let part = Part {
                tables: &tables,
                partition,
            };
            while !part.is_empty(conn).await? {
                self.walk(conn, &part, told).await?;
            }
            // A table keeps its last partition until it goes itself.
            if index + 1 < names.len() {
                drop_partition(conn, table, partition).await?;
            }
        }
        Ok(())
    }

    /// Once through a partition.
    async fn walk(
        &mut self,
        conn: &mut Conn,
        part: &Part<'_>,
        told: &(dyn Fn(MoveProgress) + Send + Sync),
    ) -> Result<(), RepositoryError> {
        let mut after = None;
        loop {
            let numbers = self.numbers.as_ref();
            let step = part.step(conn, after.as_ref(), self.order.step_readings, numbers);
            let Some(done) = step.await? else {
                return Ok(());
            };
            self.moved += done.readings;
            self.moved_at = Instant::now();
            after = Some(done.last);
            told(MoveProgress {
                moved: self.moved,
                expected: self.expected,
                elapsed: self.began.elapsed(),
            });
            if let Some(rate) = self.order.max_rate {
                let due = Duration::from_secs_f64(self.moved as f64 / f64::from(rate.max(1)));
                tokio::time::sleep(due.saturating_sub(self.began.elapsed())).await;
                self.moved_at = Instant::now();
            }
        }
    }
}

/// Gives back the room of a partition from which all readings are moved. Nothing puts readings into it any more.
async fn drop_partition(
    conn: &mut Conn,
    table: &str,
    partition: &str,
) -> Result<(), RepositoryError> {
    let sql = format!("ALTER TABLE {table} DROP PARTITION {}", quoted(partition));
    match run(conn, &sql).await {
        Err(RepositoryError::Contention(reason)) => {
            tracing::info!(reason, partition, "the empty partition goes with the table");
            Ok(())
        }
        done => done,
    }
}

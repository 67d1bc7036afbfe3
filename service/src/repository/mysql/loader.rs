//! The commit protocol: one batch, one transaction, stored once whatever happens in between.
//!
//! ```text
//! SET wait_timeout = …                          a service that falls silent from here on loses its locks
//! START TRANSACTION
//! SELECT … FROM ingest_streams … FOR UPDATE     fence, and drop what is there already
//! LOAD DATA LOCAL INFILE …                      from memory; all four counts verified, else rolled back
//! INSERT INTO rejected_readings …
//! INSERT INTO ingest_streams … ON DUPLICATE KEY UPDATE …
//! COMMIT
//! SET wait_timeout = DEFAULT
//! ```
//!
//! The lane's own ledger row answers "did my COMMIT happen?": the next attempt ends the lost connection, begins with the
//! same locking read, which waits for that connection's transaction to end, and finds the batch's number there or not.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{self, AtomicU32},
    },
};

use async_trait::async_trait;
use mysql_async::{Conn, prelude::Queryable as _};
use tracing::{debug, error, warn};

use super::{
    claim,
    connection::{Connector, SILENCE_LIMIT_S},
    error::explain,
    ids::{IdBlock, IdShare, RowIds},
    infile::Infile,
    ledger::{quote, take_over},
    quarantine,
    table::Table,
    tsv::SeriesTexts,
};
use crate::{
    failpoint,
    ledger::{LedgerGain, PartOutcome, Plan, plan},
    model::{Epoch, Fault, KeptSeries, Rejection, Seq, StreamId, StreamPosition},
    repository::{BatchLoader, LoadBatch, RepositoryError},
};

/// Ids of the batch that is being loaded; they stay when it is loaded again.
struct Assigned {
    batch: Seq,
    ids: RowIds,
}

/// An attempt that sent its COMMIT and may not have heard the reply.
struct Unheard {
    batch: Seq,
    outcomes: Vec<PartOutcome>,
}

/// Loads the batches of one lane over one connection.
pub(super) struct Loader {
    connector: Connector,
    table: Arc<Table>,
    lane: StreamId,
    lane_epoch: Epoch,
    committed_batch: Seq,
    conn: Option<Conn>,
    ids: IdBlock,
    share: IdShare,
    assigned: Option<Assigned>,
    unheard: Option<Unheard>,
}

impl Loader {
    /// Connects and takes the lane's ledger row over. The lane's readings get ids of that share.
    pub(super) async fn open(
        connector: Connector,
        table: Arc<Table>,
        lane: StreamId,
        share: IdShare,
    ) -> Result<Self, RepositoryError> {
        let mut conn = connector.connect().await?;
        claim::take(&mut conn, &lane).await?;
        let position = take_over(&mut conn, &lane).await?.position;
        Ok(Self {
            connector,
            table,
            lane,
            lane_epoch: position.epoch,
            committed_batch: position.committed_seq,
            conn: Some(conn),
            ids: IdBlock::default(),
            share,
            assigned: None,
            unheard: None,
        })
    }

    async fn attempt(
        &mut self,
        conn: &mut Conn,
        batch: &Arc<dyn LoadBatch>,
    ) -> Result<Vec<PartOutcome>, RepositoryError> {
        let ids = self.ids_of(conn, batch.as_ref()).await?;
        let mut ledger = self.begin(conn, batch.as_ref()).await?;
        if failpoint::is_set("ledger-ignored") {
            self.ignore(&mut ledger, batch.as_ref());
        }
        let lane = self.check_lane(&ledger)?;
        if lane.committed_seq >= batch.number() {
            // Nothing is left to do, so the rows that the question locked are let go of before the answer.
            conn.query_drop("ROLLBACK; SET wait_timeout = DEFAULT")
                .await
                .map_err(explain)?;
            return self.already_committed(batch.number());
        }
        let mut plan = plan(batch.parts(), batch.rejections(), &ledger);
        let mut load = RangeLoad {
            conn,
            table: &self.table,
            batch,
            texts: Arc::new(SeriesTexts::of(batch.as_ref())),
            ids,
            dropped: Arc::new(plan.dropped.clone()),
        };
        let refused = load.load_or_bisect(0..batch.rows()).await?;
        failpoint::crash("load");
        for (arrival, rejection) in refused {
            plan.refuse(batch.parts(), arrival, rejection, batch.rejections());
        }
        quarantine::insert(conn, quarantined(&plan, batch.as_ref())).await?;
        let update = self.ledger_update(&mut plan, lane, batch.number());
        // From here on the reply may be lost while the COMMIT is not.
        self.unheard = Some(Unheard {
            batch: batch.number(),
            outcomes: plan.outcomes.clone(),
        });
        // Between batches the connection may rest again.
        conn.query_drop(update + "; COMMIT; SET wait_timeout = DEFAULT")
            .await
            .map_err(explain)?;
        failpoint::crash("commit");
        Ok(plan.outcomes)
    }

    /// Ids for the batch, taken once, outside of the transaction.
    async fn ids_of(
        &mut self,
        conn: &mut Conn,
        batch: &dyn LoadBatch,
    ) -> Result<RowIds, RepositoryError> {
        if !self.table.format.with_id {
            return Ok(RowIds::default());
        }
        match &self.assigned {
            Some(assigned) if assigned.batch == batch.number() => Ok(assigned.ids),
            _ => {
                let ids = self.ids.take(conn, batch.rows(), self.share).await?;
                self.assigned = Some(Assigned {
                    batch: batch.number(),
                    ids,
                });
                Ok(ids)
            }
        }
    }

    /// Begins the transaction and locks the ledger rows of the lane and of every stream in the batch.
    async fn begin(
        &self,
        conn: &mut Conn,
        batch: &dyn LoadBatch,
    ) -> Result<BTreeMap<StreamId, StreamPosition>, RepositoryError> {
        let streams = batch.parts().iter().filter_map(|part| part.stream.as_ref());
        let by_name: BTreeMap<&str, &StreamId> = streams
            .map(|(stream, _)| (stream.as_str(), stream))
            .chain([(self.lane.as_str(), &self.lane)])
            .collect();
        let names: Vec<String> = by_name.keys().map(|name| quote(name)).collect();
        // FORCE INDEX: a small table would be scanned, and that would wait for the rows of other lanes.
        let sql = format!(
            "SET wait_timeout = {SILENCE_LIMIT_S}; START TRANSACTION; SELECT stream_id, epoch, committed_seq FROM ingest_streams FORCE INDEX (PRIMARY) \
             WHERE stream_id IN ({}) FOR UPDATE",
            names.join(",")
        );
        let mut results = conn.query_iter(sql).await.map_err(explain)?;
        for _without_rows in ["SET", "START TRANSACTION"] {
            results
                .for_each(|_: mysql_async::Row| ())
                .await
                .map_err(explain)?;
        }
        let rows: Vec<(String, u64, u64)> = results.collect().await.map_err(explain)?;
        results.drop_result().await.map_err(explain)?;
        let found = rows.into_iter().filter_map(|(name, epoch, committed_seq)| {
            let stream = (*by_name.get(name.as_str())?).clone();
            let position = StreamPosition {
                epoch: Epoch(epoch),
                committed_seq: Seq(committed_seq),
            };
            Some((stream, position))
        });
        Ok(found.collect())
    }

    /// Takes every part for the rightful next one. Only for the fault suite, which has to notice.
    fn ignore(&self, ledger: &mut BTreeMap<StreamId, StreamPosition>, batch: &dyn LoadBatch) {
        for part in batch.parts().iter().rev() {
            if let Some((stream, epoch)) = &part.stream {
                let position = StreamPosition {
                    epoch: *epoch,
                    committed_seq: part.first_seq.before(),
                };
                ledger.insert(stream.clone(), position);
            }
        }
        let lane = StreamPosition {
            epoch: self.lane_epoch,
            committed_seq: batch.number().before(),
        };
        ledger.insert(self.lane.clone(), lane);
    }

    /// The lane's position, if the row is still as this process left it. Epochs only rise, so a lower one, or none, is
    /// not a successor's doing.
    fn check_lane(
        &self,
        ledger: &BTreeMap<StreamId, StreamPosition>,
    ) -> Result<StreamPosition, RepositoryError> {
        let Some(position) = ledger.get(&self.lane) else {
            return Err(self.forgotten("its row is gone".to_owned()));
        };
        let (found, own) = (position.epoch, self.lane_epoch);
        match found.cmp(&own) {
            Ordering::Equal => {}
            Ordering::Less => {
                let found = format!("its row has the epoch {found}, and had {own}");
                return Err(self.forgotten(found));
            }
            Ordering::Greater => {
                let lane = self.lane.clone();
                return Err(RepositoryError::LaneFenced { lane });
            }
        }
        if position.committed_seq < self.committed_batch {
            error!(
                lane = self.lane.as_str(),
                found = position.committed_seq.0,
                committed = self.committed_batch.0,
                "the database has lost batches that it had committed"
            );
        }
        Ok(*position)
    }

    /// The COMMIT of an earlier attempt did happen: only its reply was lost.
    fn already_committed(&mut self, number: Seq) -> Result<Vec<PartOutcome>, RepositoryError> {
        match self.unheard.take() {
            Some(unheard) if unheard.batch == number => {
                debug!(batch = number.0, "committed although the reply was lost");
                Ok(unheard.outcomes)
            }
            _ => {
                let found = format!("its row counts batch {number}, which is not committed yet");
                Err(self.forgotten(found))
            }
        }
    }

    fn forgotten(&self, found: String) -> RepositoryError {
        RepositoryError::LaneForgotten {
            lane: self.lane.clone(),
            found,
        }
    }

    fn ledger_update(&self, plan: &mut Plan, lane: StreamPosition, number: Seq) -> String {
        let mut own = LedgerGain::at(lane);
        own.committed_seq = number;
        own.add(plan.anonymous.0, plan.anonymous.1, 0);
        let rows: Vec<String> = plan
            .gains
            .iter()
            .chain([(&self.lane, &own)])
            .map(|(stream, gain)| {
                let LedgerGain { epoch, committed_seq, committed, rejected, duplicate } = gain;
                format!(
                    "({},{epoch},{committed_seq},{committed},{rejected},{duplicate},UTC_TIMESTAMP(6),UTC_TIMESTAMP(6))",
                    quote(stream.as_str())
                )
            })
            .collect();
        format!(
            "INSERT INTO ingest_streams (stream_id, epoch, committed_seq, committed, rejected, duplicate, created_at, \
             updated_at) VALUES {} ON DUPLICATE KEY UPDATE committed_seq = VALUES(committed_seq), \
             committed = committed + VALUES(committed), rejected = rejected + VALUES(rejected), \
             duplicate = duplicate + VALUES(duplicate), updated_at = VALUES(updated_at)",
            rows.join(",")
        )
    }
}

fn quarantined<'a>(
    plan: &'a Plan,
    batch: &'a dyn LoadBatch,
) -> impl Iterator<Item = (Option<&'a StreamId>, &'a Rejection)> {
    let stream_of = |part: usize| {
        batch.parts()[part]
            .stream
            .as_ref()
            .map(|(stream, _)| stream)
    };
    let by_validation = plan
        .quarantined
        .iter()
        .map(move |&(part, rejection)| (stream_of(part), &batch.rejections()[rejection]));
    let by_database = plan
        .outcomes
        .iter()
        .enumerate()
        .flat_map(move |(part, outcome)| {
            let found = match outcome {
                PartOutcome::Stored {
                    found_by_database, ..
                } => found_by_database.as_slice(),
                _ => &[],
            };
            found
                .iter()
                .map(move |rejection| (stream_of(part), rejection))
        });
    by_validation.chain(by_database)
}

#[async_trait]
impl BatchLoader for Loader {
    async fn load(
        &mut self,
        batch: Arc<dyn LoadBatch>,
    ) -> Result<Vec<PartOutcome>, RepositoryError> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let mut conn = self.connector.connect().await?;
                claim::take(&mut conn, &self.lane).await?;
                conn
            }
        };
        let (connector, lane) = (self.connector.clone(), self.lane.clone());
        let result = tokio::select! {
            result = self.attempt(&mut conn, &batch) => result,
            // A statement that is dropped leaves its connection out of step, and that one is dropped with it.
            () = claim::lost(&connector, &lane) => Err(RepositoryError::Unreachable(
                "the connection is lost, although nothing said so".to_owned(),
            )),
        };
        match &result {
            Ok(_) => {
                self.conn = Some(conn);
                self.committed_batch = batch.number();
                self.assigned = None;
                self.unheard = None;
            }
            // The connection may be in the middle of anything: closing it rolls back. The next attempt has a new one.
            Err(reason) => {
                debug!(%reason, "rolled back");
                drop(conn);
                if matches!(reason, RepositoryError::Other(_)) {
                    self.assigned = None;
                    self.ids.discard();
                }
            }
        }
        result
    }

    fn committed_batch(&self) -> Seq {
        self.committed_batch
    }
}

/// LOAD statements of one batch, inside its transaction.
struct RangeLoad<'a> {
    conn: &'a mut Conn,
    table: &'a Table,
    batch: &'a Arc<dyn LoadBatch>,
    texts: Arc<SeriesTexts>,
    ids: RowIds,
    dropped: Arc<Vec<Range<u32>>>,
}

impl RangeLoad<'_> {
    /// Loads the rows. Where the database refuses the data, halves the range until the offenders are found; they are
    /// returned, everything else is loaded (P5).
    async fn load_or_bisect(
        &mut self,
        positions: Range<u32>,
    ) -> Result<Vec<(u32, Rejection)>, RepositoryError> {
        let mut refused = Vec::new();
        let mut ranges = vec![positions];
        while let Some(range) = ranges.pop() {
            let reason = match self.load(range.clone()).await {
                Ok(()) => continue,
                Err(RepositoryError::Data(reason)) => reason,
                Err(other) => return Err(other),
            };
            // A failed statement is undone by itself; one that coerced or skipped rows is not.
            self.conn
                .query_drop("ROLLBACK TO SAVEPOINT before_load")
                .await
                .map_err(explain)?;
            if range.len() > 1 {
                let middle = range.start + range.len() as u32 / 2;
                ranges.extend([middle..range.end, range.start..middle]);
                continue;
            }
            let (arrival, reading) = self.batch.row(range.start);
            warn!(%reason, "the database refuses a reading: it goes into quarantine");
            let series = &reading.series;
            refused.push((
                arrival,
                Rejection {
                    seq: Seq(0),
                    fault: Fault::RefusedByDatabase(reason),
                    series: KeptSeries::of(series.id1, &series.id2, &series.sensor_type),
                    sensor_value: reading.sensor_value,
                    timestamp_us: reading.timestamp_us,
                },
            ));
        }
        Ok(refused)
    }

    async fn load(&mut self, positions: Range<u32>) -> Result<(), RepositoryError> {
        if positions.is_empty() {
            return Ok(());
        }
        let sent = Arc::new(AtomicU32::new(0));
        let file = Infile {
            batch: self.batch.clone(),
            texts: self.texts.clone(),
            positions,
            dropped: self.dropped.clone(),
            format: self.table.format,
            ids: self.ids,
            sent: sent.clone(),
        };
        self.conn
            .set_infile_handler(async move { Ok(file.chunks()) });
        let statement = format!("SAVEPOINT before_load; {}", self.table.load_statement);
        self.conn.query_drop(statement).await.map_err(explain)?;
        verify(&self.conn.info(), sent.load(atomic::Ordering::Relaxed))
    }
}

/// The server's own counts must be exactly what was sent: a coerced value is a warning, a skipped row a duplicate id.
fn verify(info: &str, sent: u32) -> Result<(), RepositoryError> {
    let expected = format!("Records: {sent}  Deleted: 0  Skipped: 0  Warnings: 0");
    if info == expected {
        return Ok(());
    }
    if count(info, "Deleted: ") != Some(0) {
        return Err(RepositoryError::Other(format!(
            "ids are in use already ({info})"
        )));
    }
    Err(RepositoryError::Data(format!(
        "stored it differently ({info})"
    )))
}

fn count(info: &str, label: &str) -> Option<u64> {
    let rest = info.split_once(label)?.1;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_of_the_four_counts_is_verified() {
        assert!(verify("Records: 3  Deleted: 0  Skipped: 0  Warnings: 0", 3).is_ok());
        for info in [
            "Records: 2  Deleted: 0  Skipped: 0  Warnings: 0",
            "Records: 3  Deleted: 0  Skipped: 1  Warnings: 0",
            "Records: 3  Deleted: 0  Skipped: 0  Warnings: 1",
        ] {
            assert!(
                matches!(verify(info, 3), Err(RepositoryError::Data(_))),
                "{info}"
            );
        }
        for info in ["Records: 3  Deleted: 1  Skipped: 0  Warnings: 0", ""] {
            assert!(
                matches!(verify(info, 3), Err(RepositoryError::Other(_))),
                "{info}"
            );
        }
    }
}

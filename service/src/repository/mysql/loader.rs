//! The commit protocol: one batch, one transaction, stored once whatever happens in between.
//!
//! ```text
//! SET wait_timeout = …                          a service that falls silent from here on loses its locks
//! START TRANSACTION
//! SELECT … FROM ingest_streams … FOR UPDATE     fence, and drop what is there already
//! LOAD DATA LOCAL INFILE …                      from memory; rows and warnings counted, else rolled back
//! INSERT INTO rejected_readings …
//! INSERT INTO ingest_streams … ON DUPLICATE KEY UPDATE …
//! COMMIT
//! SET wait_timeout = DEFAULT
//! ```
//!
//! The lane's own ledger row answers "did my COMMIT happen?": the next attempt ends the lost connection, begins with the
//! same locking read, which waits for that connection's transaction to end, and finds the batch's number there or not.

mod beginning;
mod dividing;
mod standing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use mysql_async::{Conn, prelude::Queryable as _};
use tracing::{Instrument as _, debug, info, warn};

use self::beginning::Begun;
use super::{
    answers,
    claim::{self, Claim},
    connection::Connector,
    control::{self, Control, Taken},
    error::explain,
    ids::{IdBlock, IdShare},
    ledger::{position_of, take_over},
    presence::Presence,
    quarantine, rollups,
    row_load::{Found, RowLoad},
    series::{self, Numbers, OfBatch, SeriesNumbers},
    shape::Shape,
    table::Table,
    tsv::{SeriesNames, SeriesTexts},
};
use crate::{
    failpoint,
    ledger::{LoadPart, PartOutcome, drop_more, plan},
    model::{Epoch, Seq, StreamId, StreamPosition},
    repository::{
        CommitMark, CommitMarks, LoadBatch, Loaded, Noted, NotedBatch, RepositoryError, RowIds,
        StoredRows, Untold,
    },
    telemetry::spans,
};

/// Ids of the batch that is being loaded; they stay when it is loaded again.
struct Assigned {
    batch: Seq,
    rows: u32,
    ids: RowIds,
}

/// An attempt that sent its COMMIT and may not have heard the reply.
struct Unheard {
    batch: Seq,
    outcomes: Vec<PartOutcome>,
}

/// Loads the batches of one lane over one connection.
pub struct Loader {
    connector: Connector,
    table: Arc<Table>,
    /// The table as it was found last.
    shape: Shape,
    lane: StreamId,
    lane_epoch: Epoch,
    committed_batch: Seq,
    conn: Option<Conn>,
    /// The connection that had the claim last, to know it again when it is lost.
    own_id: Option<u32>,
    ids: IdBlock,
    share: IdShare,
    /// None where readings bring their names along.
    series: Option<Arc<SeriesNumbers>>,
    assigned: Option<Assigned>,
    unheard: Option<Unheard>,
    /// What a refusal is held against.
    control: Control,
    /// Errors of unknown meaning that the current batch has met.
    puzzles: u32,
    presence: Presence,
    /// For whoever keeps copies of what it commits.
    mark: Arc<CommitMark>,
}

/// So often a load that failed for no known reason is tried again; then its readings are looked at one by one, and where it
/// is the COMMIT that fails the batch is divided.
const PUZZLES_MAX: u32 = 3;

/// How long a lane that rests waits for a sign of life: readings may come meanwhile.
const KEEP_ALIVE_DEADLINE: Duration = Duration::from_secs(2);

impl Loader {
    /// Connects and takes the lane's ledger row over. The lane's readings get ids of that share. The probe is the reading
    /// that the table took at start.
    pub(super) async fn open(
        connector: Connector,
        table: Arc<Table>,
        lane: StreamId,
        share: IdShare,
        probe: Option<Taken>,
        (series, marks): (Option<Arc<SeriesNumbers>>, &CommitMarks),
    ) -> Result<Self, RepositoryError> {
        let mut conn = connector.connect().await?;
        if let Claim::Held(holder) = claim::take(&mut conn, &lane, None).await? {
            return Err(RepositoryError::LaneHeld { lane, holder });
        }
        let position = take_over(&mut conn, &lane).await?.position;
        Ok(Self {
            mark: marks.add(&lane, position.epoch, position.committed_seq),
            connector,
            shape: table.shape.clone(),
            table,
            lane,
            lane_epoch: position.epoch,
            committed_batch: position.committed_seq,
            own_id: Some(conn.id()),
            conn: Some(conn),
            ids: IdBlock::default(),
            share,
            series,
            assigned: None,
            unheard: None,
            control: Control { last: None, probe },
            puzzles: 0,
            presence: Presence::written_now(),
        })
    }

    async fn connection(&mut self) -> Result<Conn, RepositoryError> {
        if let Some(conn) = self.conn.take() {
            return Ok(conn);
        }
        let mut conn = self.connector.connect().await?;
        match claim::take(&mut conn, &self.lane, self.own_id).await? {
            Claim::Taken => {
                self.own_id = Some(conn.id());
                Ok(conn)
            }
            Claim::Held(holder) => Err(self.held(&mut conn, holder).await?),
        }
    }

    /// What it means that another process has the lane's claim: one that has taken the lane over raised its epoch, and
    /// otherwise it is about to.
    async fn held(
        &self,
        conn: &mut Conn,
        holder: String,
    ) -> Result<RepositoryError, RepositoryError> {
        let lane = self.lane.clone();
        let found = position_of(conn, &lane).await?;
        Ok(match found {
            Some(position) if position.epoch > self.lane_epoch => {
                RepositoryError::LaneFenced { lane }
            }
            _ => RepositoryError::LaneHeld { lane, holder },
        })
    }

    /// The batch is committed: nothing of it is needed any longer.
    fn leave(&mut self, number: Seq) {
        self.committed_batch = number;
        self.assigned = None;
        self.unheard = None;
        self.puzzles = 0;
    }

    fn take_note(&mut self, reason: &RepositoryError, number: Seq) {
        if matches!(reason, RepositoryError::Other(_)) {
            debug!(batch = number.0, "new ids, and another look");
            self.puzzles += 1;
            self.assigned = None;
            self.ids.discard();
        }
    }

    async fn attempt(
        &mut self,
        conn: &mut Conn,
        batch: &Arc<dyn LoadBatch>,
        refused_max: usize,
    ) -> Result<Loaded, RepositoryError> {
        let ids = self.ids_of(conn, batch.as_ref()).await?;
        let numbers = self.numbers_of(conn, batch.as_ref()).await?;
        let Begun {
            mut ledger,
            shape,
            proven,
            every_us,
        } = self.begin(conn, batch.as_ref(), Some(&numbers)).await?;
        if failpoint::is_set("ledger-ignored") {
            self.ignore(&mut ledger, batch.as_ref());
        }
        let lane = self.check_lane(&ledger)?;
        if lane.committed_seq >= batch.number() {
            // Nothing is left to do, so the rows that the question locked are let go of before the answer.
            rest(conn, "ROLLBACK").await?;
            return Ok(Loaded::Committed {
                outcomes: self.already_committed(batch.number())?,
                series: Arc::default(),
                stored: None,
                untold: Untold::new(&self.mark, batch.number()),
                noted: self.noted(batch.number(), every_us),
            });
        }
        self.forget_commit(batch.number());
        if shape != self.shape {
            self.table.expect_as_good(conn).await?;
            info!("the table was altered, and still holds readings exactly");
            self.shape = shape;
        }
        if let (false, Some(series)) = (proven, &self.series) {
            return Err(series.is_of_another_table(numbers.era));
        }
        let mut plan = plan(batch.parts(), batch.rejections(), &ledger);
        let unnamed = series::rows_of(batch.as_ref(), &numbers.refused, &plan.dropped);
        let without_name: Vec<u32> = unnamed.iter().map(|&(arrival, _)| arrival).collect();
        let dropped = drop_more(&plan.dropped, &without_name);
        let mut rows = RowLoad {
            conn,
            table: &self.table,
            batch,
            names: Arc::new(match self.series {
                Some(_) => SeriesNames::Numbers(numbers.numbers.clone()),
                None => SeriesNames::Texts(SeriesTexts::of(batch.as_ref())),
            }),
            ids,
            dropped: Arc::new(dropped),
            unnamed,
            control: &self.control,
            puzzled: self.puzzles >= PUZZLES_MAX,
            is_too_long: false,
            has_no_parent: false,
        };
        let loading = Instant::now();
        let load = rows.load(refused_max);
        let refused = match load.instrument(spans::load(batch.rows())).await? {
            Found::Refused(refused) => refused,
            Found::TooMany { arrivals, reason } => {
                rest(conn, "ROLLBACK").await?;
                warn!(
                    batch = batch.number().0,
                    reason, "the database refuses many readings: they go on by themselves"
                );
                return Ok(Loaded::Offending(parts_of(batch.parts(), &arrivals)));
            }
        };
        failpoint::crash("load");
        self.connector.metrics().loaded(loading.elapsed());
        let committing = Instant::now();
        quarantine::report(batch.number(), &refused);
        let control = control::last_taken(batch.as_ref(), &numbers, &plan.dropped, &refused);
        let arrivals: Vec<u32> = refused.iter().map(|&(arrival, _)| arrival).collect();
        let left_out = drop_more(&plan.dropped, &arrivals);
        for (arrival, rejection) in refused {
            plan.refuse(batch.parts(), arrival, rejection, batch.rejections());
        }
        quarantine::insert(conn, quarantine::of_batch(&plan, batch.as_ref())).await?;
        let mut update = self.ledger_update(&mut plan, lane, batch.number());
        let noted = self.noted(batch.number(), every_us);
        if noted.is_some() {
            update += "; ";
            update += &rollups::note(&self.lane, batch.number(), batch.as_ref(), every_us);
        }
        // From here on the reply may be lost while the COMMIT is not.
        self.mark.sends_commit(batch.number(), committing);
        self.unheard = Some(Unheard {
            batch: batch.number(),
            outcomes: plan.outcomes.clone(),
        });
        // Between batches the connection may rest again.
        let commit = update + "; COMMIT";
        rest(conn, &commit).instrument(spans::commit()).await?;
        failpoint::crash("commit");
        self.connector.metrics().committed(committing.elapsed());
        if control.is_some() {
            self.control.last = control;
        }
        Ok(Loaded::Committed {
            outcomes: plan.outcomes,
            series: numbers.numbers,
            stored: Some(StoredRows { left_out, ids }),
            untold: Untold::new(&self.mark, batch.number()),
            noted,
        })
    }

    /// That a batch is noted for rollups, where there are any.
    fn noted(&self, number: Seq, every_us: i64) -> Option<Noted> {
        let lane = self.lane.clone();
        (every_us > 0).then_some(Noted {
            batch: NotedBatch { lane, number },
            every_us,
        })
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
            Some(assigned) if (assigned.batch, assigned.rows) == (batch.number(), batch.rows()) => {
                Ok(assigned.ids)
            }
            _ => {
                let ids = self
                    .ids
                    .take(conn, &self.table.counter, (batch.rows(), self.share))
                    .await?;
                self.assigned = Some(Assigned {
                    batch: batch.number(),
                    rows: batch.rows(),
                    ids,
                });
                Ok(ids)
            }
        }
    }

    /// The numbers of the batch's series, outside of the transaction.
    async fn numbers_of(
        &self,
        conn: &mut Conn,
        batch: &dyn LoadBatch,
    ) -> Result<Numbers, RepositoryError> {
        match &self.series {
            Some(series) => series.of(conn, OfBatch::new(batch)).await,
            None => Ok(Numbers::none()),
        }
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

    /// Loads a batch. May be called again with the same batch after an error, and has to be with this batch before any
    /// other: it is stored once, whatever happened to the first call. Readings that only the database refuses are
    /// looked for until there are more than `refused_max`.
    pub(crate) async fn load(
        &mut self,
        batch: Arc<dyn LoadBatch>,
        refused_max: usize,
    ) -> Result<Loaded, RepositoryError> {
        let mut conn = self.connection().await?;
        let (connector, lane) = (self.connector.clone(), self.lane.clone());
        let result = tokio::select! {
            result = self.attempt(&mut conn, &batch, refused_max) => result,
            // A statement that is dropped leaves its connection out of step, and that one is dropped with it.
            () = claim::lost(&connector, &lane) => Err(RepositoryError::Unreachable(
                "the connection is lost, although nothing said so".to_owned(),
            )),
        };
        match result {
            Ok(loaded) => {
                self.conn = Some(conn);
                match loaded {
                    Loaded::Committed { .. } => self.leave(batch.number()),
                    // Another batch may come under its number.
                    Loaded::TooBig(_) | Loaded::Offending(_) => self.assigned = None,
                }
                Ok(loaded)
            }
            // The connection may be in the middle of anything: closing it rolls back. The next attempt has a new one.
            Err(reason) => {
                debug!(%reason, "rolled back");
                answers::cut(conn);
                match reason {
                    RepositoryError::TooBig(reason) => self.too_big(&batch, reason).await,
                    // Perhaps a limit that nobody has told of.
                    RepositoryError::Other(reason) if self.commit_puzzles() => {
                        self.too_big(&batch, reason).await
                    }
                    other => {
                        self.take_note(&other, batch.number());
                        Err(other)
                    }
                }
            }
        }
    }

    /// Lets the database hear of a lane that has nothing to load: a silent one is taken over by the next process of the
    /// same name.
    ///
    /// # Errors
    /// When the lane is lost to another process for good; nothing else matters before there is something to load.
    pub(crate) async fn keep_alive(&mut self) -> Result<(), RepositoryError> {
        let pinging = async {
            let mut conn = self.connection().await?;
            self.presence.show(&mut conn, &self.lane).await?;
            Ok::<Conn, RepositoryError>(conn)
        };
        // A connection that fails, or is given up in the middle of a question, is not used again.
        match tokio::time::timeout(KEEP_ALIVE_DEADLINE, pinging).await {
            Ok(Ok(conn)) => self.conn = Some(conn),
            Ok(Err(reason)) if reason.refusal().is_none() => return Err(reason),
            Ok(Err(reason)) => debug!(%reason, "the database does not hear of the lane"),
            Err(_) => debug!("the database does not hear of the lane in time"),
        }
        Ok(())
    }

    /// The number of the last batch that this lane has committed.
    pub(crate) fn committed_batch(&self) -> Seq {
        self.committed_batch
    }
}

/// Ends the transaction, in one message with the end of the limit on silence.
async fn rest(conn: &mut Conn, end: &str) -> Result<(), RepositoryError> {
    conn.query_drop(format!("{end}; SET wait_timeout = DEFAULT"))
        .await
        .map_err(explain)
}

/// The parts that hold these rows, ascending.
fn parts_of(parts: &[LoadPart], arrivals: &[u32]) -> Vec<usize> {
    let holds = |&arrival: &u32| parts.partition_point(|part| part.rows.end <= arrival);
    let parts: BTreeSet<usize> = arrivals.iter().map(holds).collect();
    parts.into_iter().collect()
}

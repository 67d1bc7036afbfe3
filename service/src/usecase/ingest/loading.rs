//! Drives a lane's loader: the same batch again, with backoff and jitter, until it is durable or has to be divided.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::Rng as _;
use tokio::{sync::mpsc, time::Instant};
use tracing::{Instrument as _, Span, info, warn};

use super::{
    batch::{CommittedBatch, OpenBatch, SealedBatch},
    batch_size::BatchSize,
    books::Books,
    events::CommitEvents,
    lane_state::{LaneActivity, LaneTelltale},
    metrics::IngestMetrics,
    session::Owner,
};
use crate::{
    failpoint,
    repository::{
        Loaded, Refusal, RepositoryError,
        mysql::{Loader, MySqlStorage},
    },
    telemetry::{metrics::SecondsCounter, spans},
};

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How often the database hears of a lane that has nothing to load. Within 10 s of silence another process of the same
/// instance name would take it over.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Why a lane's loader can load no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotLoad {
    #[error("{0}")]
    Refused(#[from] RepositoryError),
    #[error("a finished load still holds its batch")]
    BatchHeld,
}

/// A batch that is to be loaded.
pub(super) struct Gathered {
    pub(super) batch: OpenBatch,
    /// What becomes of it is measured inside of this.
    pub(super) span: Span,
}

/// What became of a batch, or of a part of it.
pub(super) enum Settled {
    Committed(CommittedBatch),
    /// Taken out, because its owners hold the others up. What is left of the batch follows.
    Moved(OpenBatch, HashSet<Owner>),
    /// Nothing is left of the batch.
    Done,
}

/// Which loader a lane has.
#[derive(Clone)]
pub(super) struct LoaderOf {
    pub(super) storage: Arc<MySqlStorage>,
    /// Its number among the instance's loaders.
    pub(super) number: usize,
}

/// Loads batches one after the other. Runs in a task of its own that nobody drops: a LOAD that is under way must not
/// be cancelled, or the connection is out of step.
pub(super) struct Driver {
    /// None until the first batch comes, for a lane that may never have one.
    pub(super) loader: Option<Loader>,
    pub(super) loader_of: LoaderOf,
    /// Whether the primary key begins with the time.
    pub(super) by_time: bool,
    /// Readings that only the database refuses, above which their owners have to go.
    pub(super) refused_max: usize,
    pub(super) size: BatchSize,
    pub(super) batches: mpsc::Receiver<Gathered>,
    pub(super) settled: mpsc::Sender<Settled>,
    pub(super) books: Arc<Books>,
    /// Hears of each batch before it is loaded.
    pub(super) events: CommitEvents,
    pub(super) telltale: LaneTelltale,
    pub(super) metrics: Arc<IngestMetrics>,
    /// How long it has been loading, of all the time.
    pub(super) busy: SecondsCounter,
}

enum Decided {
    Committed(CommittedBatch),
    TooBig(OpenBatch),
    Offending(OpenBatch, Vec<usize>),
}

impl Driver {
    /// Runs until the lane is gone.
    ///
    /// # Errors
    /// When it can load no more.
    pub(super) async fn run(mut self) -> Result<(), CannotLoad> {
        loop {
            let batch = tokio::select! {
                batch = self.batches.recv() => batch,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if let Some(loader) = &mut self.loader {
                        loader.keep_alive().await?;
                    }
                    continue;
                }
            };
            let Some(Gathered { batch, span }) = batch else {
                return Ok(());
            };
            let began = Instant::now();
            let settled = self.settle(batch).instrument(span).await;
            self.busy.inc_by(began.elapsed().as_secs_f64());
            if let Err(reason) = settled {
                self.telltale.tell(LaneActivity::Ended);
                return Err(reason);
            }
            self.telltale.tell(LaneActivity::Idle);
        }
    }

    /// Loads a batch, in as many pieces as it takes.
    async fn settle(&mut self, batch: OpenBatch) -> Result<(), CannotLoad> {
        // In order of arrival: what comes later of a stream is loaded later (P2).
        let mut pieces = VecDeque::from([batch]);
        while let Some(mut piece) = pieces.pop_front() {
            if piece.readings() > self.size.max_readings() {
                let second = piece.halve();
                pieces.push_front(second);
                pieces.push_front(piece);
                continue;
            }
            let readings = piece.readings();
            match self.load(piece).await? {
                Decided::Committed(batch) => {
                    self.size.stored(readings);
                    self.report(Settled::Committed(batch)).await;
                }
                Decided::TooBig(piece) => {
                    self.size.shrink(readings);
                    pieces.push_front(piece);
                    failpoint::crash("halve");
                }
                Decided::Offending(piece, parts) => {
                    let owners = piece.owners(&parts);
                    pieces.push_front(piece);
                    let mut moved = OpenBatch::default();
                    for piece in &mut pieces {
                        moved.append_batch(piece.take_out_all_of(&owners));
                    }
                    pieces.retain(|piece| !piece.is_empty());
                    self.report(Settled::Moved(moved, owners)).await;
                }
            }
        }
        self.report(Settled::Done).await;
        Ok(())
    }

    /// A lane that is gone needs to hear nothing.
    async fn report(&mut self, settled: Settled) {
        let _ = self.settled.send(settled).await;
    }

    async fn load(&mut self, batch: OpenBatch) -> Result<Decided, CannotLoad> {
        let since = Instant::now();
        self.telltale.tell(LaneActivity::Loading { since });
        let mut loader = match self.loader.take() {
            Some(loader) => loader,
            None => self.open(since).await?,
        };
        let number = loader.committed_batch().plus(1);
        let sealing = Instant::now();
        spans::tell_number(number.0);
        let sealed = spans::seal(batch.readings()).in_scope(|| batch.seal(number, self.by_time));
        let batch = Arc::new(sealed);
        self.metrics.sealed(sealing.elapsed());
        self.events.sealed(|| batch.event());
        let mut attempt = 0;
        let loaded = loop {
            let (refusal, reason) = match loader.load(batch.clone(), self.refused_max).await {
                Ok(Loaded::TooBig(reason)) if batch.readings() < 2 => (Refusal::TooBig, reason),
                Ok(loaded) => break loaded,
                Err(reason) => waits(reason)?,
            };
            attempt += 1;
            self.pause(attempt, since, refusal, reason).await;
        };
        if attempt > 0 {
            spans::tell_attempts(attempt);
        }
        self.loader = Some(loader);
        self.metrics.settled(since.elapsed());
        // The loader has let go of the batch by now; only a statement that it had to leave behind could hold it.
        let batch = reclaim(batch).await.ok_or(CannotLoad::BatchHeld)?;
        Ok(match loaded {
            Loaded::Committed {
                outcomes,
                series,
                stored,
                untold,
                noted,
            } => {
                if attempt > 0 {
                    info!(
                        batch = number.0,
                        attempt, "the batch is committed after all"
                    );
                }
                Decided::Committed(batch.commit(outcomes, series, (stored, untold, noted)))
            }
            Loaded::TooBig(reason) => {
                let readings = batch.readings();
                info!(
                    batch = number.0,
                    readings, reason, "the batch goes in two halves"
                );
                self.metrics.refused(Refusal::TooBig);
                Decided::TooBig(batch.unseal())
            }
            Loaded::Offending(parts) => {
                self.metrics.refused(Refusal::OfAReading);
                Decided::Offending(batch.unseal(), parts)
            }
        })
    }

    /// Opens the loader of a lane that has not needed one so far.
    async fn open(&mut self, since: Instant) -> Result<Loader, CannotLoad> {
        let LoaderOf { storage, number } = self.loader_of.clone();
        let mut attempt = 0;
        loop {
            let (refusal, reason) = match storage.loader(number).await {
                Ok(loader) => return Ok(loader),
                Err(reason) => waits(reason)?,
            };
            attempt += 1;
            self.pause(attempt, since, refusal, reason).await;
        }
    }

    async fn pause(&mut self, attempt: u32, since: Instant, refusal: Refusal, reason: String) {
        self.books.count_retry();
        self.metrics.refused(refusal);
        let pause = backoff(attempt);
        let lane = self.loader_of.number;
        // What lasts is not said again and again.
        if attempt.is_power_of_two() {
            warn!(lane, attempt, ?refusal, reason, "loading again");
        }
        self.telltale.tell(LaneActivity::Retrying {
            since,
            attempt,
            refusal,
            reason,
        });
        tokio::time::sleep(pause).await;
    }
}

/// What to wait for, and the reason in words.
///
/// # Errors
/// When waiting is in vain.
fn waits(reason: RepositoryError) -> Result<(Refusal, String), CannotLoad> {
    match reason.refusal() {
        Some(refusal) => Ok((refusal, reason.to_string())),
        None => Err(reason.into()),
    }
}

async fn reclaim(mut batch: Arc<SealedBatch>) -> Option<SealedBatch> {
    for _ in 0..1_000 {
        match Arc::try_unwrap(batch) {
            Ok(batch) => return Some(batch),
            Err(held) => batch = held,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

/// Full jitter: lanes that met the same trouble do not come back together.
fn backoff(attempt: u32) -> Duration {
    let ceiling = BACKOFF_MAX.min(BACKOFF_MIN * 2_u32.saturating_pow(attempt.min(10)));
    rand::rng().random_range(BACKOFF_MIN / 2..=ceiling)
}

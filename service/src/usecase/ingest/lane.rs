//! A lane: one task that owns one columnar buffer and feeds one loader. While one batch loads, the next accumulates
//! (natural batching): at low rates a batch leaves after a short linger, at high rates batches grow by themselves.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    IngestError,
    admission::Room,
    batch::{OpenBatch, SealedBatch},
    books::Books,
    busy::Busy,
    columns::Readings,
    dictionaries::Dictionaries,
    dictionary::Dictionary,
    events::CommitEvents,
    intake::{Door, Intake},
    pace::Pace,
    session::Session,
};
use crate::{
    failpoint,
    ledger::PartOutcome,
    model::{Limits, Seq},
    usecase::clock::Clock,
};

/// Readings of one message on their way into a batch.
pub(super) struct Submission {
    pub(super) session: Arc<Session>,
    pub(super) first_seq: Seq,
    pub(super) readings: Readings,
    pub(super) room: Room,
}

/// How a lane gathers.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneSettings {
    pub(super) linger: Duration,
    pub(super) max_batch_rows: usize,
    /// Memory for the dictionaries of all open calls of this lane.
    pub(super) dictionary_bytes: usize,
    /// Of the table.
    pub(super) limits: Limits,
    /// Whether the primary key begins with the time.
    pub(super) by_time: bool,
}

impl LaneSettings {
    /// For a lane whose calls send one message each.
    pub(super) fn without_dictionaries(self) -> Self {
        Self {
            dictionary_bytes: 0,
            ..self
        }
    }
}

/// A batch whose series' texts and rejections take this much is full, however few rows it has.
const MAX_BESIDE_BYTES: usize = 16 << 20;
/// So is one of this many named streams: the longest names of so many fit into the smallest packet that a database is
/// accepted with, 1 MiB, with the rest of their ledger rows.
const MAX_STREAMS: usize = 1_000;
/// Of a batch, the part that is kept for calls with little in it: one of so many.
const KEPT_SHARE: usize = 8;
/// How long a lane bears in mind that several calls share it: one that sends now and then should not meet a long load
/// each time.
const SHARED_FOR: Duration = Duration::from_secs(10);

/// What a lane sends to its loader and gets back.
pub(super) struct LoaderLink {
    pub(super) sealed: mpsc::Sender<SealedBatch>,
    pub(super) loaded: mpsc::Receiver<(SealedBatch, Vec<PartOutcome>)>,
}

/// What a lane tells of its buffer.
pub(super) struct Telltale {
    /// Milliseconds since `started` at which the oldest reading that is not settled came; `u64::MAX` when there is none.
    pub(super) oldest_ms: Arc<AtomicU64>,
    pub(super) started: Instant,
    /// Hears of each batch that is committed.
    pub(super) events: CommitEvents,
    pub(super) busy: Arc<Busy>,
}

/// A load under way.
#[derive(Clone, Copy, Debug)]
struct Loading {
    began: Instant,
    readings: usize,
    cost_rows: usize,
}

pub(super) struct Lane {
    settings: LaneSettings,
    clock: Arc<Clock>,
    intake: Intake<Submission>,
    loader: LoaderLink,
    books: Arc<Books>,
    telltale: Telltale,
    open: OpenBatch,
    opened_at: Option<Instant>,
    loading: Option<Loading>,
    pace: Pace,
    /// When several calls last had something for one batch.
    shared_at: Option<Instant>,
    spare: Option<OpenBatch>,
    next_batch: Seq,
    dictionaries: Dictionaries,
}

impl Lane {
    pub(super) fn new(
        settings: LaneSettings,
        clock: Arc<Clock>,
        intake: Intake<Submission>,
        loader: LoaderLink,
        books: Arc<Books>,
        telltale: Telltale,
        committed_batch: Seq,
    ) -> Self {
        Self {
            settings,
            clock,
            intake,
            loader,
            books,
            telltale,
            open: OpenBatch::default(),
            opened_at: None,
            loading: None,
            pace: Pace::default(),
            shared_at: None,
            spare: None,
            next_batch: committed_batch.plus(1),
            dictionaries: Dictionaries::new(settings.dictionary_bytes),
        }
    }

    /// Runs until every session is gone and every batch is settled, or the loader has ended.
    pub(super) async fn run(mut self) -> Result<(), Infallible> {
        let mut accepting = true;
        loop {
            self.tell_busy();
            let door = self.door();
            let full = door != Some(Door::Open);
            let flush_at = self.opened_at.map(|opened| opened + self.settings.linger);
            let due = full || !accepting || flush_at.is_some_and(|at| at <= Instant::now());
            let idle = self.loading.is_none();
            if idle && due && !self.open.is_empty() {
                if !self.flush().await {
                    return Ok(());
                }
                continue;
            }
            if !accepting && idle && self.open.is_empty() {
                return Ok(());
            }
            let lingering = idle && !self.open.is_empty();
            tokio::select! {
                submission = self.intake.next(door.unwrap_or(Door::Ajar)), if accepting && door.is_some() => {
                    match submission {
                        Some(submission) => self.take(submission),
                        None => accepting = false,
                    }
                }
                loaded = self.loader.loaded.recv(), if !idle => match loaded {
                    Some((batch, outcomes)) => self.acknowledge(batch, outcomes),
                    None => return Ok(()),
                },
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if lingering => {}
            }
        }
    }

    fn tell_busy(&self) {
        let loading = self.loading.as_ref();
        let readings = self.open.readings() + loading.map_or(0, |load| load.readings);
        let busy = &self.telltale.busy;
        busy.tell(readings, loading.map(|load| load.began));
    }

    /// Whom the open batch takes in; None when it takes nobody.
    fn door(&self) -> Option<Door> {
        if self.open.beside_bytes() >= MAX_BESIDE_BYTES || self.open.streams() >= MAX_STREAMS {
            return None;
        }
        let most = self.settings.max_batch_rows;
        let shared = self.shared_at.is_some_and(|at| at.elapsed() < SHARED_FOR);
        let limit = if shared {
            self.pace.shared_rows(most)
        } else {
            most
        };
        match self.open.cost_rows() {
            cost if cost < limit - limit / KEPT_SHARE => Some(Door::Open),
            cost if cost < limit => Some(Door::Ajar),
            _ => None,
        }
    }

    fn take(&mut self, submission: Submission) {
        let Submission {
            session,
            first_seq,
            mut readings,
            room,
        } = submission;
        if self.intake.is_shared() {
            self.shared_at = Some(Instant::now());
        }
        let count = readings.len() as u64;
        // What follows a failure cannot be in sequence.
        if let Some(failure) = session.failure() {
            session.turn_away(count, failure);
            return;
        }
        let batch = self.next_batch.0;
        let (mut none, mut extends) = (Dictionary::default(), false);
        let dictionary = match &mut readings {
            Readings::Rows(_) => &mut none,
            Readings::Columns(columns) => {
                extends = columns.extend_dictionary;
                match self.dictionaries.enter(&session, columns, batch) {
                    Some(dictionary) => dictionary,
                    None => return session.turn_away(count, IngestError::DictionaryFull),
                }
            }
        };
        if self.opened_at.is_none() {
            let now = Instant::now();
            self.opened_at = Some(now);
            let since_start = now.duration_since(self.telltale.started).as_millis() as u64;
            self.telltale
                .oldest_ms
                .fetch_min(since_start.max(1), Ordering::Relaxed);
        }
        let limits = self.clock.limits(&self.settings.limits);
        self.open
            .append(&session, first_seq, readings, dictionary, &limits, room);
        // A call whose dictionary does not fit ends after what it has sent so far. It can go on with a dictionary in
        // every message, which has no need of being kept.
        if !self.dictionaries.keep(&session) && extends {
            session.turn_away(0, IngestError::DictionaryFull);
        }
    }

    /// Hands the open batch to the loader. False when the loader is gone.
    async fn flush(&mut self) -> bool {
        let open = std::mem::replace(&mut self.open, self.spare.take().unwrap_or_default());
        self.loading = Some(Loading {
            began: Instant::now(),
            readings: open.readings(),
            cost_rows: open.cost_rows(),
        });
        self.intake.begin_batch();
        let sealed = open.seal(self.next_batch, self.settings.by_time);
        self.next_batch = self.next_batch.plus(1);
        self.opened_at = None;
        self.dictionaries.forget_ended_calls();
        failpoint::crash("seal");
        self.loader.sealed.send(sealed).await.is_ok()
    }

    fn acknowledge(&mut self, batch: SealedBatch, outcomes: Vec<PartOutcome>) {
        let committed = batch.commit(outcomes);
        self.telltale.events.tell(|| committed.event());
        self.spare = Some(committed.acknowledge());
        failpoint::crash("ack");
        self.books.count_batch();
        if let Some(load) = self.loading.take() {
            self.pace.note(load.cost_rows, load.began.elapsed());
        }
        let oldest = self.opened_at.map_or(u64::MAX, |opened| {
            opened.duration_since(self.telltale.started).as_millis() as u64
        });
        self.telltale.oldest_ms.store(oldest, Ordering::Relaxed);
    }
}

//! A lane: one task that owns one columnar buffer and feeds one loader. While one batch loads, the next accumulates
//! (natural batching): at low rates a batch leaves after a short linger, at high rates batches grow by themselves. Beside
//! it is a slow lane, with a loader of its own, for those whose readings take so long that others would have to wait.

use std::{
    collections::HashSet,
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
use tracing::Span;

use super::{
    IngestError,
    admission::Room,
    batch::{Arrived, CommittedBatch, OpenBatch},
    books::Books,
    busy::Busy,
    columns::Readings,
    dictionaries::Dictionaries,
    dictionary::Dictionary,
    events::CommitEvents,
    intake::{Door, Intake},
    loading::{Gathered, Settled},
    metrics::IngestMetrics,
    pace::Pace,
    session::{Owner, Waiting},
    slow::SlowOwners,
};
use crate::{
    failpoint,
    model::{Limits, Seq, SourcePosition},
    repository::mysql::KnownSeries,
    telemetry::spans::{self, OpenBatchSpan},
    usecase::clock::Clock,
};

/// Readings of one message on their way into a batch.
pub(super) struct Submission {
    pub(super) waiting: Waiting,
    pub(super) first_seq: Seq,
    pub(super) readings: Readings,
    /// Where the producer stands in its source behind them.
    pub(super) source_position: Option<SourcePosition>,
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
/// And one whose messages bring as many bytes of positions: in the statement that stores them each takes two, beside the
/// names of so many streams.
const MAX_POSITION_BYTES: usize = 96 << 10;
/// Of a batch, the part that is kept for calls with little in it: one of so many.
const KEPT_SHARE: usize = 16;
/// How long a lane bears in mind that several calls share it: one that sends now and then should not meet a long load
/// each time.
const SHARED_FOR: Duration = Duration::from_secs(10);

/// What a lane sends to a loader and gets back.
pub(super) struct LoaderLink {
    /// The lane's name in figures.
    pub(super) label: String,
    pub(super) batches: mpsc::Sender<Gathered>,
    pub(super) settled: mpsc::Receiver<Settled>,
}

/// What a lane tells of its buffer.
pub(super) struct Telltale {
    /// Milliseconds since `started` at which the oldest reading that is not settled came; `u64::MAX` when there is none.
    pub(super) oldest_ms: Arc<AtomicU64>,
    pub(super) started: Instant,
    /// Hears of each batch that is committed.
    pub(super) events: CommitEvents,
    pub(super) busy: Arc<Busy>,
    pub(super) metrics: Arc<IngestMetrics>,
}

/// A load under way.
#[derive(Debug)]
struct Loading {
    began: Instant,
    readings: usize,
    cost_rows: usize,
    span: Span,
}

/// An open batch, and the loader that it goes to.
struct Track {
    link: LoaderLink,
    open: OpenBatch,
    /// Of the open batch, once it has something.
    span: Option<OpenBatchSpan>,
    opened_at: Option<Instant>,
    loading: Option<Loading>,
    spare: Option<OpenBatch>,
    /// Tells its open batch from all others of the lane: dictionaries remember places in its texts.
    generation: u64,
}

impl Track {
    fn new(link: LoaderLink, generation: u64) -> Self {
        Self {
            link,
            open: OpenBatch::default(),
            span: None,
            opened_at: None,
            loading: None,
            spare: None,
            generation,
        }
    }

    fn is_idle(&self) -> bool {
        self.loading.is_none() && self.open.is_empty()
    }

    fn is_waiting(&self) -> bool {
        self.loading.is_none() && !self.open.is_empty()
    }

    fn open_now(&mut self) -> Instant {
        let label = &self.link.label;
        self.span.get_or_insert_with(|| OpenBatchSpan::begin(label));
        *self.opened_at.get_or_insert_with(Instant::now)
    }

    /// Hands the open batch to the loader. False when the loader is gone.
    async fn flush(&mut self, generation: u64) -> bool {
        let batch = std::mem::replace(&mut self.open, self.spare.take().unwrap_or_default());
        self.generation = generation;
        self.opened_at = None;
        let span = self.span.take().map_or_else(Span::none, |span| {
            span.gathered(batch.readings(), batch.messages(), batch.streams())
        });
        self.loading = Some(Loading {
            began: Instant::now(),
            readings: batch.readings(),
            cost_rows: batch.cost_rows(),
            span: span.clone(),
        });
        failpoint::crash("seal");
        self.link
            .batches
            .send(Gathered { batch, span })
            .await
            .is_ok()
    }
}

pub(super) struct Lane {
    settings: LaneSettings,
    clock: Arc<Clock>,
    intake: Intake<Submission>,
    main: Track,
    /// For those that would hold the others up.
    slow: Track,
    slow_owners: SlowOwners,
    next_generation: u64,
    books: Arc<Books>,
    telltale: Telltale,
    pace: Pace,
    /// When several calls last had something for one batch.
    shared_at: Option<Instant>,
    dictionaries: Dictionaries,
}

impl Lane {
    pub(super) fn new(
        settings: LaneSettings,
        clock: Arc<Clock>,
        intake: Intake<Submission>,
        [main, slow]: [LoaderLink; 2],
        books: Arc<Books>,
        telltale: Telltale,
        known: Option<KnownSeries>,
    ) -> Self {
        Self {
            settings,
            clock,
            intake,
            main: Track::new(main, 1),
            slow: Track::new(slow, 2),
            slow_owners: SlowOwners::default(),
            next_generation: 3,
            books,
            telltale,
            pace: Pace::default(),
            shared_at: None,
            dictionaries: Dictionaries::new(settings.dictionary_bytes, known),
        }
    }

    /// Runs until every session is gone and every batch is settled, or a loader has ended.
    pub(super) async fn run(mut self) -> Result<(), Infallible> {
        let mut accepting = true;
        loop {
            self.tell_busy();
            let door = self.door();
            let full = door != Some(Door::Open);
            let now = Instant::now();
            let due = |at: Option<Instant>| !accepting || at.is_some_and(|at| at <= now);
            if self.main.is_waiting() && (full || due(self.flush_at(&self.main))) {
                if !self.flush_main().await {
                    return Ok(());
                }
                continue;
            }
            if self.slow.is_waiting() && due(self.flush_at(&self.slow)) && !self.flush_slow().await
            {
                return Ok(());
            }
            if !accepting && self.main.is_idle() && self.slow.is_idle() {
                return Ok(());
            }
            let waiting = [&self.main, &self.slow]
                .into_iter()
                .filter(|track| track.is_waiting());
            let flush_at = waiting.filter_map(|track| self.flush_at(track)).min();
            tokio::select! {
                submission = self.intake.next(door.unwrap_or(Door::Ajar)), if accepting && door.is_some() => {
                    match submission {
                        Some(submission) => self.take(submission),
                        None => accepting = false,
                    }
                }
                settled = self.main.link.settled.recv(), if self.main.loading.is_some() => match settled {
                    Some(settled) => self.settle_main(settled),
                    None => return Ok(()),
                },
                settled = self.slow.link.settled.recv(), if self.slow.loading.is_some() => match settled {
                    Some(settled) => self.settle_slow(settled),
                    None => return Ok(()),
                },
                () = sleep_until(flush_at.unwrap_or(now)), if flush_at.is_some() => {}
            }
        }
    }

    fn flush_at(&self, track: &Track) -> Option<Instant> {
        track.opened_at.map(|opened| opened + self.settings.linger)
    }

    fn tell_busy(&self) {
        let loading = self.main.loading.as_ref();
        let readings = self.main.open.readings() + loading.map_or(0, |load| load.readings);
        let busy = &self.telltale.busy;
        busy.tell(readings, loading.map(|load| load.began));
    }

    /// Whom the open batch takes in; None when it takes nobody.
    fn door(&self) -> Option<Door> {
        if self.main.open.beside_bytes() >= MAX_BESIDE_BYTES
            || self.main.open.streams() >= MAX_STREAMS
            || self.main.open.position_bytes() >= MAX_POSITION_BYTES
        {
            return None;
        }
        let most = self.settings.max_batch_rows;
        let shared = self.shared_at.is_some_and(|at| at.elapsed() < SHARED_FOR);
        let limit = match shared {
            true => self.pace.shared_rows(most),
            false => self.pace.lone_rows(most),
        };
        match self.main.open.cost_rows() {
            cost if cost < limit - limit / KEPT_SHARE => Some(Door::Open),
            // A message is taken whole: one large message may take more than is left, and what is kept for others too.
            cost if cost < most => Some(Door::Ajar),
            _ => None,
        }
    }

    fn take(&mut self, submission: Submission) {
        let Submission {
            waiting,
            first_seq,
            mut readings,
            source_position,
            room,
        } = submission;
        if self.intake.is_shared() {
            self.shared_at = Some(Instant::now());
        }
        let session = &waiting.session;
        let count = readings.len() as u64;
        // What follows a failure cannot be in sequence.
        if let Some(failure) = session.failure() {
            session.turn_away(count, failure);
            return;
        }
        let owner = session.owner();
        let is_slow = self.slow_owners.holds(&owner);
        session.set_slow(is_slow);
        let track = match is_slow {
            true => &mut self.slow,
            false => &mut self.main,
        };
        let (mut none, mut extends) = (Dictionary::default(), false);
        let dictionary = match &mut readings {
            Readings::Rows(_) => &mut none,
            Readings::Columns(columns) => {
                extends = columns.extend_dictionary;
                match self.dictionaries.enter(session, columns, track.generation) {
                    Some(dictionary) => dictionary,
                    None => return session.turn_away(count, IngestError::DictionaryFull),
                }
            }
        };
        let opened = track.open_now();
        if is_slow {
            self.slow_owners.wait(&owner, count);
        } else {
            let since_start = opened.duration_since(self.telltale.started).as_millis() as u64;
            self.telltale
                .oldest_ms
                .fetch_min(since_start.max(1), Ordering::Relaxed);
        }
        let limits = self.clock.limits(&self.settings.limits);
        let message = Arrived {
            first_seq,
            readings,
            source_position,
            room,
        };
        track.open.append(&waiting, message, dictionary, &limits);
        // A call whose dictionary does not fit ends after what it has sent so far. It can go on with a dictionary in
        // every message, which has no need of being kept.
        if !self.dictionaries.keep(session) && extends {
            session.turn_away(0, IngestError::DictionaryFull);
        }
    }

    fn next_generation(&mut self) -> u64 {
        let generation = self.next_generation;
        self.next_generation += 1;
        self.dictionaries.forget_ended_calls();
        generation
    }

    async fn flush_main(&mut self) -> bool {
        let generation = self.next_generation();
        self.intake.begin_batch();
        self.measure(&self.main);
        self.main.flush(generation).await
    }

    async fn flush_slow(&mut self) -> bool {
        let generation = self.next_generation();
        self.measure(&self.slow);
        self.slow.flush(generation).await
    }

    fn measure(&self, track: &Track) {
        let age = track.opened_at.map_or(Duration::ZERO, |at| at.elapsed());
        let metrics = &self.telltale.metrics;
        metrics.flushed(track.open.readings(), age);
    }

    fn settle_main(&mut self, settled: Settled) {
        match settled {
            Settled::Committed(batch) => {
                self.main.spare = Some(self.acknowledge(batch, &self.main));
            }
            Settled::Moved(moved, owners) => self.move_over(moved, &owners),
            Settled::Done => {
                if let Some(load) = self.main.loading.take() {
                    self.pace.note(load.cost_rows, load.began.elapsed());
                }
                let oldest = self.main.opened_at.map_or(u64::MAX, |opened| {
                    opened.duration_since(self.telltale.started).as_millis() as u64
                });
                self.telltale.oldest_ms.store(oldest, Ordering::Relaxed);
            }
        }
    }

    fn settle_slow(&mut self, settled: Settled) {
        match settled {
            Settled::Committed(batch) => {
                self.slow_owners.settle(&batch);
                self.acknowledge(batch, &self.slow);
            }
            // There is no slower one.
            Settled::Moved(moved, owners) => self.move_over(moved, &owners),
            Settled::Done => self.slow.loading = None,
        }
    }

    fn acknowledge(&self, mut batch: CommittedBatch, track: &Track) -> OpenBatch {
        let span = track.loading.as_ref().map(|loading| &loading.span);
        // Whoever waits for an acknowledgement waits for the batch: it has not ended before.
        let _batch = span.map(tracing::Span::enter);
        let _acknowledging = span.map(|span| spans::acknowledge(span, batch.readings()).entered());
        self.telltale.events.committed(|| batch.event(), &batch);
        batch.is_told();
        let spare = batch.acknowledge();
        failpoint::crash("ack");
        self.books.count_batch();
        spare
    }

    /// What a batch had of these owners goes through the slow lane, and what has come of them since (P2).
    fn move_over(&mut self, moved: OpenBatch, owners: &HashSet<Owner>) {
        self.slow_owners.take_in(owners);
        let waiting = self.main.open.take_out_all_of(owners);
        if self.main.open.is_empty() {
            self.main.opened_at = None;
            self.main.span = None;
        }
        for batch in [moved, waiting] {
            batch.mark_slow();
            self.slow_owners.wait_all(&batch);
            self.slow.open.append_batch(batch);
        }
        self.slow.open_now();
        failpoint::crash("move");
    }
}

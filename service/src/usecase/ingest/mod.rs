//! Ingestion: admission -> lane -> seal -> loader -> acknowledgement.

pub mod admission;
pub mod arrivals;
mod batch;
mod batch_size;
mod books;
mod busy;
mod columns;
pub mod conversation;
mod dictionaries;
mod dictionary;
mod error;
mod events;
mod inflow;
mod intake;
mod lane;
mod lane_state;
mod loading;
mod opening;
mod pace;
mod seal;
mod session;
mod slow;
mod streams;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    admission::{Admission, Room},
    batch_size::BatchSize,
    busy::Busy,
    intake::{Entrance, intake},
    lane::{Lane, LaneSettings, LoaderLink, Submission, Telltale},
    lane_state::LaneTelltale,
    loading::{Driver, LoaderOf},
    opening::Openings,
    session::Session,
    streams::{LaneSeats, Lot},
};
pub use self::{
    books::{Books, Figures},
    columns::{ColumnReadings, ROOM_OF_READING_BYTES, Readings},
    error::IngestError,
    events::{BatchEvent, BatchEvents, Stage},
    inflow::{Inflow, Rejections, Summary},
    lane_state::{LaneActivity, LaneState},
    session::{Progress, RejectionNote},
};
use crate::{
    model::{Seq, StreamHeader},
    repository::{
        RepositoryError, StorageFacts,
        mysql::{MySqlLedger, MySqlStorage},
    },
    supervisor::Supervisor,
    usecase::clock::Clock,
};

/// How readings are gathered. Defaults and meaning stand with the configuration.
#[derive(Clone, Copy, Debug)]
pub struct IngestSettings {
    pub lanes: usize,
    pub linger: Duration,
    pub max_batch_rows: usize,
    pub budget_bytes: u32,
    pub dictionary_bytes: usize,
    pub commit_deadline: Duration,
}

/// Rejected readings that a stream reports one by one; the rest is counted, and all are in quarantine.
const STREAM_NOTES: usize = 100;
/// Rejections that the answer to one lot lists: at 255 characters each it stays below the 4 MiB that clients take by
/// default, whatever the characters.
const BATCH_NOTES: usize = 1_000;
/// A lot of no more than this is small, bytes: about a thousand readings.
const SMALL_LOT_BYTES: usize = 128 * 1024;

/// Pieces of a batch of which a lane has yet to hear.
const SETTLED_QUEUE: usize = 4;
/// So many readings that only the database refuses are looked for in a batch. Who has more goes through the slow lane.
const REFUSED_MAX: usize = 64;
/// Readings of a batch of the slow lane: with all of them refused it takes about a second.
const SLOW_READINGS: usize = 1_000;

/// Takes readings in and says when they are durable.
pub struct Ingest {
    settings: IngestSettings,
    admission: Admission,
    seats: LaneSeats,
    lanes: Vec<Entrance<Submission>>,
    storage: Arc<MySqlStorage>,
    ledger: Arc<MySqlLedger>,
    openings: Openings,
    facts: StorageFacts,
    books: Arc<Books>,
    oldest_ms: Vec<Arc<AtomicU64>>,
    /// Of each lane, and of the slow one beside it.
    activities: Vec<[LaneTelltale; 2]>,
    started: Instant,
    events: BatchEvents,
    /// Cancelled when a long-lived task is gone: what waits for it would wait for ever.
    failed: CancellationToken,
}

impl Ingest {
    /// Opens the loaders and starts the lanes.
    ///
    /// # Errors
    /// When a loader cannot be opened.
    pub async fn start(
        settings: IngestSettings,
        storage: Arc<MySqlStorage>,
        clock: &Arc<Clock>,
        tasks: &Supervisor,
    ) -> Result<Self, RepositoryError> {
        let facts = storage.facts().clone();
        let books = Arc::new(Books::default());
        let started = Instant::now();
        let events = BatchEvents::default();
        let lane_settings = LaneSettings {
            linger: settings.linger,
            max_batch_rows: settings.max_batch_rows,
            dictionary_bytes: settings.dictionary_bytes / settings.lanes,
            limits: facts.limits,
        };
        let mut activities = Vec::new();
        let (mut lanes, mut oldest_ms, mut busy) = (Vec::new(), Vec::new(), Vec::new());
        // The last one is the express lane.
        for number in 0..=settings.lanes {
            let drive = |loader, slow: bool, telltale: &LaneTelltale| {
                let (batches, waiting) = mpsc::channel(1);
                let (settled, told) = mpsc::channel(SETTLED_QUEUE);
                let driver = Driver {
                    loader,
                    loader_of: LoaderOf {
                        storage: storage.clone(),
                        // Behind the express lane.
                        number: number + if slow { settings.lanes + 1 } else { 0 },
                    },
                    by_time: facts.ordered_by_time,
                    refused_max: if slow { usize::MAX } else { REFUSED_MAX },
                    size: BatchSize::new(if slow { SLOW_READINGS } else { usize::MAX }),
                    batches: waiting,
                    settled,
                    books: books.clone(),
                    events: events.clone(),
                    telltale: telltale.clone(),
                };
                let of = if slow { "slow lane" } else { "lane" };
                tasks.start(format!("loader of {of} {number}"), driver.run());
                LoaderLink {
                    batches,
                    settled: told,
                }
            };
            let loader = storage.loader(number).await?;
            let telltales = [LaneTelltale::new(), LaneTelltale::new()];
            let (entrance, intake) = intake();
            let oldest = Arc::new(AtomicU64::new(u64::MAX));
            let is_busy = Arc::new(Busy::new());
            let lane = Lane::new(
                if number == settings.lanes {
                    lane_settings.without_dictionaries()
                } else {
                    lane_settings
                },
                clock.clone(),
                intake,
                drive(Some(loader), false, &telltales[0]),
                drive(None, true, &telltales[1]),
                books.clone(),
                Telltale {
                    oldest_ms: oldest.clone(),
                    started,
                    events: events.clone(),
                    busy: is_busy.clone(),
                },
            );
            tasks.start(format!("lane {number}"), lane.run());
            activities.push(telltales);
            lanes.push(entrance);
            oldest_ms.push(oldest);
            busy.push(is_busy);
        }
        busy.truncate(settings.lanes);
        Ok(Self {
            settings,
            admission: Admission::new(settings.budget_bytes),
            seats: LaneSeats::new(busy),
            lanes,
            ledger: storage.ledger(),
            openings: Openings::default(),
            storage,
            facts,
            books,
            oldest_ms,
            activities,
            started,
            events,
            failed: tasks.failed().clone(),
        })
    }

    /// Tells of batches on their way into the table.
    #[must_use]
    pub fn events(&self) -> &BatchEvents {
        &self.events
    }

    /// Begins a stream of messages, named or anonymous.
    ///
    /// # Errors
    /// When the header does not fit the ledger, or the ledger does not answer within the commit deadline.
    pub async fn begin(&self, header: Option<StreamHeader>) -> Result<Inflow<'_>, IngestError> {
        self.begin_with(header, Lot::Any, STREAM_NOTES).await
    }

    async fn begin_with(
        &self,
        header: Option<StreamHeader>,
        lot: Lot,
        notes_limit: usize,
    ) -> Result<Inflow<'_>, IngestError> {
        let (seat, was_here) = self
            .seats
            .take(header.as_ref().map(|header| &header.stream_id), lot);
        let durable = match &header {
            Some(header) => self.check_header(header, was_here).await?,
            None => Seq(0),
        };
        let next_seq = header.as_ref().map_or(Seq(1), |header| header.first_seq);
        let session = Session::new(
            header.as_ref(),
            durable,
            seat,
            self.books.clone(),
            notes_limit,
        );
        let line = self.lanes[session.seat.lane].line();
        Ok(Inflow::new(
            &self.books,
            line,
            &self.failed,
            session,
            next_seq,
        ))
    }

    /// Stores one lot of readings and returns once all of it is settled.
    ///
    /// # Errors
    /// As for a stream, and when the commit takes too long.
    pub async fn submit(
        &self,
        header: Option<StreamHeader>,
        readings: Readings,
        room: Room,
    ) -> Result<Summary, IngestError> {
        let deadline = self.settings.commit_deadline;
        let lot = match readings.size_bytes() {
            0..=SMALL_LOT_BYTES => Lot::Small,
            _ => Lot::Any,
        };
        let settled = async {
            let mut inflow = self.begin_with(header, lot, BATCH_NOTES).await?;
            inflow.push(readings, room).await?;
            inflow.finish().await
        };
        tokio::time::timeout(deadline, settled)
            .await
            .unwrap_or(Err(IngestError::CommitDeadline { deadline }))
    }

    #[must_use]
    pub fn figures(&self) -> Figures {
        self.books.figures()
    }

    /// What lets messages in.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Bytes of the admission budget in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.admission.used_bytes()
    }

    /// Age of the oldest reading that is not settled.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.lags().into_iter().max().unwrap_or_default()
    }

    /// Of each lane the age of its oldest reading that is not settled.
    #[must_use]
    pub fn lags(&self) -> Vec<Duration> {
        let now = self.started.elapsed();
        let lag = |at: u64| match at {
            u64::MAX => Duration::ZERO,
            at => now.saturating_sub(Duration::from_millis(at)),
        };
        self.oldest_ms
            .iter()
            .map(|at| lag(at.load(Ordering::Relaxed)))
            .collect()
    }

    /// What the lanes are doing.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneState> {
        let both = |(lane, telltales): (usize, &[LaneTelltale; 2])| {
            [false, true].map(|is_slow| LaneState {
                lane,
                is_slow,
                activity: telltales[usize::from(is_slow)].activity(),
            })
        };
        self.activities.iter().enumerate().flat_map(both).collect()
    }

    #[must_use]
    pub fn facts(&self) -> &StorageFacts {
        &self.facts
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When none comes within a second.
    pub async fn ask_database(&self) -> Result<(), RepositoryError> {
        self.storage.ping().await
    }

    /// Waits until nothing is in flight. Call it after the routers have ended.
    pub async fn drained(&self) {
        while self.figures().in_flight > 0 && !self.failed.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

//! Ingestion: admission -> lane -> seal -> loader -> acknowledgement.

pub mod admission;
pub mod arrivals;
mod batch;
mod batch_series;
mod batch_size;
mod books;
mod busy;
mod caller;
mod columns;
pub mod conversation;
pub mod decoded;
mod dictionaries;
mod dictionary;
mod entry_door;
mod error;
mod events;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inflow;
mod intake;
mod lane;
mod lane_state;
mod lanes;
mod loading;
mod long_names;
mod metrics;
mod opening;
mod pace;
mod quotas;
mod rollup_inbox;
mod seal;
mod session;
mod slow;
mod streams;
mod told_tags;
mod watches;

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

#[cfg(test)]
pub(crate) use self::watches::CommittedRows;
use self::{
    admission::{Admission, Room},
    lanes::Lanes,
    metrics::IngestMetrics,
    opening::Openings,
    quotas::{Brought, Quotas},
    session::{Durable, Session},
    streams::{LaneSeats, Lot},
    told_tags::ToldTags,
};
pub use self::{
    books::{Books, Figures},
    caller::Caller,
    columns::{ColumnReadings, ROOM_OF_READING_BYTES, Readings},
    entry_door::EntryDoor,
    error::IngestError,
    events::{BatchEvent, CommitEvent, CommitEvents},
    inflow::{Inflow, Rejections, Summary},
    lane_state::{LaneActivity, LaneState},
    long_names::LongNames,
    quotas::QuotaSettings,
    rollup_inbox::{Gathered, RollupInbox},
    session::{Progress, RejectionNote},
    watches::{Fresh, News, Watch, WatchedPair, Watches},
};
pub use crate::repository::OpenedStream;
use crate::{
    model::{Seq, StreamHeader},
    repository::{
        RepositoryError, StorageFacts,
        mysql::{MySqlLedger, MySqlStorage},
    },
    supervisor::Supervisor,
    telemetry::{metrics::Metrics, spans},
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
    pub quotas: QuotaSettings,
}

/// A lot of no more than this is small, bytes: about a thousand readings.
const SMALL_LOT_BYTES: usize = 128 * 1024;

/// A lane that has been loading the same batch again for longer waits for somebody, or for the database.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// Takes readings in and says when they are durable.
pub struct Ingest {
    settings: IngestSettings,
    admission: Admission,
    quotas: Quotas,
    seats: LaneSeats,
    lanes: Lanes,
    storage: Arc<MySqlStorage>,
    ledger: Arc<MySqlLedger>,
    openings: Openings,
    facts: StorageFacts,
    books: Arc<Books>,
    events: CommitEvents,
    long_names: LongNames,
    told_tags: ToldTags,
    metrics: Arc<IngestMetrics>,
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
        (clock, events): (&Arc<Clock>, CommitEvents),
        tasks: &Supervisor,
        draining: CancellationToken,
        metrics: &Metrics,
    ) -> Result<Self, RepositoryError> {
        let facts = storage.facts().clone();
        let books = Arc::new(Books::default());
        let quotas = Quotas::new(settings.quotas, metrics);
        let metrics = Arc::new(IngestMetrics::new(metrics));
        let (lanes, busy) = Lanes::start(
            &settings,
            &storage,
            clock,
            &books,
            (&events, &metrics),
            tasks,
        )
        .await?;
        let (long_names, writing) = LongNames::start(storage.long_names(), draining.clone());
        tasks.start("writer of long names", async move {
            writing.await;
            Ok::<(), Infallible>(())
        });
        let (told_tags, writing) =
            ToldTags::start(storage.series_upkeep(), metrics.told_tags(), draining);
        tasks.start("writer of told tags", async move {
            writing.await;
            Ok::<(), Infallible>(())
        });
        Ok(Self {
            settings,
            admission: Admission::new(settings.budget_bytes)
                .measured_by(metrics.room_wait().clone()),
            quotas,
            seats: LaneSeats::new(busy),
            lanes,
            ledger: storage.ledger(),
            openings: Openings::default(),
            storage,
            facts,
            books,
            events,
            long_names,
            told_tags,
            metrics,
            failed: tasks.failed().clone(),
        })
    }

    /// Tells of batches on their way into the table, and of changes of what is there.
    #[must_use]
    pub fn events(&self) -> &CommitEvents {
        &self.events
    }

    /// Who watches series.
    #[must_use]
    pub fn watches(&self) -> &Arc<Watches> {
        self.events.watches()
    }

    /// Where the full text of names goes that were shortened.
    #[must_use]
    pub fn long_names(&self) -> &LongNames {
        &self.long_names
    }

    /// How long a commit may take.
    #[must_use]
    pub fn commit_deadline(&self) -> Duration {
        self.settings.commit_deadline
    }

    /// Begins a stream of messages, named or anonymous.
    ///
    /// # Errors
    /// When the caller may not write this, the header does not fit the ledger, or the ledger does not answer within the
    /// commit deadline.
    pub async fn begin(
        &self,
        header: Option<StreamHeader>,
        caller: &Caller,
        door: EntryDoor,
    ) -> Result<Inflow<'_>, IngestError> {
        self.begin_with(header, caller, Lot::Any, door).await
    }

    async fn begin_with(
        &self,
        header: Option<StreamHeader>,
        caller: &Caller,
        lot: Lot,
        door: EntryDoor,
    ) -> Result<Inflow<'_>, IngestError> {
        caller.check(header.as_ref().map(|header| &header.stream_id))?;
        let (seat, was_here) = self
            .seats
            .take(header.as_ref().map(|header| &header.stream_id), lot);
        if let Some(header) = &header {
            spans::tell_stream(header.stream_id.as_str());
        }
        let durable = match &header {
            Some(header) => self.check_header(header, caller, was_here).await?,
            None => Durable::default(),
        };
        let next_seq = header.as_ref().map_or(Seq(1), |header| header.first_seq);
        let session = Session::new(
            header.as_ref(),
            caller,
            durable,
            seat,
            (&self.books, &self.metrics),
            door,
        );
        let line = self.lanes.line(session.seat.lane);
        Ok(Inflow::new(
            (&self.books, &self.told_tags),
            line,
            &self.failed,
            session,
            next_seq,
        ))
    }

    /// Stores one lot of readings and returns once all of it is settled.
    ///
    /// # Errors
    /// As for a stream, when the caller brings more than it may in a second, and when the commit takes too long.
    pub async fn submit(
        &self,
        header: Option<StreamHeader>,
        caller: &Caller,
        (readings, room): (Readings, Room),
        door: EntryDoor,
    ) -> Result<Summary, IngestError> {
        let brought = Brought {
            rows: readings.len(),
            bytes: room.bytes(),
        };
        self.quotas.take(caller, brought)?;
        let deadline = self.settings.commit_deadline;
        let lot = match readings.size_bytes() {
            0..=SMALL_LOT_BYTES => Lot::Small,
            _ => Lot::Any,
        };
        let settled = async {
            let mut inflow = self.begin_with(header, caller, lot, door).await?;
            inflow.push(readings, None, room).await?;
            inflow.check_brought_readings()?;
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
        self.lanes.lags()
    }

    /// Messages that wait for each lane.
    #[must_use]
    pub fn queued(&self) -> Vec<usize> {
        self.lanes.queued()
    }

    /// What the lanes are doing.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneState> {
        self.lanes.states()
    }

    /// For doors whose clients come back by themselves: what they send again and again while the database is away must not
    /// fill the memory, and the table once it is back.
    ///
    /// # Errors
    /// When no lane has been able to commit for a while.
    pub fn expect_commits(&self) -> Result<(), IngestError> {
        let lanes = self.lanes();
        let stuck = |lane: &LaneState| matches!(&lane.activity, LaneActivity::Retrying { since, .. } if since.elapsed() > STUCK_AFTER);
        match lanes.iter().filter(|lane| !lane.is_slow).all(stuck) {
            false => Ok(()),
            true => Err(IngestError::Storage(
                "no lane can commit, and all are trying again".to_owned(),
            )),
        }
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

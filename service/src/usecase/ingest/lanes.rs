//! The lanes and their loaders: how they are put together and started, and what they tell.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use super::{
    IngestSettings,
    batch_size::BatchSize,
    books::Books,
    busy::Busy,
    events::CommitEvents,
    intake::{Entrance, Line, intake},
    lane::{Lane, LaneSettings, LoaderLink, Submission, Telltale},
    lane_state::{LaneState, LaneTelltale, label},
    loading::{Driver, LoaderOf},
    metrics::IngestMetrics,
};
use crate::{
    repository::{
        RepositoryError,
        mysql::{Loader, MySqlStorage},
    },
    supervisor::Supervisor,
    usecase::clock::Clock,
};

/// Pieces of a batch of which a lane has yet to hear.
const SETTLED_QUEUE: usize = 4;
/// So many readings that only the database refuses are looked for in a batch. Who has more goes through the slow lane.
const REFUSED_MAX: usize = 64;
/// Readings of a batch of the slow lane: with all of them refused it takes about a second.
const SLOW_READINGS: usize = 1_000;

/// One lane, as others see it.
struct Seen {
    entrance: Entrance<Submission>,
    /// Milliseconds since the start at which the oldest reading that is not settled came; `u64::MAX` when there is none.
    oldest_ms: Arc<AtomicU64>,
    /// Of the lane, and of the slow one beside it.
    activities: [LaneTelltale; 2],
}

/// All lanes; the last one is the express lane.
pub(super) struct Lanes {
    lanes: Vec<Seen>,
    started: Instant,
}

/// What each loader is given.
struct Loaders<'a> {
    storage: &'a Arc<MySqlStorage>,
    books: &'a Arc<Books>,
    events: &'a CommitEvents,
    metrics: &'a Arc<IngestMetrics>,
    tasks: &'a Supervisor,
}

impl Loaders<'_> {
    /// Starts the loader of a lane, which has this number among all loaders.
    fn start(
        &self,
        lane: usize,
        number: usize,
        loader: Option<Loader>,
        slow: bool,
        telltale: &LaneTelltale,
    ) -> LoaderLink {
        let (batches, waiting) = mpsc::channel(1);
        let (settled, told) = mpsc::channel(SETTLED_QUEUE);
        let driver = Driver {
            loader,
            loader_of: LoaderOf {
                storage: self.storage.clone(),
                number,
            },
            by_time: self.storage.facts().ordered_by_time,
            refused_max: if slow { usize::MAX } else { REFUSED_MAX },
            size: BatchSize::new(if slow { SLOW_READINGS } else { usize::MAX }),
            batches: waiting,
            settled,
            books: self.books.clone(),
            events: self.events.clone(),
            telltale: telltale.clone(),
            metrics: self.metrics.clone(),
            busy: self.metrics.busy(label(lane, slow)),
        };
        let kind = if slow { "slow lane" } else { "lane" };
        self.tasks
            .start(format!("loader of {kind} {lane}"), driver.run());
        LoaderLink {
            label: label(lane, slow),
            batches,
            settled: told,
        }
    }
}

impl Lanes {
    /// Opens the loaders and starts the lanes. Also returns what tells how busy each lane but the express lane is.
    ///
    /// # Errors
    /// When a loader cannot be opened.
    pub(super) async fn start(
        settings: &IngestSettings,
        storage: &Arc<MySqlStorage>,
        clock: &Arc<Clock>,
        books: &Arc<Books>,
        (events, metrics): (&CommitEvents, &Arc<IngestMetrics>),
        tasks: &Supervisor,
    ) -> Result<(Self, Vec<Arc<Busy>>), RepositoryError> {
        let started = Instant::now();
        let lane_settings = LaneSettings {
            linger: settings.linger,
            max_batch_rows: settings.max_batch_rows,
            dictionary_bytes: settings.dictionary_bytes / settings.lanes,
            limits: storage.facts().limits,
        };
        let loaders = Loaders {
            storage,
            books,
            events,
            metrics,
            tasks,
        };
        let (mut lanes, mut busy) = (Vec::new(), Vec::new());
        for number in 0..=settings.lanes {
            let is_express = number == settings.lanes;
            let loader = storage.loader(number).await?;
            let activities = [LaneTelltale::new(), LaneTelltale::new()];
            let (entrance, intake) = intake();
            let oldest_ms = Arc::new(AtomicU64::new(u64::MAX));
            let is_busy = Arc::new(Busy::new());
            let lane = Lane::new(
                match is_express {
                    true => lane_settings.without_dictionaries(),
                    false => lane_settings,
                },
                clock.clone(),
                intake,
                [
                    loaders.start(number, number, Some(loader), false, &activities[0]),
                    // Behind the express lane.
                    loaders.start(
                        number,
                        number + settings.lanes + 1,
                        None,
                        true,
                        &activities[1],
                    ),
                ],
                books.clone(),
                Telltale {
                    oldest_ms: oldest_ms.clone(),
                    started,
                    events: events.clone(),
                    busy: is_busy.clone(),
                    metrics: metrics.clone(),
                },
                storage.known_series(),
            );
            tasks.start(format!("lane {number}"), lane.run());
            lanes.push(Seen {
                entrance,
                oldest_ms,
                activities,
            });
            busy.push(is_busy);
        }
        busy.truncate(settings.lanes);
        Ok((Self { lanes, started }, busy))
    }

    /// A line for a call.
    pub(super) fn line(&self, lane: usize) -> Line<Submission> {
        self.lanes[lane].entrance.line()
    }

    /// Of each lane the age of its oldest reading that is not settled.
    pub(super) fn lags(&self) -> Vec<Duration> {
        let now = self.started.elapsed();
        let lag = |at: u64| match at {
            u64::MAX => Duration::ZERO,
            at => now.saturating_sub(Duration::from_millis(at)),
        };
        let oldest = self.lanes.iter().map(|lane| &lane.oldest_ms);
        oldest.map(|at| lag(at.load(Ordering::Relaxed))).collect()
    }

    /// Messages that wait for each lane.
    pub(super) fn queued(&self) -> Vec<usize> {
        let entrances = self.lanes.iter().map(|lane| &lane.entrance);
        entrances.map(Entrance::waiting).collect()
    }

    /// What the lanes are doing.
    pub(super) fn states(&self) -> Vec<LaneState> {
        let both = |(lane, seen): (usize, &Seen)| {
            [false, true].map(|is_slow| LaneState {
                lane,
                is_slow,
                activity: seen.activities[usize::from(is_slow)].activity(),
            })
        };
        self.lanes.iter().enumerate().flat_map(both).collect()
    }
}

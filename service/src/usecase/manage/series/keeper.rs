//! Looks after the series: notes when each was last seen, and counts readings whose series is missing.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::seen::SeenToday;
use crate::{
    repository::{
        Nameless, RepositoryError,
        mysql::{MySqlSeriesUpkeep, SEEN_AT_ONCE},
    },
    usecase::ingest::CommitEvent,
};

/// Between looks for readings without a name.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// A look that takes long comes more rarely: it may take this share of the time.
const LOOK_SHARE: u32 = 100;
/// How long a series that is seen for the first time on a day waits until that is noted.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);
/// After each note nothing is noted for so many times as long: many series that are seen at once, as in the morning of a day, should
/// not keep the database from storing readings, and nobody waits for it.
const REST_TIMES: u32 = 19;
/// So long a service that ends goes on noting, without rests.
const LAST_NOTES: Duration = Duration::from_secs(2);
const DAY_S: u64 = 86_400;

/// What is known of the series.
#[derive(Debug)]
pub struct SeriesKeeper {
    store: MySqlSeriesUpkeep,
    seen: Mutex<SeenToday>,
    readings: AtomicU64,
    series: AtomicU64,
}

/// What was found of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SeriesStanding {
    /// Stored readings whose series is missing: they are kept, and nobody sees them.
    readings_without_series: u64,
    /// Of how many series they are.
    missing_series: u64,
}

impl SeriesKeeper {
    #[must_use]
    pub fn new(store: MySqlSeriesUpkeep) -> Arc<Self> {
        Arc::new(Self {
            store,
            seen: Mutex::default(),
            readings: AtomicU64::new(0),
            series: AtomicU64::new(0),
        })
    }

    #[must_use]
    pub fn standing(&self) -> SeriesStanding {
        SeriesStanding {
            readings_without_series: self.readings.load(Ordering::Relaxed),
            missing_series: self.series.load(Ordering::Relaxed),
        }
    }

    /// Does its work until the service drains. What an event tells that is missed, a later batch tells again.
    pub async fn run(
        self: Arc<Self>,
        events: Receiver<Arc<CommitEvent>>,
        draining: CancellationToken,
    ) {
        tokio::select! {
            () = self.hear(events) => {}
            () = self.note() => {}
            () = self.look() => {}
            () = draining.cancelled() => {}
        }
        // What is left then, or is stored in the last moments before the end, is noted with the next reading.
        let ends = Instant::now() + LAST_NOTES;
        while Instant::now() < ends
            && let Some((day, numbers)) = self.seen(|seen| seen.take(SEEN_AT_ONCE))
        {
            if self.note_some(day, numbers).await.is_err() {
                return;
            }
        }
    }

    /// Ends when nobody tells anything any more.
    async fn hear(&self, mut events: Receiver<Arc<CommitEvent>>) {
        loop {
            match events.recv().await {
                Ok(event) => {
                    if let CommitEvent::Committed(batch) = &*event
                        && !batch.series.is_empty()
                    {
                        self.seen(|seen| seen.see(today(), &batch.series));
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn seen<T>(&self, with: impl FnOnce(&mut SeenToday) -> T) -> T {
        with(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Apart from the loads, so that no transaction of a reading waits for it.
    async fn note(&self) {
        let mut fails = false;
        loop {
            let Some((day, numbers)) = self.seen(|seen| seen.take(SEEN_AT_ONCE)) else {
                tokio::time::sleep(NOTE_INTERVAL).await;
                continue;
            };
            let began = Instant::now();
            match self.note_some(day, numbers).await {
                Ok(()) => {
                    fails = false;
                    tokio::time::sleep(began.elapsed() * REST_TIMES).await;
                }
                Err(reason) => {
                    if !std::mem::replace(&mut fails, true) {
                        warn!(%reason, "cannot note when series were last seen: tried again");
                    }
                    tokio::time::sleep(NOTE_INTERVAL).await;
                }
            }
        }
    }

    async fn note_some(&self, day: i32, mut numbers: Vec<u32>) -> Result<(), RepositoryError> {
        // In the order of the key, as everybody else locks them.
        numbers.sort_unstable();
        let noted = self.store.note_seen(day, &numbers).await;
        if noted.is_err() {
            self.seen(|seen| seen.give_back(day, numbers));
        }
        noted
    }

    async fn look(&self) {
        loop {
            let began = Instant::now();
            match self.store.count_nameless().await {
                Ok(found) => self.found(found),
                Err(reason) => warn!(%reason, "cannot look for readings whose series is missing"),
            }
            tokio::time::sleep(LOOK_INTERVAL.max(began.elapsed() * LOOK_SHARE)).await;
        }
    }

    fn found(&self, Nameless { readings, series }: Nameless) {
        let before = self.readings.swap(readings, Ordering::Relaxed);
        self.series.store(series, Ordering::Relaxed);
        if readings > before {
            error!(
                readings,
                series,
                "readings have the numbers of series that are missing: restore series and readings from the same moment"
            );
        } else if readings == 0 && before > 0 {
            info!("every reading has its series again");
        }
    }
}

/// The day by this host's clock, UTC, as days since the Unix epoch.
fn today() -> i32 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    (since_epoch.unwrap_or_default().as_secs() / DAY_S) as i32
}

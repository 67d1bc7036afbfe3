//! Tells all who keep copies of stored readings that some are about to be changed or removed, and when that is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;
use tracing::debug;

use super::ingest::CommitEvents;
use crate::{
    model::{IdPair, TimeRange},
    repository::{
        RepositoryError,
        cache::LatestCache,
        mysql::{Held, MySqlChangeCounts, MySqlRollups},
    },
};

/// More pairs than these are as good as all.
const PAIRS_MAX: usize = 1_000;

/// Who is told.
pub struct ReadingChanges {
    counts: MySqlChangeCounts,
    cache: Option<Arc<LatestCache>>,
    rollups: Option<Arc<MySqlRollups>>,
    events: CommitEvents,
    /// A change that has not said that it goes on for so long is over, whatever has become of it.
    open_for: Duration,
    started: Instant,
    /// How many are under way. Each is told of before the next one begins.
    active: Mutex<u32>,
}

/// What a change is of.
#[derive(Clone, Copy, Debug)]
pub enum Extent<'a> {
    /// Readings of these pairs, or of all, within that time, or of any.
    Of {
        pairs: Option<&'a [IdPair]>,
        time: Option<TimeRange>,
    },
    /// What retention drops: rollups have been made of it, and stay.
    Outdated,
}

/// A change under way.
pub struct ReadingChange {
    /// None once it has ended.
    changes: Option<Arc<ReadingChanges>>,
    number: u64,
    pairs: Option<Vec<IdPair>>,
    held: Held,
    said_at: Instant,
}

impl ReadingChanges {
    /// `statement_limit` bounds each statement of a change.
    #[must_use]
    pub fn new(
        counts: MySqlChangeCounts,
        (cache, rollups): (Option<Arc<LatestCache>>, Option<Arc<MySqlRollups>>),
        events: CommitEvents,
        statement_limit: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            counts,
            cache,
            rollups,
            events,
            open_for: 2 * statement_limit,
            started: Instant::now(),
            active: Mutex::new(0),
        })
    }

    /// A change is about to begin.
    ///
    /// # Errors
    /// When the database does not take note of it: then it must not begin.
    pub async fn begin(
        self: &Arc<Self>,
        extent: Extent<'_>,
    ) -> Result<ReadingChange, RepositoryError> {
        let pairs = match extent {
            Extent::Of { pairs, .. } => pairs,
            Extent::Outdated => None,
        };
        let pairs = pairs.filter(|pairs| pairs.len() <= PAIRS_MAX);
        let pairs = pairs.map(<[IdPair]>::to_vec);
        let held = match (&self.rollups, extent) {
            (Some(rollups), Extent::Of { time, .. }) => {
                rollups.hold(pairs.as_deref(), time, self.open_for).await?
            }
            _ => Held::default(),
        };
        let mut active = self.active.lock().await;
        let number = self.counts.begin(self.open_for).await?;
        *active += 1;
        let change = ReadingChange {
            changes: Some(self.clone()),
            number,
            pairs,
            held,
            said_at: Instant::now(),
        };
        if let Some(cache) = &self.cache {
            let name = self.counts.name();
            let begun = cache.begin_change((&name, number), change.pairs.as_deref());
            if let Err(error) = begun.await {
                // Nobody believes it before it knows of this one.
                debug!(%error, "the cache does not hear of a change");
            }
        }
        Ok(change)
    }

    async fn end(&self, number: u64, pairs: Option<&[IdPair]>, held: &Held) {
        if let Some(rollups) = &self.rollups
            && let Err(error) = rollups.release(held).await
        {
            debug!(%error, "the rollups do not hear that a change has ended, and wait until it must have");
        }
        let mut active = self.active.lock().await;
        if let Some(cache) = &self.cache {
            let ended = cache.end_change((&self.counts.name(), number), pairs).await;
            if let Err(error) = ended {
                debug!(%error, "the cache does not hear that a change has ended");
            }
        }
        *active = active.saturating_sub(1);
        // Those of an earlier process of this name are over by then, too.
        let all = *active == 0 && self.started.elapsed() > self.open_for;
        if let Err(error) = self.counts.end(all).await {
            debug!(%error, "the database does not hear that a change has ended");
        }
        drop(active);
        self.events.changed(pairs);
    }
}

impl ReadingChange {
    /// It is not over yet.
    ///
    /// # Errors
    /// When the database does not take note of it: then it must not go on.
    pub async fn goes_on(&mut self) -> Result<(), RepositoryError> {
        if let Some(changes) = &self.changes
            && self.said_at.elapsed() > changes.open_for / 4
        {
            changes.counts.goes_on(changes.open_for).await?;
            if let Some(rollups) = &changes.rollups {
                rollups.hold_on(&self.held, changes.open_for).await?;
            }
            self.said_at = Instant::now();
        }
        Ok(())
    }

    /// It is over, however it went.
    pub async fn end(mut self) {
        if let Some(changes) = self.changes.take() {
            changes
                .end(self.number, self.pairs.as_deref(), &self.held)
                .await;
        }
    }
}

impl Drop for ReadingChange {
    /// Nobody waits for it any more, while the database may still be at work on its last statement.
    fn drop(&mut self) {
        let Some(changes) = self.changes.take() else {
            return;
        };
        let (number, pairs) = (self.number, self.pairs.take());
        let held = std::mem::take(&mut self.held);
        let is_running = tokio::runtime::Handle::try_current();
        if let Ok(runtime) = is_running {
            runtime.spawn(async move {
                tokio::time::sleep(changes.open_for / 2).await;
                changes.end(number, pairs.as_deref(), &held).await;
            });
        }
    }
}

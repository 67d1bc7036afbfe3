//! Merges what is gathered, makes anew what is dirty, and lets go what is no longer kept.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::metrics::RollupMetrics;
use crate::{
    repository::{Merged, Remade, RepositoryError, mysql::MySqlRollups},
    usecase::ingest::{Gathered, Ingest, RollupInbox},
};

/// Buckets of series that are gathered at the most: 64 MiB of them.
const ROLLUPS_MAX: usize = 450_000;
/// Between two merges.
const MERGE_INTERVAL: Duration = Duration::from_secs(20);
const FEW_BUCKETS: usize = 1_000;
/// Between two looks for what is dirty, while there is nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const STANDING_INTERVAL: Duration = Duration::from_secs(5);
const GIVE_UP_INTERVAL: Duration = Duration::from_secs(60);
const EXPIRE_INTERVAL: Duration = Duration::from_secs(600);
/// Before a step that failed is tried again.
const PAUSE: Duration = Duration::from_secs(2);
/// While readings come in, making anew rests for so many times as long as it worked.
const RESTS_PER_WORK: u32 = 4;
const LONGEST_REST: Duration = Duration::from_secs(2);
/// So many rows are read at once to make buckets anew, or those of one bucket.
const ROWS_AT_ONCE: u64 = 50_000;
const AT_ONCE_MAX_S: i64 = 366 * 86_400;
/// How long a service that ends waits for its last batches, and merges them.
const LAST_MERGE: Duration = Duration::from_secs(5);

/// Who looks after the rollups.
pub struct RollupKeeper {
    store: Arc<MySqlRollups>,
    inbox: Arc<RollupInbox>,
    ingest: Arc<Ingest>,
    metrics: RollupMetrics,
}

/// Begins to gather. Before the first load, or its batch would be made anew.
///
/// # Errors
/// When a level would go that has what is nowhere else, and when the database does not answer.
pub async fn keep(
    store: &MySqlRollups,
    inbox: &RollupInbox,
    metrics: &RollupMetrics,
) -> Result<(), RepositoryError> {
    store.start().await?;
    if store.levels().is_empty() {
        return Ok(());
    }
    let lost = store.give_up_earlier().await?;
    metrics.lost(lost);
    if lost > 0 {
        info!(
            batches = lost,
            "an earlier process of this name has left batches that it did not merge"
        );
    }
    inbox.open(ROLLUPS_MAX);
    Ok(())
}

impl RollupKeeper {
    #[must_use]
    pub fn new(
        store: Arc<MySqlRollups>,
        inbox: Arc<RollupInbox>,
        ingest: Arc<Ingest>,
        metrics: RollupMetrics,
    ) -> Self {
        Self {
            store,
            inbox,
            ingest,
            metrics,
        }
    }

    /// Does its work until the service drains, and merges what its last batches came to.
    pub async fn run(self, draining: CancellationToken) {
        let mut left = None;
        tokio::select! {
            () = self.merge(&mut left) => {}
            () = self.remake() => {}
            () = self.retire() => {}
            () = self.measure() => {}
            () = draining.cancelled() => {}
        }
        let last = async {
            while self.ingest.figures().in_flight > 0 {
                sleep(Duration::from_millis(20)).await;
            }
            for gathered in [left.take().unwrap_or_default(), self.inbox.take()] {
                if let Err(reason) = self.merge_some(&gathered).await {
                    debug!(%reason, "what the last batches came to is made anew later");
                }
            }
        };
        let _ = timeout(LAST_MERGE, last).await;
    }

    /// What is being merged stays in `left` until it is.
    async fn merge(&self, left: &mut Option<Gathered>) {
        let mut fails = false;
        loop {
            if left.is_none() {
                self.wait().await;
                *left = Some(self.inbox.take());
            }
            let Some(gathered) = left.as_ref() else {
                continue;
            };
            match self.merge_some(gathered).await {
                Ok(()) => {
                    *left = None;
                    fails = false;
                }
                Err(reason) => {
                    if !std::mem::replace(&mut fails, true) {
                        warn!(%reason, "the rollups fall behind: merging is tried again");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Until it is time to merge. Where little comes, nothing is won by waiting for more.
    async fn wait(&self) {
        let began = Instant::now();
        while began.elapsed() < MERGE_INTERVAL {
            if timeout(LOOK_INTERVAL, self.inbox.due()).await.is_ok() {
                return;
            }
            if self.inbox.waiting() < FEW_BUCKETS && self.ingest.figures().in_flight == 0 {
                return;
            }
        }
    }

    async fn merge_some(&self, gathered: &Gathered) -> Result<(), RepositoryError> {
        for batch in &gathered.lost {
            self.store.give_up_batch(batch).await?;
        }
        if !gathered.batches.is_empty() {
            let Gathered {
                batches, rollups, ..
            } = gathered;
            match self.store.merge(batches, rollups).await? {
                Merged::Done => self.metrics.merged(rollups.len()),
                Merged::NotWanted => self.metrics.lost(batches.len() as u64),
            }
        }
        self.metrics.lost(gathered.lost.len() as u64);
        Ok(())
    }

    async fn remake(&self) {
        let mut at_once_s = 0;
        let mut fails = false;
        loop {
            let began = Instant::now();
            match self.store.remake(at_once_s).await {
                Ok(Remade::Some { rows }) => {
                    fails = false;
                    self.metrics.remade(rows);
                    at_once_s = match rows {
                        ROWS_AT_ONCE.. => at_once_s / 2,
                        rows if rows < ROWS_AT_ONCE / 4 => (at_once_s * 2).clamp(60, AT_ONCE_MAX_S),
                        _ => at_once_s,
                    };
                    if self.ingest.figures().in_flight > 0 {
                        sleep((began.elapsed() * RESTS_PER_WORK).min(LONGEST_REST)).await;
                    }
                }
                Ok(Remade::Waiting | Remade::Nothing) => sleep(LOOK_INTERVAL).await,
                Err(RepositoryError::Contention(reason)) => {
                    debug!(reason, "making buckets anew met another transaction");
                    sleep(PAUSE).await;
                }
                Err(reason) => {
                    if !std::mem::replace(&mut fails, true) {
                        warn!(%reason, "buckets cannot be made anew: tried again");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn retire(&self) {
        let (mut next, mut expired_at) = (None, None::<Instant>);
        let mut looked_at = None::<Instant>;
        let is_due = |at: Option<Instant>, interval| at.is_none_or(|at| at.elapsed() >= interval);
        loop {
            if is_due(looked_at, GIVE_UP_INTERVAL) {
                looked_at = Some(Instant::now());
                match self.store.give_up_old().await {
                    Ok(0) => {}
                    Ok(lost) => {
                        self.metrics.lost(lost);
                        warn!(
                            batches = lost,
                            "nobody has merged these: their buckets are made anew"
                        );
                    }
                    Err(reason) => debug!(%reason, "old batches are looked for later"),
                }
            }
            if next.is_some() || is_due(expired_at, EXPIRE_INTERVAL) {
                expired_at = Some(Instant::now());
                match self.store.expire(next.unwrap_or(0)).await {
                    Ok(found) => next = found,
                    Err(reason) => debug!(%reason, "what is no longer kept goes later"),
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn measure(&self) {
        loop {
            match self.store.standing().await {
                Ok(standing) => self.metrics.stands(standing),
                Err(reason) => debug!(%reason, "it is not known how far the rollups are"),
            }
            sleep(STANDING_INTERVAL).await;
        }
    }
}

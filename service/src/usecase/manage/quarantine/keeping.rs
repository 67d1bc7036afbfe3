//! Holds the quarantine to its limits: a client that sends nothing but bad readings must not fill the disk (P5).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::QuarantineMetrics;
use crate::repository::{QuarantineLimits, RepositoryError, mysql::MySqlQuarantine};

/// Between looks at the quarantine.
const INTERVAL: Duration = Duration::from_secs(10);
/// Rejections that one transaction removes: some milliseconds of work.
const SLICE_ROWS: u32 = 2_000;
/// Between two slices, for the lanes to go on.
const SLICE_PAUSE: Duration = Duration::from_millis(20);
/// So many rejections are counted, in some tens of milliseconds. Beyond, their ids tell how many there are at the most.
const COUNTED_ROWS: u64 = 100_000;

/// Removes rejections beyond the limits until the service drains.
pub async fn keep_quarantine(
    quarantine: Arc<MySqlQuarantine>,
    limits: QuarantineLimits,
    metrics: QuarantineMetrics,
    draining: CancellationToken,
) {
    let mut keeper = Keeper {
        quarantine,
        limits,
        metrics,
        counted_up_to: None,
        told: None,
    };
    let work = async {
        loop {
            keeper.pass().await;
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = draining.cancelled() => {}
    }
}

struct Keeper {
    quarantine: Arc<MySqlQuarantine>,
    limits: QuarantineLimits,
    /// The newest rejection when they were counted last. To count is a long walk, and in vain when none came since.
    counted_up_to: Option<u64>,
    metrics: QuarantineMetrics,
    /// The first and the newest rejection when their number was told last.
    told: Option<(u64, u64)>,
}

impl Keeper {
    async fn pass(&mut self) {
        let mut removed = 0;
        if let Err(reason) = self.trim(&mut removed).await {
            warn!(%reason, "the quarantine cannot be held to its limits");
        }
        if let Err(reason) = self.tell().await {
            debug!(%reason, "the quarantine cannot be counted");
        }
        if removed > 0 {
            self.metrics.removed.inc_by(removed);
            let QuarantineLimits {
                max_rows,
                retention,
            } = self.limits;
            let retention = retention.map(|it| it.to_string());
            info!(
                removed,
                max_rows, retention, "old rejections were removed from the quarantine"
            );
        }
    }

    /// Tells how many there are. A look at both ends says whether that is still what was told.
    async fn tell(&mut self) -> Result<(), RepositoryError> {
        let ids = self.quarantine.ids().await?;
        if ids == self.told && ids.is_some() {
            return Ok(());
        }
        let readings = match ids {
            None => 0,
            Some((first, newest)) => match self.quarantine.count(COUNTED_ROWS).await? {
                COUNTED_ROWS => newest - first + 1,
                counted => counted,
            },
        };
        self.metrics
            .readings
            .set(i64::try_from(readings).unwrap_or(i64::MAX));
        self.told = ids;
        Ok(())
    }

    /// Removes what is beyond the limits, and counts it.
    async fn trim(&mut self, removed: &mut u64) -> Result<(), RepositoryError> {
        let quarantine = self.quarantine.as_ref();
        let QuarantineLimits {
            max_rows,
            retention,
        } = self.limits;
        if let Some(retention) = retention {
            let slice = || quarantine.remove_older(retention, SLICE_ROWS);
            in_slices(slice, removed).await?;
        }
        let Some((first, newest)) = quarantine.ids().await? else {
            return Ok(());
        };
        if newest - first < max_rows || self.counted_up_to == Some(newest) {
            return Ok(());
        }
        if let Some(last) = quarantine.last_beyond(max_rows).await? {
            let slice = || quarantine.remove_up_to(last, SLICE_ROWS);
            in_slices(slice, removed).await?;
        }
        self.counted_up_to = Some(newest);
        Ok(())
    }
}

async fn in_slices<F: Future<Output = Result<u64, RepositoryError>>>(
    slice: impl Fn() -> F,
    removed: &mut u64,
) -> Result<(), RepositoryError> {
    loop {
        match slice().await? {
            0 => return Ok(()),
            rows => *removed += rows,
        }
        tokio::time::sleep(SLICE_PAUSE).await;
    }
}

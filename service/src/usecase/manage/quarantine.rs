//! Holds the quarantine to its limits: a client that sends nothing but bad readings must not fill the disk (P5).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::repository::{QuarantineLimits, mysql::MySqlQuarantine};

/// Between looks at the quarantine.
const INTERVAL: Duration = Duration::from_secs(10);
/// Rejections that one transaction removes: some milliseconds of work.
const SLICE_ROWS: u32 = 2_000;
/// Between two slices, for the lanes to go on.
const SLICE_PAUSE: Duration = Duration::from_millis(20);

/// Removes rejections beyond the limits until the service drains.
pub async fn keep_quarantine(
    keeper: Arc<MySqlQuarantine>,
    limits: QuarantineLimits,
    draining: CancellationToken,
) {
    let work = async {
        loop {
            pass(keeper.as_ref(), limits).await;
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = draining.cancelled() => {}
    }
}

async fn pass(keeper: &MySqlQuarantine, limits: QuarantineLimits) {
    let mut removed = 0;
    loop {
        match keeper.trim(limits, SLICE_ROWS).await {
            Ok(0) => break,
            Ok(rows) => removed += rows,
            Err(reason) => {
                warn!(%reason, "the quarantine cannot be held to its limits");
                break;
            }
        }
        tokio::time::sleep(SLICE_PAUSE).await;
    }
    if removed > 0 {
        let (max_rows, retention) = (limits.max_rows, limits.retention.map(|it| it.to_string()));
        info!(
            removed,
            max_rows, retention, "old rejections were removed from the quarantine"
        );
    }
}

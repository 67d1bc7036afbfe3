//! Forgets the lanes of instances that are gone: where an instance is named after its pod, each rollout leaves the rows
//! of the one before in the ledger.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{model::TimeSpan, repository::mysql::MySqlLanes};

/// Between looks for them. Lanes that rest write once an hour that they are there.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// An instance that was not heard of for so long does not come back to ask whether its last COMMIT happened.
const UNHEARD: TimeSpan = TimeSpan::of_seconds(7 * 86_400);

/// Removes the ledger rows of lanes that were not heard of for a week, until the service drains.
pub async fn forget_lanes(lanes: Arc<MySqlLanes>, draining: CancellationToken) {
    let work = async {
        loop {
            pass(&lanes).await;
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = draining.cancelled() => {}
    }
}

async fn pass(lanes: &MySqlLanes) {
    match lanes.remove_unheard(UNHEARD).await {
        Ok(removed) => {
            for lane in removed {
                info!(%lane, "a lane that was not heard of for a week was removed from the ledger");
            }
        }
        Err(reason) => warn!(%reason, "lanes of instances that are gone cannot be removed"),
    }
}

//! Memory for those who watch, kept for as long as they do (P4).

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a watcher waits for room before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a watcher takes by itself, and for each series: its names, three times, while it is told.
const WATCHER_BYTES: usize = 16 << 10;
const SERIES_BYTES: usize = 1_024;

/// The memory of all who watch.
#[derive(Debug)]
pub struct WatcherRooms {
    free: Arc<Semaphore>,
    budget_bytes: u32,
}

/// Room for one of them; dropping it gives the room back.
#[derive(Debug)]
pub(super) struct WatcherRoom(#[allow(dead_code, reason = "held")] OwnedSemaphorePermit);

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "others who watch fill the {budget_bytes} bytes that there are (rest.live_bytes): try again later, or watch fewer series"
)]
pub struct Full {
    pub budget_bytes: u32,
}

impl WatcherRooms {
    #[must_use]
    pub fn new(budget_bytes: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(budget_bytes as usize)),
            budget_bytes,
        }
    }

    /// Waits for room to tell of so many series.
    pub(super) async fn take(&self, series_max: usize) -> Result<WatcherRoom, Full> {
        let of_series = series_max.saturating_mul(SERIES_BYTES);
        let bytes = WATCHER_BYTES.saturating_add(of_series);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let budget_bytes = self.budget_bytes;
        let taken = self
            .free
            .clone()
            .acquire_many_owned(bytes.min(budget_bytes));
        match tokio::time::timeout(PATIENCE, taken).await {
            Ok(Ok(permit)) => Ok(WatcherRoom(permit)),
            _ => Err(Full { budget_bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn watchers_have_room_as_long_as_there_is_some() {
        let rooms = WatcherRooms::new(40 << 10);
        let one = rooms.take(4).await.unwrap();
        let other = rooms.take(4).await.unwrap();
        let refused = rooms.take(1).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("the 40960 bytes that there are (rest.live_bytes)")
        );
        drop(one);
        let third = rooms.take(4).await.unwrap();
        drop((other, third));
        // One that would take more than there is takes all.
        let _all = rooms.take(usize::MAX >> 10).await.unwrap();
        assert!(rooms.take(0).await.is_err());
    }
}

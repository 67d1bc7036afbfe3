//! What is on its way in HTTP/2 and not read yet is memory outside of the admission budget (P4). So connections are
//! counted, and what their windows take beyond the smallest one comes from a budget: the first get fast windows, and a
//! thousand of them small ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The window that HTTP/2 gives to every connection before anything is said: 65,535 bytes.
const SMALLEST_BYTES: u32 = 64 << 10;
const LARGEST_BYTES: u32 = 2 << 20;
/// Streams that are held back, for want of room, must not starve the one of their connection that has some: so the
/// connection's window is many stream windows. 128 KiB of each stream in flight are 25 MiB/s at a round trip of 5 ms, two
/// million readings in columns.
const STREAMS_PER_CONNECTION: u32 = 16;
/// One frame.
const SMALLEST_OF_STREAM_BYTES: u32 = 16 << 10;
/// A connection takes at most one part in so many of what is left.
const SHARE: usize = 4;

/// The windows of all connections.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    connections: Arc<Semaphore>,
    /// Bytes beyond the smallest windows.
    free: Arc<Semaphore>,
}

/// The windows of one connection; dropping it gives them back.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) connection_bytes: u32,
    pub(super) stream_bytes: u32,
    _taken: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Windows {
    pub(super) fn new(max_connections: usize, beyond_smallest_bytes: usize) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(max_connections)),
            free: Arc::new(Semaphore::new(beyond_smallest_bytes)),
        }
    }

    /// None when there are as many connections as there may be.
    pub(super) fn open(&self) -> Option<Window> {
        let connection = self.connections.clone().try_acquire_owned().ok()?;
        Some(self.window(connection))
    }

    /// Waits for a connection to end. The semaphore is never closed, so there is always a window in the end.
    pub(super) async fn freed(&self) -> Option<Window> {
        let connection = self.connections.clone().acquire_owned().await.ok()?;
        Some(self.window(connection))
    }

    fn window(&self, connection: OwnedSemaphorePermit) -> Window {
        let share = self.free.available_permits() / SHARE;
        let more = u32::try_from(share)
            .unwrap_or(u32::MAX)
            .min(LARGEST_BYTES - SMALLEST_BYTES);
        // Another one may have been faster: the smallest will do.
        let more = self.free.clone().try_acquire_many_owned(more).ok();
        let granted = more.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let connection_bytes = SMALLEST_BYTES + u32::try_from(granted).unwrap_or(0);
        Window {
            connection_bytes,
            stream_bytes: (connection_bytes / STREAMS_PER_CONNECTION).max(SMALLEST_OF_STREAM_BYTES),
            _taken: (connection, more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_connections_are_fast_and_all_together_are_bounded() {
        let windows = Windows::new(100, 8 << 20);
        let open: Vec<Window> = std::iter::from_fn(|| windows.open()).collect();
        assert_eq!(open.len(), 100);
        assert_eq!(open[0].connection_bytes, LARGEST_BYTES);
        assert_eq!(open[0].stream_bytes, LARGEST_BYTES / STREAMS_PER_CONNECTION);
        assert!(
            open.iter()
                .all(|window| window.stream_bytes >= SMALLEST_OF_STREAM_BYTES)
        );
        let all: u32 = open.iter().map(|window| window.connection_bytes).sum();
        assert!(all <= 100 * SMALLEST_BYTES + (8 << 20), "{all}");
        drop(open);
        let again = windows.open().map(|window| window.connection_bytes);
        assert_eq!(again, Some(LARGEST_BYTES));
    }
}

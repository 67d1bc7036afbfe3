//! Replies that are ready and not written. A client that does not read them keeps their memory and their calls (P4), so
//! its connection is ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// The unread replies of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<Mutex<Replies>>);

#[derive(Debug, Default)]
struct Replies {
    ready_since: BTreeMap<u64, Instant>,
    next: u64,
}

/// One reply. Dropping it says that it is written, or that nobody wants it.
#[derive(Debug)]
pub(super) struct UnreadReply {
    number: u64,
    of: Unread,
}

impl Unread {
    fn lock(&self) -> MutexGuard<'_, Replies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply that is ready now.
    pub(super) fn add(&self) -> UnreadReply {
        let mut replies = self.lock();
        let number = replies.next;
        replies.next += 1;
        replies.ready_since.insert(number, Instant::now());
        UnreadReply {
            number,
            of: self.clone(),
        }
    }

    /// Resolves when a reply has been ready for longer than `limit`.
    pub(super) async fn overdue(&self, limit: Duration) {
        loop {
            sleep(PAUSE).await;
            // Numbers follow time.
            let oldest = self.lock().ready_since.values().next().copied();
            if oldest.is_some_and(|since| since.elapsed() > limit) {
                return;
            }
        }
    }
}

impl Drop for UnreadReply {
    fn drop(&mut self) {
        self.of.lock().ready_since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_reply_that_nobody_reads_is_found_out() {
        let unread = Unread::default();
        drop(unread.add());
        let read = timeout(3 * PAUSE, unread.overdue(Duration::ZERO));
        assert!(read.await.is_err(), "nothing is unread");
        let kept = unread.add();
        let found = timeout(60 * PAUSE, unread.overdue(Duration::ZERO));
        assert!(found.await.is_ok());
        drop(kept);
    }
}

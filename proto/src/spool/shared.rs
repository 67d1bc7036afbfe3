//! What the tasks of a spool and whoever pushes into it share.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, watch};

use super::{
    error::SpoolError,
    inbox::Inbox,
    log::Log,
    progress::{Books, SpoolProgress},
};
use crate::{producer::Trouble, v1::RejectedReading};

/// Rejected readings that are kept; the oldest go first.
const MOST_REJECTED: usize = 1_000;

#[derive(Debug)]
pub(super) struct Shared {
    log: Mutex<Log>,
    pub(super) inbox: Inbox,
    /// There may be place again.
    pub(super) released: Notify,
    progress: watch::Sender<SpoolProgress>,
    pub(super) trouble: watch::Sender<Trouble>,
    /// Why nothing is sent any more.
    pub(super) failure: watch::Sender<Option<SpoolError>>,
    rejected: Mutex<VecDeque<RejectedReading>>,
}

impl Shared {
    pub(super) fn new(log: Log) -> Self {
        let inbox = Inbox::new(log.limits.record_bytes, log.last.reading);
        let progress = SpoolProgress {
            cut_bytes: log.cut_bytes,
            ..SpoolProgress::default()
        };
        let shared = Self {
            inbox,
            log: Mutex::new(log),
            released: Notify::new(),
            progress: watch::Sender::new(progress),
            trouble: watch::Sender::default(),
            failure: watch::Sender::default(),
            rejected: Mutex::default(),
        };
        shared.with_log(|log| shared.publish(log));
        shared
    }

    /// Blocks: for threads that may wait for a disk.
    pub(super) fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        work(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works with the log on a thread that may wait for the disk, and publishes what came of it.
    pub(super) async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Log) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            shared.with_log(|log| {
                let done = work(log);
                shared.publish(log);
                done
            })
        });
        match done.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(SpoolError::Stopped),
        }
    }

    fn publish(&self, log: &Log) {
        self.progress.send_if_modified(|progress| {
            let before = progress.clone();
            progress.durable = log.last.reading;
            progress.pending = log.pending();
            progress.used_bytes = log.used_bytes();
            progress.dropped = log.state().dropped;
            progress.damaged = log.state().damaged;
            *progress != before
        });
    }

    pub(super) fn progress(&self) -> watch::Receiver<SpoolProgress> {
        self.progress.subscribe()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut SpoolProgress)) {
        self.progress.send_modify(change);
    }

    /// What was sent to the service, and what came of it.
    pub(super) fn tell_books(&self, books: Books) {
        self.change(|progress| progress.books = books);
    }

    /// Nothing is taken any more.
    pub(super) fn end(&self, error: SpoolError) {
        self.inbox.fail(error);
        self.change(|progress| progress.has_ended = true);
    }

    pub(super) fn keep_rejected(&self, readings: Vec<RejectedReading>) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.extend(readings);
        let excess = rejected.len().saturating_sub(MOST_REJECTED);
        rejected.drain(..excess);
    }

    pub(super) fn take_rejected(&self) -> Vec<RejectedReading> {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rejected).into()
    }
}

//! The task that brings what gathers to the disk: one record, and one fsync, for all that waits.

use std::{
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    error::SpoolError,
    log::{Appended, Log},
    options::WhenFull,
    record::Batch,
    shared::Shared,
};

/// Between looks at a disk that others have filled.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Of all that is said of dropped readings.
const SAY_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    shared: Arc<Shared>,
    when_full: WhenFull,
    sync_interval: Duration,
    said: Option<Clock>,
}

/// What became of a batch.
enum Kept {
    Durable,
    /// There was place once readings were dropped, so many in all.
    Dropped(u64),
    Full(String),
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, when_full: WhenFull, sync_interval: Duration) -> Self {
        Self {
            shared,
            when_full,
            sync_interval,
            said: None,
        }
    }

    /// Writes until the disk fails, or the task is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let look = self.shared.inbox.look();
            if !look.is_due {
                let deadline = look.opened_at.map(|at| at + self.sync_interval);
                tokio::select! {
                    () = self.shared.inbox.wake.notified() => continue,
                    () = until(deadline) => {}
                }
            }
            let batch = Arc::new(self.shared.inbox.take());
            if batch.readings() == 0 {
                continue;
            }
            if let Err(error) = self.keep(&batch).await {
                self.shared.end(error);
                return;
            }
        }
    }

    /// Has the batch on the disk, however long that takes.
    async fn keep(&mut self, batch: &Arc<Batch>) -> Result<(), SpoolError> {
        loop {
            let (batch, when_full) = (Arc::clone(batch), self.when_full);
            // Before the attempt: what is released meanwhile is not missed.
            let shared = Arc::clone(&self.shared);
            let released = shared.released.notified();
            let kept = self
                .shared
                .on_disk(move |log| append(log, &batch, when_full))
                .await?;
            match kept {
                Kept::Durable => {
                    self.tell_full(None);
                    return Ok(());
                }
                Kept::Dropped(readings) => {
                    self.tell_full(None);
                    self.say_dropped(readings);
                    return Ok(());
                }
                Kept::Full(reason) => {
                    self.tell_full(Some(&reason));
                    let _ = timeout(LOOK_AGAIN, released).await;
                }
            }
        }
    }

    /// Says once that the spool is full, and once that it is not any more.
    fn tell_full(&self, reason: Option<&str>) {
        let was_full = self.shared.progress().borrow().full.is_some();
        match reason {
            Some(reason) if !was_full => {
                tracing::warn!("the spool takes nothing until there is place: {reason}");
                let reason: Arc<str> = Arc::from(reason);
                self.shared.change(|progress| progress.full = Some(reason));
            }
            None if was_full => {
                tracing::info!("the spool has place again");
                self.shared.change(|progress| progress.full = None);
            }
            _ => {}
        }
    }

    fn say_dropped(&mut self, readings: u64) {
        if self.said.is_none_or(|said| said.elapsed() > SAY_EVERY) {
            self.said = Some(Clock::now());
            tracing::warn!(
                dropped = readings,
                "the spool is full and drops its oldest readings"
            );
        }
    }
}

fn append(log: &mut Log, batch: &Batch, when_full: WhenFull) -> Result<Kept, SpoolError> {
    let mut has_dropped = false;
    loop {
        let reason = match log.append(batch)? {
            Appended::Durable if has_dropped => return Ok(Kept::Dropped(log.state().dropped)),
            Appended::Durable => return Ok(Kept::Durable),
            Appended::Full(reason) => reason,
        };
        if when_full == WhenFull::Block {
            return Ok(Kept::Full(reason));
        }
        match log.drop_oldest()? {
            Some(_) => has_dropped = true,
            // All of it is on its way, or others have filled the disk.
            None => return Ok(Kept::Full(reason)),
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

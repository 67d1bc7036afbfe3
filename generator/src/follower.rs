//! Follows one producer: when its readings become durable, and its books at the end.

use std::sync::Arc;

use sluicegate_proto::producer::{Producer, ProducerError, Progress, Trouble};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{
    error::ending,
    journal::{Acks, Log},
    progress::Counters,
    report::{Books, Tally},
    waiting::Waiting,
};

/// Records the latency of every reading of one producer, and keeps the journal of its acknowledgements.
#[derive(Debug)]
pub(crate) struct Follower {
    first_seq: u64,
    progress: watch::Receiver<Progress>,
    waiting: Arc<Waiting>,
    counters: Arc<Counters>,
    acks: Option<Acks>,
    trouble: watch::Receiver<Trouble>,
    connection: u16,
    task: JoinHandle<()>,
}

impl Follower {
    /// Follows the producer of this connection.
    pub(crate) fn start(
        producer: &Producer,
        counters: &Arc<Counters>,
        log: Option<&Log>,
        connection: u16,
    ) -> Self {
        let waiting = Arc::new(Waiting::default());
        let progress = producer.progress();
        let first_seq = producer.next_seq();
        let acks = log.map(Log::acks);
        // What was wrong with a producer before it is not wrong with this one.
        counters.troubles.heal(connection);
        tokio::spawn(watch_trouble(
            producer.trouble(),
            Arc::clone(counters),
            connection,
        ));
        let task = tokio::spawn(record(
            progress.clone(),
            Arc::clone(&waiting),
            Arc::clone(counters),
            acks.clone().map(|acks| (acks, first_seq)),
        ));
        Self {
            first_seq,
            progress,
            waiting,
            counters: Arc::clone(counters),
            acks,
            trouble: producer.trouble(),
            connection,
            task,
        }
    }

    /// The readings up to `last_seq` were handed over and should have been sent at `intended`.
    pub(crate) fn sent(&self, last_seq: u64, readings: u32, intended: Instant) {
        self.waiting.add(last_seq, readings.into(), intended);
        self.counters.add_sent(readings.into());
    }

    /// Writes down which readings were rejected since the last time; the producer keeps only so many.
    pub(crate) fn note_rejected(&self, producer: &Producer) {
        let rejected = producer.take_rejected();
        if rejected.is_empty() {
            return;
        }
        let reasons = rejected.iter();
        let reasons = reasons.map(|one| (one.field.as_str(), one.reason.as_str()));
        self.counters.rejections.add(reasons);
        if let Some(acks) = &self.acks {
            acks.rejected(rejected.iter().map(|one| one.seq + 1 - self.first_seq));
        }
    }

    /// Closes the producer, unless it has ended by itself, and draws up the books.
    pub(crate) async fn finish(
        self,
        mut producer: Producer,
        pushed: Result<(), ProducerError>,
    ) -> Tally {
        let mut tally = Tally::default();
        let sent = producer.next_seq() - self.first_seq;
        let flushed = match pushed {
            Ok(()) => producer.flush().await.map(|_| ()),
            Err(error) => Err(error),
        };
        self.note_rejected(&producer);
        let closed = match flushed {
            Ok(()) => producer.close().await.map(|_| ()),
            Err(error) => {
                drop(producer);
                Err(error)
            }
        };
        if let Err(error) = closed {
            tally.errors.push(ending(&error));
        }
        // The task that watches it may not have seen the last one yet.
        let trouble = self.trouble.borrow().clone();
        show(&trouble, &self.counters, self.connection);
        if let Err(error) = self.task.await {
            tally.errors.push(format!("latencies were lost: {error}"));
        }
        let durable = *self.progress.borrow();
        let received = durable.committed + durable.rejected + durable.duplicate;
        tally.books = Books {
            sent,
            received,
            committed: durable.committed,
            rejected: durable.rejected,
            duplicate: durable.duplicate,
            // What the service counted beyond `sent` is an error of the books, and shows there.
            failed: sent.saturating_sub(received),
        };
        self.counters.add_failed(tally.books.failed);
        tally.reconnects = durable.reconnects;
        tally
    }
}

/// Shows what goes wrong with a producer, until it ends.
async fn watch_trouble(
    mut trouble: watch::Receiver<Trouble>,
    counters: Arc<Counters>,
    connection: u16,
) {
    while trouble.changed().await.is_ok() {
        let now = trouble.borrow_and_update().clone();
        show(&now, &counters, connection);
    }
}

/// A failure counts as the last one also when it is overcome by the time that it is seen.
fn show(trouble: &Trouble, counters: &Counters, connection: u16) {
    if let Some(failure) = &trouble.last_failure {
        counters.troubles.note(connection, failure);
    }
    if !trouble.persists {
        counters.troubles.heal(connection);
    }
}

async fn record(
    mut progress: watch::Receiver<Progress>,
    waiting: Arc<Waiting>,
    counters: Arc<Counters>,
    acks: Option<(Acks, u64)>,
) {
    let mut last = *progress.borrow_and_update();
    loop {
        let ended = progress.changed().await.is_err();
        let durable = *progress.borrow_and_update();
        if durable.committed_seq > last.committed_seq
            && let Some((acks, first_seq)) = &acks
        {
            acks.through(durable.committed_seq + 1 - first_seq, durable.rejected);
        }
        counters.acknowledged(
            durable.committed_seq - last.committed_seq,
            durable.rejected - last.rejected,
        );
        counters.add_reconnects(durable.reconnects - last.reconnects);
        last = durable;
        waiting.acknowledge(durable.committed_seq, &counters);
        if ended {
            return;
        }
    }
}

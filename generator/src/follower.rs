//! Follows one producer: when its readings become durable, and its books at the end.

use std::sync::Arc;

use sluicegate_proto::producer::{Producer, ProducerError, Progress};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{
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
    task: JoinHandle<()>,
}

impl Follower {
    pub(crate) fn start(producer: &Producer, counters: &Arc<Counters>, log: Option<&Log>) -> Self {
        let waiting = Arc::new(Waiting::default());
        let progress = producer.progress();
        let first_seq = producer.next_seq();
        let acks = log.map(Log::acks);
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
            tally.errors.push(error.to_string());
        }
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

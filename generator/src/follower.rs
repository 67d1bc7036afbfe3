//! Follows one producer: when its readings become durable, and its books at the end.

use std::sync::Arc;

use sluicegate_proto::producer::{Producer, ProducerError, Progress};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{
    latency::{Latencies, Waiting},
    progress::Counters,
    report::{Books, Tally},
};

/// Records the latency of every reading of one producer.
#[derive(Debug)]
pub(crate) struct Follower {
    first_seq: u64,
    progress: watch::Receiver<Progress>,
    waiting: Arc<Waiting>,
    counters: Arc<Counters>,
    task: JoinHandle<Latencies>,
}

impl Follower {
    pub(crate) fn start(producer: &Producer, counters: &Arc<Counters>) -> Self {
        let waiting = Arc::new(Waiting::default());
        let progress = producer.progress();
        let task = tokio::spawn(record(
            progress.clone(),
            Arc::clone(&waiting),
            Arc::clone(counters),
        ));
        Self {
            first_seq: producer.next_seq(),
            progress,
            waiting,
            counters: Arc::clone(counters),
            task,
        }
    }

    /// The readings up to `last_seq` were handed over and should have been sent at `intended`.
    pub(crate) fn sent(&self, last_seq: u64, readings: u32, intended: Instant) {
        self.waiting.add(last_seq, readings.into(), intended);
        self.counters.add_sent(readings.into());
    }

    /// Closes the producer, unless it has ended by itself, and draws up the books.
    pub(crate) async fn finish(
        self,
        producer: Producer,
        pushed: Result<(), ProducerError>,
    ) -> Tally {
        let mut tally = Tally::new();
        let sent = producer.next_seq() - self.first_seq;
        let closed = match pushed {
            Ok(()) => producer.close().await.map(|_| ()),
            Err(error) => {
                drop(producer);
                Err(error)
            }
        };
        if let Err(error) = closed {
            tally.errors.push(error.to_string());
        }
        match self.task.await {
            Ok(latencies) => tally.latencies = latencies,
            Err(error) => tally.errors.push(format!("latencies were lost: {error}")),
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
        tally.reconnects = durable.reconnects;
        tally
    }
}

async fn record(
    mut progress: watch::Receiver<Progress>,
    waiting: Arc<Waiting>,
    counters: Arc<Counters>,
) -> Latencies {
    let mut latencies = Latencies::new();
    let mut committed_seq = progress.borrow_and_update().committed_seq;
    loop {
        let ended = progress.changed().await.is_err();
        let durable = progress.borrow_and_update().committed_seq;
        counters.add_durable(durable - committed_seq);
        committed_seq = durable;
        waiting.acknowledge(durable, &mut latencies);
        if ended {
            return latencies;
        }
    }
}

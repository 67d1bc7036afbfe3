//! What the service has acknowledged so far: the books of one producer.

use crate::v1;

/// How far a producer has come; everything in it is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Everything up to and with this position is settled. An anonymous producer counts its own readings from 1.
    pub committed_seq: u64,
    /// Readings that this producer sent and the service committed. Readings that a broken call had settled without
    /// an ack are found out when the stream is opened again.
    pub committed: u64,
    /// Readings that the service rejected.
    pub rejected: u64,
    /// Readings that the service had already.
    pub duplicate: u64,
    /// Attempts to go on: each follows a call that broke, or an attempt that failed.
    pub reconnects: u64,
}

/// Where a stream stands in its producer's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceMark {
    pub(super) source_position: Vec<u8>,
    /// Position of the last reading before it.
    pub(super) seq: u64,
}

impl SourceMark {
    /// None where the service knows of no position.
    pub(super) fn new(source_position: &[u8], seq: u64) -> Option<Self> {
        (!source_position.is_empty()).then(|| Self {
            source_position: source_position.to_vec(),
            seq,
        })
    }
}

/// The books of a producer that was closed: all of it is durable, and
/// `received = committed + rejected + duplicate`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Readings that this producer sent.
    pub received: u64,
    /// Readings that were committed.
    pub committed: u64,
    /// Readings that were rejected.
    pub rejected: u64,
    /// Readings that the service had already.
    pub duplicate: u64,
    /// The position that is durable.
    pub committed_seq: u64,
    /// Attempts to go on: each follows a call that broke, or an attempt that failed.
    pub reconnects: u64,
}

impl From<Progress> for Summary {
    fn from(progress: Progress) -> Self {
        Self {
            received: progress.committed + progress.rejected + progress.duplicate,
            committed: progress.committed,
            rejected: progress.rejected,
            duplicate: progress.duplicate,
            committed_seq: progress.committed_seq,
            reconnects: progress.reconnects,
        }
    }
}

/// Adds up the totals of one call after another.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Of the calls that have ended.
    ended: Progress,
    /// Of the call that is open.
    current: Progress,
    /// Readings of the stream that were rejected before this producer opened it.
    rejected_before: u64,
}

impl Books {
    pub(super) fn new(committed_seq: u64, rejected_before: u64) -> Self {
        let ended = Progress {
            committed_seq,
            ..Progress::default()
        };
        Self {
            ended,
            current: Progress::default(),
            rejected_before,
        }
    }

    /// Takes the totals of the open call; `committed_seq` is the position in the stream.
    pub(super) fn acknowledge(&mut self, ack: &v1::StreamAck, committed_seq: u64) {
        self.current = Progress {
            committed_seq,
            committed: ack.committed,
            rejected: ack.rejected,
            duplicate: ack.duplicate,
            reconnects: 0,
        };
    }

    /// Closes the books of a call; the next one starts from 0.
    pub(super) fn end_call(&mut self) {
        self.ended = self.total();
        self.current = Progress::default();
    }

    /// Another attempt follows a failure.
    pub(super) fn reconnect(&mut self) {
        self.ended.reconnects += 1;
    }

    /// The stream was opened again and is further than the last ack said: the difference was settled unseen.
    /// `rejected` is the stream's total.
    pub(super) fn recover(&mut self, committed_seq: u64, rejected: u64) {
        let unseen = committed_seq.saturating_sub(self.ended.committed_seq);
        let ours = rejected.saturating_sub(self.rejected_before);
        let unseen_rejected = ours.saturating_sub(self.ended.rejected).min(unseen);
        self.ended.rejected += unseen_rejected;
        self.ended.committed += unseen - unseen_rejected;
        self.ended.committed_seq = self.ended.committed_seq.max(committed_seq);
    }

    pub(super) fn total(&self) -> Progress {
        Progress {
            committed_seq: self.ended.committed_seq.max(self.current.committed_seq),
            committed: self.ended.committed + self.current.committed,
            rejected: self.ended.rejected + self.current.rejected,
            duplicate: self.ended.duplicate + self.current.duplicate,
            reconnects: self.ended.reconnects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_balance_over_a_broken_call() {
        let mut books = Books::new(100, 40);
        let ack = |committed, rejected| v1::StreamAck {
            committed,
            rejected,
            ..v1::StreamAck::default()
        };
        books.acknowledge(&ack(5, 1), 106);
        books.acknowledge(&ack(9, 1), 110);
        books.end_call();
        books.reconnect();
        books.recover(115, 43);
        books.acknowledge(&ack(4, 1), 120);
        let summary = Summary::from(books.total());
        assert_eq!(summary.received, 20);
        assert_eq!((summary.committed, summary.rejected), (16, 4));
        assert_eq!((summary.committed_seq, summary.reconnects), (120, 1));
    }
}

//! How far a spool has come.

use std::sync::Arc;

use crate::producer::Progress;

/// What a spool has taken, what it has, and what the service has of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolProgress {
    /// Readings that are on the disk or were, since the folder was made: what `push` returned up to here survives.
    pub durable: u64,
    /// Readings on the disk that the service has not acknowledged.
    pub pending: u64,
    /// Bytes of the readings on the disk.
    pub used_bytes: u64,
    /// Readings that were dropped because the spool was full, since the folder was made.
    pub dropped: u64,
    /// Readings that could not be read back and were left out, since the folder was made.
    pub damaged: u64,
    /// Bytes of a record that was being written when the process or the power went, cut off when the spool was opened.
    pub cut_bytes: u64,
    /// Why nothing is taken at the moment: the spool is full, or the disk.
    pub full: Option<Arc<str>>,
    /// Of this opening.
    pub books: Books,
    pub(super) has_ended: bool,
}

/// What this opening of a spool has sent, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Books {
    /// Readings that were handed to the producer; again after it had to begin anew.
    pub forwarded: u64,
    /// Readings that the service committed.
    pub committed: u64,
    /// Readings that the service rejected.
    pub rejected: u64,
    /// Readings that the service had already.
    pub duplicate: u64,
    /// Attempts to go on after a failure.
    pub reconnects: u64,
}

impl Books {
    /// With what a producer of this opening has done so far.
    pub(super) fn with(self, producer: Progress) -> Self {
        Self {
            committed: self.committed + producer.committed,
            rejected: self.rejected + producer.rejected,
            duplicate: self.duplicate + producer.duplicate,
            reconnects: self.reconnects + producer.reconnects,
            ..self
        }
    }
}

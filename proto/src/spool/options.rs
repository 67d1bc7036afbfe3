//! What a spool is told, and what is possible.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::error::{SpoolError, wrong};

/// What happens to a reading for which the spool has no place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// `push` waits until the service has taken some.
    #[default]
    Block,
    /// The oldest readings that were never sent are dropped, and counted in the spool.
    DropOldest,
}

/// Settings of a spool.
#[derive(Debug, Clone)]
#[must_use]
pub struct SpoolOptions {
    pub(super) folder: PathBuf,
    pub(super) max_bytes: u64,
    pub(super) when_full: WhenFull,
    pub(super) sync_interval: Duration,
    pub(super) skip_damaged: bool,
    pub(super) adopt_stream: bool,
}

/// Less would be segments of a few records.
const LEAST_BYTES: u64 = 1 << 20;

impl SpoolOptions {
    /// A spool in this folder, which is made if it is not there. One process has it at a time.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_owned(),
            max_bytes: 1 << 30,
            when_full: WhenFull::Block,
            sync_interval: Duration::from_millis(100),
            skip_damaged: false,
            adopt_stream: false,
        }
    }

    /// Bytes that the readings may take on the disk, at least 1 MiB; 1 GiB by default. A reading takes about 20, and each
    /// record some hundred more.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// What happens to a reading for which there is no place; [`WhenFull::Block`] by default.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// The time after which a reading is on the disk, if nobody asks for it before, up to a minute; 100 ms by default. One
    /// fsync is for all that has gathered by then: a longer time spares flash, and more is lost with the power.
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = interval;
        self
    }

    /// True: what cannot be read back is left out and counted, instead of being an error.
    pub fn skip_damaged(mut self, skip: bool) -> Self {
        self.skip_damaged = skip;
        self
    }

    /// True: the spool is sent behind whatever the stream has, though that is not what it has brought about: the stream was
    /// another producer's, the database was restored, or the folder was. Readings may be stored twice then. It is for
    /// one opening, not for the settings of every day.
    pub fn adopt_stream(mut self, adopt: bool) -> Self {
        self.adopt_stream = adopt;
        self
    }

    pub(super) fn validated(self) -> Result<Self, SpoolError> {
        if self.max_bytes < LEAST_BYTES {
            return Err(wrong("max_bytes", "must be at least 1048576 (1 MiB)"));
        }
        if self.sync_interval > Duration::from_secs(60) {
            return Err(wrong("sync_interval", "must be 60 s at the most"));
        }
        Ok(self)
    }

    pub(super) fn limits(&self) -> Limits {
        let segment_bytes = (self.max_bytes / 16).clamp(64 << 10, 4 << 20);
        Limits {
            max_bytes: self.max_bytes,
            segment_bytes,
            record_bytes: (segment_bytes / 4).min(256 << 10) as usize,
        }
    }
}

/// Sizes that follow from `max_bytes`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_bytes: u64,
    /// After as many a segment is followed by another one. Space is given back by segments.
    pub(super) segment_bytes: u64,
    /// The payload of a record.
    pub(super) record_bytes: usize,
}

impl Limits {
    /// How much may be on its way to the service. What is, cannot be dropped: nobody knows whether it is stored.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.max_bytes / 4
    }
}

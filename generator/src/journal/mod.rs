//! What a run sent and what was acknowledged, so that [`verify`](crate::verify) can hold the database to it.
//!
//! The journal is text, one record per line, and only ever appended to. Readings are not in it: they are made again from
//! the specification in the first line. A reading is named by its connection and its position, which counts the
//! readings of that connection in this run from 1.
//!
//! | record | meaning |
//! |---|---|
//! | `{"sluicegen_journal":1,…}` | the first line: version, mode, streams and the specification of the readings |
//! | `s C N` | connection C may send its readings up to position N from now on |
//! | `t C N BASE STEP` | from position N + 1 on, timestamps start at BASE and advance by STEP (microseconds) |
//! | `a C N K` | everything up to position N is settled, and K of it were rejected |
//! | `A C F N` | the readings from position F to N are settled |
//! | `r C N` | the reading at position N was rejected |
//! | `e C N` | connection C has ended and sent N readings |
//!
//! `s` is written before the readings are sent and runs ahead of them, so that one record covers many; `a`, `A` and `r`
//! are written after the acknowledgement arrived. Every record is handed to the operating system at once. After a crash
//! of the generator the journal may therefore know less acknowledgements than there were, but never more, and never fewer
//! readings than were sent. A last line without an end is a torn one and does not count.

mod positions;
mod reader;

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};

pub(crate) use self::reader::{Entry, Fate, Journal};
use crate::{error::Error, workload::WorkloadSpec};

const FORMAT: u32 = 1;
/// Readings that one `s` record lets go.
const RESERVE: u64 = 1 << 16;
/// Readings that are made at once at most: those of the largest batch.
const MOST_AT_ONCE: u64 = 1_000_000;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    sluicegen_journal: u32,
    /// The generator that made the readings: another one may make others of the same specification.
    pub(crate) sluicegen: String,
    pub(crate) mode: String,
    /// Beginning of the stream names.
    pub(crate) stream_id: String,
    pub(crate) workload: WorkloadSpec,
}

impl Header {
    pub(crate) fn new(mode: String, stream_id: String, workload: WorkloadSpec) -> Self {
        Self {
            sluicegen_journal: FORMAT,
            sluicegen: env!("CARGO_PKG_VERSION").to_owned(),
            mode,
            stream_id,
            workload,
        }
    }
}

/// Appends to a journal. All connections of a run share one.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Mutex<File>,
    failure: Mutex<Option<String>>,
    failed: AtomicBool,
}

impl Writer {
    /// Starts a journal; a file that is there already is not touched.
    pub(crate) fn create(path: &Path, header: &Header) -> Result<Arc<Self>, Error> {
        let failed = |reason: &dyn fmt::Display| {
            Error::Usage(format!("journal {}: {reason}", path.display()))
        };
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(|error| failed(&error))?;
        let line = serde_json::to_string(header).map_err(|error| failed(&error))? + "\n";
        file.write_all(line.as_bytes())
            .map_err(|error| failed(&error))?;
        Ok(Arc::new(Self {
            file: Mutex::new(file),
            failure: Mutex::new(None),
            failed: AtomicBool::new(false),
        }))
    }

    /// Why the journal is not complete, where it is not.
    pub(crate) fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }

    fn append(&self, records: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // After a failure the last line may be torn: nothing may follow it.
        if self.failed.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = file.write_all(records.as_bytes()) {
            self.failed.store(true, Ordering::Relaxed);
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some(format!("the journal cannot be written: {error}"));
        }
    }
}

/// The part of one connection.
#[derive(Debug)]
pub(crate) struct Log {
    writer: Arc<Writer>,
    connection: u16,
    reserved: u64,
}

impl Log {
    pub(crate) fn new(writer: &Arc<Writer>, connection: u16) -> Self {
        Self {
            writer: Arc::clone(writer),
            connection,
            reserved: 0,
        }
    }

    /// Before readings up to `position` are sent. False when the journal cannot be written: then they must not be.
    #[must_use]
    pub(crate) fn before_sending(&mut self, position: u64) -> bool {
        if position > self.reserved {
            self.reserved = position + RESERVE;
            self.writer
                .append(&format!("s {} {}\n", self.connection, self.reserved));
        }
        !self.writer.failed.load(Ordering::Relaxed)
    }

    /// The clock was set after `position` readings.
    pub(crate) fn clock(&self, position: u64, base_us: i64, step_us: f64) {
        let connection = self.connection;
        self.writer
            .append(&format!("t {connection} {position} {base_us} {step_us}\n"));
    }

    /// Where acknowledgements go.
    pub(crate) fn acks(&self) -> Acks {
        Acks {
            writer: Arc::clone(&self.writer),
            connection: self.connection,
        }
    }

    /// So many readings were sent, and no more will be.
    pub(crate) fn end(&self, sent: u64) {
        self.writer
            .append(&format!("e {} {sent}\n", self.connection));
    }
}

/// Writes down the acknowledgements of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Acks {
    writer: Arc<Writer>,
    connection: u16,
}

impl Acks {
    /// Everything up to `position` is settled, and `rejected` of it were rejected.
    pub(crate) fn through(&self, position: u64, rejected: u64) {
        self.writer
            .append(&format!("a {} {position} {rejected}\n", self.connection));
    }

    /// The readings at these positions were rejected.
    pub(crate) fn rejected(&self, positions: impl Iterator<Item = u64>) {
        let connection = self.connection;
        let records: String = positions
            .map(|position| format!("r {connection} {position}\n"))
            .collect();
        self.writer.append(&records);
    }

    /// The readings from `first` to `last` are settled.
    pub(crate) fn range(&self, first: u64, last: u64) {
        self.writer
            .append(&format!("A {} {first} {last}\n", self.connection));
    }
}

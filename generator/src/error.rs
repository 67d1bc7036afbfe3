//! Why a command could not do its work.

use std::{process::ExitCode, time::Duration};

use sluicegate_proto::{producer::ProducerError, spool::SpoolError};

/// One sentence for the person at the terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input file cannot be used as it is.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// Flags that do not go together.
    #[error("{0}")]
    Usage(String),
    /// The service cannot be reached, or refused.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The spool cannot be opened.
    #[error("{0} (--spool)")]
    Spool(#[from] SpoolError),
    /// The service cannot be reached by a unary call.
    #[error("cannot connect to {target} (--target): {reason}")]
    Connect {
        /// The address.
        target: String,
        /// What the operating system said.
        reason: String,
    },
    /// The address of `serve` is not to be had.
    #[error("cannot listen on {addr} (--addr): {reason}")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// What the operating system said.
        reason: String,
    },
    /// A generator is not well.
    #[error("no generator answers at {addr} (--addr): {reason}")]
    NoGenerator {
        /// The address.
        addr: std::net::SocketAddr,
        /// What came instead.
        reason: String,
    },
    /// Local generators cannot be started or stopped.
    #[error("{0}")]
    Fleet(String),
    /// The readings in the database cannot be read.
    #[error("{0}")]
    Database(String),
    /// The report cannot be written.
    #[error("cannot write the report: {0}")]
    Report(String),
}

impl Error {
    /// 2 for what the person can put right in the command or the file, 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Csv(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Producer(ProducerError::InvalidSetting { .. }) => ExitCode::from(2),
            Self::Spool(SpoolError::InvalidSetting { .. } | SpoolError::Folder { .. }) => {
                ExitCode::from(2)
            }
            Self::Producer(_)
            | Self::Spool(_)
            | Self::Connect { .. }
            | Self::Listen { .. }
            | Self::NoGenerator { .. }
            | Self::Fleet(_)
            | Self::Database(_)
            | Self::Report(_) => ExitCode::from(1),
        }
    }
}

/// What ended a connection, with the flag that decides on it.
pub(crate) fn ending(error: &ProducerError) -> String {
    match error {
        ProducerError::GaveUp { after, last } => gave_up(*after, last),
        error => error.to_string(),
    }
}

/// Nothing went forward for so long.
pub(crate) fn gave_up(after: Duration, last: &str) -> String {
    let after_s = after.as_secs_f64();
    format!("gave up after {after_s:.1} s without progress (--give-up-after): {last}")
}

/// A mistake in a CSV file, and where it is.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{file}{}{}: {reason}",
    .line.map(|line| format!(", line {line}")).unwrap_or_default(),
    .column.as_ref().map(|column| format!(", column {column}")).unwrap_or_default())]
pub struct CsvError {
    pub(crate) file: String,
    pub(crate) line: Option<u64>,
    pub(crate) column: Option<String>,
    pub(crate) reason: String,
}

impl CsvError {
    /// A mistake of the file as a whole.
    pub(crate) fn of_file(file: &str, reason: String) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            reason,
        }
    }
}

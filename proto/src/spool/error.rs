//! Why a spool cannot go on, or refuses a call.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::producer::ProducerError;

/// A spool that returned one of these has ended, except for [`TooLarge`](Self::TooLarge),
/// [`SourcePosition`](Self::SourcePosition) and [`UnknownSeries`](Self::UnknownSeries), which refuse one call and take nothing.
/// What was durable stays in the folder, whatever the error is.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// A setting is out of range.
    #[error("the setting {setting} is wrong: {reason}")]
    InvalidSetting {
        /// The method that takes it.
        setting: &'static str,
        /// What it should be.
        reason: String,
    },
    /// Another process has the folder.
    #[error("the spool {} is in use by another process", .folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder is of something else, or of another stream.
    #[error("the spool {} {reason}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What it is instead, and what to do.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: {error}", .file.display())]
    Io {
        /// What was tried, such as `write`.
        doing: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// Its words.
        error: Arc<io::Error>,
    },
    /// What the disk gives back is not what was written there.
    #[error(
        "{}, byte {offset}: {reason}. Opened with skip_damaged (--skip-damaged) the spool leaves out what cannot be read, counts it, \
         and goes on", .file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it, from 0.
        offset: u64,
        /// What was found.
        reason: String,
    },
    /// A reading whose series has texts without measure.
    #[error("a reading takes {bytes} bytes, {most} are the most that a record of this spool has")]
    TooLarge {
        /// As it is.
        bytes: usize,
        /// As it may be; it grows with `max_bytes`.
        most: usize,
    },
    /// A source position is empty or too long.
    #[error("the source position {reason}")]
    SourcePosition {
        /// What is wrong with it.
        reason: String,
    },
    /// The handle belongs to another spool.
    #[error("the series handle {index} is not one of this spool")]
    UnknownSeries {
        /// The handle.
        index: u32,
    },
    /// The service has the stream in a state that this spool has not brought about: nothing is sent, and nothing is let go of.
    #[error(
        "the stream {stream_id:?} {reason}. Opened with adopt_stream (--adopt-stream) the spool sends what it has behind that, where \
         some of it may be stored twice"
    )]
    Stream {
        /// The stream.
        stream_id: String,
        /// How the two differ.
        reason: String,
    },
    /// The producer has ended.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The tasks of the spool are gone, which happens when their runtime shuts down.
    #[error("the spool has stopped")]
    Stopped,
}

impl SpoolError {
    /// True when there is no place on the disk, or not for this user: somebody may make some.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Io { error, .. } => matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}

/// For `map_err`.
pub(super) fn failed(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    move |error| SpoolError::Io {
        doing,
        file: file.to_owned(),
        error: Arc::new(error),
    }
}

pub(super) fn wrong(setting: &'static str, reason: &str) -> SpoolError {
    SpoolError::InvalidSetting {
        setting,
        reason: reason.to_owned(),
    }
}

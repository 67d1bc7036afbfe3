use std::io;
use std::path::{Path, PathBuf};

use super::Engine;

/// Why an embedded database cannot be used. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedDbError {
    /// Nothing to run.
    #[error("no mariadbd or mysqld found: install mariadb-server or pass --embedded-db-bin")]
    NoServer,

    /// The binary that was named does not say that it is a server.
    #[error("{} is no database server ({reason}): pass a mariadbd or mysqld to --embedded-db-bin", .binary.display())]
    NotAServer {
        /// What was tried.
        binary: PathBuf,
        /// What it answered.
        reason: String,
    },

    /// MariaDB cannot initialise a directory without its script.
    #[error("no mariadb-install-db found near {} or on PATH: install mariadb-server", .binary.display())]
    NoInstaller {
        /// The server that was found.
        binary: PathBuf,
    },

    /// Another process, or another `EmbeddedDb` of this one, holds the directory.
    #[error("{} is in use by another sluicegate (process {owner}): stop it or choose another directory", .data_dir.display())]
    InUse {
        /// The directory both want.
        data_dir: PathBuf,
        /// Process id of the holder, as it wrote it.
        owner: String,
    },

    /// Other users could get at the database through its directory.
    #[error("{} {reason}, but an embedded database has to be closed to others: choose a new directory, or make this one yours alone (chown, chmod 700)", .data_dir.display())]
    NotPrivate {
        /// The directory.
        data_dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The directory holds the database of the other engine.
    #[error("{} holds a {found} database but {} is {wanted}: choose another directory or binary", .data_dir.display(), .binary.display())]
    OtherEngine {
        /// The directory.
        data_dir: PathBuf,
        /// The server that was to run on it.
        binary: PathBuf,
        /// The engine that made the directory.
        found: Engine,
        /// The engine of the server.
        wanted: Engine,
    },

    /// A server that outlived its parent does not go away.
    #[error(
        "the server left behind as process {pid} cannot be stopped ({reason}): end it and start again"
    )]
    Orphan {
        /// Its process id.
        pid: u32,
        /// What stopped us.
        reason: String,
    },

    /// The server could not make a new database.
    #[error("the database could not be initialised ({reason}); {} ends with:\n{tail}", .log.display())]
    Initialise {
        /// How the attempt ended.
        reason: String,
        /// The log of the server.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },

    /// The server did not come up.
    #[error("the database did not start ({reason}); {} ends with:\n{tail}", .log.display())]
    Start {
        /// How the attempt ended.
        reason: String,
        /// The log of the server.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },

    /// The server ended again and again.
    #[error("the embedded database has ended {deaths} times within {window_s} s, at last with {last}; {} ends with:\n{tail}", .log.display())]
    KeepsDying {
        /// How often it ended, starts that failed included.
        deaths: usize,
        /// Within how many seconds.
        window_s: u64,
        /// How it ended the last time.
        last: String,
        /// The log of the server.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },

    /// A file or directory refused.
    #[error("cannot use {} for --embedded-db: {source}", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl EmbeddedDbError {
    /// Whether a start will fail like this again until somebody has mended settings or files.
    #[must_use]
    pub fn has_to_be_mended(&self) -> bool {
        match self {
            Self::NoServer
            | Self::NotAServer { .. }
            | Self::NoInstaller { .. }
            | Self::NotPrivate { .. }
            | Self::OtherEngine { .. }
            | Self::Io { .. } => true,
            Self::InUse { .. }
            | Self::Orphan { .. }
            | Self::Initialise { .. }
            | Self::Start { .. }
            | Self::KeepsDying { .. } => false,
        }
    }

    /// For `map_err`: says which path an I/O error is about.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

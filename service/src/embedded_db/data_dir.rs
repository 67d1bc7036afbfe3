//! The directory of an embedded database: what lies where, and who may use it.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use tempfile::TempDir;

use super::privacy::{OWNER_FILE, make_private, private_file};
use super::{EmbeddedDbError, Engine};

/// `sun_path` holds 108 bytes, the last of them zero.
const SOCKET_PATH_LIMIT_BYTES: usize = 107;
/// A longer log is set aside when the database is next started.
const LOG_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// With less room than this a server does not start: each makes a temporary tablespace of 12 MiB, and some logs.
const START_ROOM_BYTES: u64 = 32 * 1024 * 1024;
/// How much of the log an error quotes.
const LOG_TAIL_LINES: usize = 12;
const LOG_TAIL_BYTES: u64 = 4096;

/// A directory this process, and nobody else, may run a server on.
#[derive(Debug)]
pub(super) struct DataDir {
    root: PathBuf,
    socket: PathBuf,
    /// Holds the socket when `root` is too long for one; removed on drop.
    _socket_dir: Option<TempDir>,
    /// The kernel lets go of the lock when the process dies, however it dies.
    lock: File,
}

impl DataDir {
    /// Creates the directory if need be and takes it for this process.
    pub(super) fn claim(root: &Path) -> Result<Self, EmbeddedDbError> {
        let root = make_private(root)?;
        let lock = lock(&root)?;
        let (socket, socket_dir) = place_socket(&root)?;
        let dir = Self {
            root,
            socket,
            _socket_dir: socket_dir,
            lock,
        };
        dir.set_long_log_aside()?;
        Ok(dir)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the engine keeps its files.
    pub(super) fn tables(&self, engine: Engine) -> PathBuf {
        self.root.join(match engine {
            Engine::MySql => "mysql-data",
            Engine::MariaDb => "mariadb-data",
        })
    }

    /// Where a new database is made; renamed to [`Self::tables`] once it is whole.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished-data")
    }

    /// Makes the folder for a server's temporary files.
    pub(super) fn make_temporary(&self) -> Result<PathBuf, EmbeddedDbError> {
        self.make_folder("tmp")
    }

    /// Makes the only folder that SQL statements may read files from and write them to.
    pub(super) fn make_files(&self) -> Result<PathBuf, EmbeddedDbError> {
        self.make_folder("files")
    }

    fn make_folder(&self, name: &str) -> Result<PathBuf, EmbeddedDbError> {
        let path = self.root.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o700)))
            .map_err(EmbeddedDbError::io(&path))?;
        Ok(path)
    }

    /// How clients reach the database as its administrator.
    pub(super) fn client_options(&self) -> PathBuf {
        self.root.join("client.cnf")
    }

    /// What the server does before it takes connections.
    pub(super) fn init_file(&self) -> PathBuf {
        self.root.join("init.sql")
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// Opens the log for a server to write to, and says where in it the new lines begin.
    pub(super) fn open_log(&self) -> Result<(File, u64), EmbeddedDbError> {
        let path = self.log_path();
        let open = || {
            let log = private_file(&path)?;
            rustix::fs::fcntl_setfl(&log, OFlags::APPEND)?;
            let begin = log.metadata()?.len();
            Ok((log, begin))
        };
        open().map_err(EmbeddedDbError::io(&path))
    }

    /// The last lines that were logged after `begin`.
    pub(super) fn log_tail(&self, begin: u64) -> String {
        let read = || -> std::io::Result<String> {
            let mut log = File::open(self.log_path())?;
            let end = log.metadata()?.len();
            log.seek(SeekFrom::Start(
                begin.max(end.saturating_sub(LOG_TAIL_BYTES)),
            ))?;
            let mut bytes = Vec::new();
            log.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_else(|error| format!("(the log cannot be read: {error})"));
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Removes what a killed server leaves: MySQL refuses a socket whose lock file names a live process, and by now
    /// that number may belong to anyone.
    pub(super) fn remove_stale_socket(&self) -> Result<(), EmbeddedDbError> {
        let mut lock_file = self.socket.clone().into_os_string();
        lock_file.push(".lock");
        for path in [self.socket.clone(), PathBuf::from(lock_file)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(EmbeddedDbError::io(&path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the file system takes `O_DIRECT`; tmpfs refused it until Linux 6.6.
    pub(super) fn takes_direct_io(&self) -> bool {
        let probe = self.root.join("direct-io-probe");
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::DIRECT;
        let taken = rustix::fs::open(&probe, flags, Mode::RUSR | Mode::WUSR).is_ok();
        // A probe that stays behind is empty and is opened again next time.
        let _ = std::fs::remove_file(&probe);
        taken
    }

    /// Whether the disk is out of room for a server to start with.
    pub(super) fn is_full(&self) -> bool {
        let disk = rustix::fs::statvfs(&self.root);
        disk.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < START_ROOM_BYTES)
    }

    fn set_long_log_aside(&self) -> Result<(), EmbeddedDbError> {
        let path = self.log_path();
        match path.metadata() {
            Ok(log) if log.len() > LOG_LIMIT_BYTES => {
                std::fs::rename(&path, self.root.join("server.log.old"))
                    .map_err(EmbeddedDbError::io(&path))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing is not enough while a child that another thread is spawning still has a copy of the file.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

/// Takes the file that says whose the directory is.
fn lock(root: &Path) -> Result<File, EmbeddedDbError> {
    let path = root.join(OWNER_FILE);
    let mut file = private_file(&path).map_err(EmbeddedDbError::io(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            let read = file.read_to_string(&mut owner);
            let known = read.is_ok() && !owner.trim().is_empty();
            return Err(EmbeddedDbError::InUse {
                data_dir: root.to_owned(),
                owner: if known {
                    owner.trim().to_owned()
                } else {
                    "unknown".to_owned()
                },
            });
        }
        Err(error) => return Err(EmbeddedDbError::io(&path)(error.into())),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(EmbeddedDbError::io(&path))?;
    Ok(file)
}

fn place_socket(root: &Path) -> Result<(PathBuf, Option<TempDir>), EmbeddedDbError> {
    let fits = |socket: &Path| socket.as_os_str().as_bytes().len() <= SOCKET_PATH_LIMIT_BYTES;
    let socket = root.join("server.sock");
    if fits(&socket) {
        return Ok((socket, None));
    }
    // A long TMPDIR is possible too, and /tmp is short.
    for parent in [std::env::temp_dir(), PathBuf::from("/tmp")] {
        let dir = tempfile::Builder::new()
            .prefix("sluicegate-")
            .tempdir_in(&parent)
            .map_err(EmbeddedDbError::io(&parent))?;
        let socket = dir.path().join("server.sock");
        if fits(&socket) {
            return Ok((socket, Some(dir)));
        }
    }
    Err(EmbeddedDbError::io(&socket)(
        ErrorKind::InvalidFilename.into(),
    ))
}

//! A private `mariadbd` or `mysqld` child, for `--embedded-db`, the demo and the tests.
//!
//! The server reads no configuration of the machine, listens on a Unix socket of its own and is fully durable.

mod data_dir;
mod error;
mod keeper;
mod orphan;
mod privacy;
mod root_account;
mod server;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use data_dir::DataDir;
pub use error::EmbeddedDbError;
pub use keeper::Condition;
use root_account::RootAccount;
pub use server::Engine;
use server::Server;

/// What a node of Galera says until it has joined (ER_UNKNOWN_COM_ERROR).
const NODE_NOT_READY: u16 = 1047;
/// Making a new database takes seconds; a loaded machine gets more.
const INITIALISE_LIMIT: Duration = Duration::from_secs(180);
/// Crash recovery reads the redo log, which may be 2 GiB.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long a server may take to flush and leave before it is killed, unless the options say so.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What to run, and on which directory.
#[derive(Debug, Clone)]
pub struct EmbeddedDbOptions {
    /// Holds everything of this database; created when it is missing.
    pub data_dir: PathBuf,
    /// The server; by default the first `mariadbd`, then `mysqld`, that is found.
    pub binary: Option<PathBuf>,
    /// Further arguments, after ours, so that they win.
    pub extra_args: Vec<String>,
    /// Size of the InnoDB buffer pool in bytes; 512 MiB by default.
    pub buffer_pool_bytes: Option<u64>,
    /// Listen on this port of 127.0.0.1 as well; 0 takes a free one. By default there is no port.
    pub tcp_port: Option<u16>,
    /// How long the server may take to end before it is killed; 60 s by default.
    pub stop_limit: Duration,
}

impl EmbeddedDbOptions {
    /// The defaults, on this directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            binary: None,
            extra_args: Vec::new(),
            buffer_pool_bytes: None,
            tcp_port: None,
            stop_limit: STOP_LIMIT,
        }
    }
}

/// A running server. Dropping it kills it; [`EmbeddedDb::stop`] is the gentle way.
#[derive(Debug)]
pub struct EmbeddedDb {
    // Before `dir`, so that the server is killed before its directory is free for others.
    child: Option<Child>,
    server: Server,
    options: EmbeddedDbOptions,
    tcp_port: Option<u16>,
    root: RootAccount,
    condition: watch::Sender<Condition>,
    dir: DataDir,
}

impl EmbeddedDb {
    /// Starts a server, after making a database if there is none, and waits until it answers.
    ///
    /// A server that a killed sluicegate left on this directory is stopped first.
    ///
    /// # Errors
    /// When the directory is in use or cannot be closed to other users, or the server cannot be found, initialised or started within 180 s each.
    pub async fn start(options: EmbeddedDbOptions) -> Result<Self, EmbeddedDbError> {
        let server = Server::find(options.binary.as_deref()).await?;
        let dir = DataDir::claim(&options.data_dir)?;
        let root = RootAccount::keep(&dir.client_options(), dir.socket())?;
        let tcp_port = match options.tcp_port {
            Some(0) => Some(free_port()?),
            port => port,
        };
        let mut db = Self {
            child: None,
            server,
            options,
            tcp_port,
            root,
            condition: watch::Sender::default(),
            dir,
        };
        db.refuse_other_engine()?;
        for tables in [db.dir.unfinished(), db.tables()] {
            orphan::stop_orphans(&tables).await?;
        }
        if !db.tables().exists() {
            db.initialise().await?;
        }
        db.launch().await?;
        Ok(db)
    }

    /// For `mysql_async::Opts::from_url`: root with its password on the socket, database `sluicegate`.
    pub fn url(&self) -> String {
        let socket = self.socket().to_string_lossy();
        let socket = utf8_percent_encode(&socket, NON_ALPHANUMERIC);
        let root = self.root.user_info();
        format!("mysql://{root}@localhost/sluicegate?socket={socket}")
    }

    /// The password of root, which every connection needs. It outlives a restart.
    pub fn root_password(&self) -> &str {
        self.root.password()
    }

    /// The same database by TCP, if a port was asked for. The driver is kept from changing over to the socket.
    pub fn tcp_url(&self) -> Option<String> {
        let root = self.root.user_info();
        self.tcp_port
            .map(|port| format!("mysql://{root}@127.0.0.1:{port}/sluicegate?prefer_socket=false"))
    }

    /// The port on 127.0.0.1, if one was asked for. It outlives a restart.
    pub fn tcp_port(&self) -> Option<u16> {
        self.tcp_port
    }

    /// The Unix socket. It outlives a restart.
    pub fn socket(&self) -> &Path {
        self.dir.socket()
    }

    /// The directory as an absolute path.
    pub fn data_dir(&self) -> &Path {
        self.dir.root()
    }

    /// Whether this is MySQL or MariaDB.
    pub fn engine(&self) -> Engine {
        self.server.engine()
    }

    /// Process id of the server, or none after [`EmbeddedDb::kill`] and [`EmbeddedDb::stop`].
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Kills the server with SIGKILL and waits until it is gone: a crash, for fault tests.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub async fn kill(&mut self) -> Result<(), EmbeddedDbError> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        child
            .kill()
            .await
            .map_err(EmbeddedDbError::io(self.server.binary()))
    }

    /// Stops the server with SIGTERM and waits; kills it when it takes longer than the options allow.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub async fn stop(&mut self) -> Result<(), EmbeddedDbError> {
        let Some(child) = self.child.as_mut() else {
            return Ok(());
        };
        if let Some(pid) = child.id() {
            orphan::send(pid, Signal::TERM).map_err(EmbeddedDbError::io(self.server.binary()))?;
        }
        let limit = self.options.stop_limit;
        match timeout(limit, child.wait()).await {
            Ok(_) => self.child = None,
            Err(_) => {
                tracing::warn!(
                    limit_s = limit.as_secs(),
                    "the embedded database did not stop in time: killing it"
                );
                self.kill().await?;
            }
        }
        Ok(())
    }

    /// Starts the server again on the same directory, socket and port, stopping it first if it runs.
    ///
    /// # Errors
    /// As [`EmbeddedDb::start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedDbError> {
        self.stop().await?;
        self.launch().await
    }

    fn tables(&self) -> PathBuf {
        self.dir.tables(self.engine())
    }

    fn refuse_other_engine(&self) -> Result<(), EmbeddedDbError> {
        let found = match self.engine() {
            Engine::MySql => Engine::MariaDb,
            Engine::MariaDb => Engine::MySql,
        };
        if self.dir.tables(found).exists() {
            return Err(EmbeddedDbError::OtherEngine {
                data_dir: self.dir.root().to_owned(),
                binary: self.server.binary().to_owned(),
                found,
                wanted: self.engine(),
            });
        }
        Ok(())
    }

    /// Makes a new database under another name first, so that a start cut short leaves no half of one.
    async fn initialise(&self) -> Result<(), EmbeddedDbError> {
        let unfinished = self.dir.unfinished();
        match tokio::fs::remove_dir_all(&unfinished).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(EmbeddedDbError::io(&unfinished)(error));
            }
            _ => {}
        }
        let command = self.server.initialise_command(&unfinished)?;
        let (mut child, log_begin) = self.spawn(command)?;
        let reason = match timeout(INITIALISE_LIMIT, child.wait()).await {
            Ok(Ok(status)) if status.success() => {
                let tables = self.tables();
                return tokio::fs::rename(&unfinished, &tables)
                    .await
                    .map_err(EmbeddedDbError::io(&tables));
            }
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not done after {} s", INITIALISE_LIMIT.as_secs()),
        };
        Err(EmbeddedDbError::Initialise {
            reason,
            log: self.dir.log_path(),
            tail: self.dir.log_tail(log_begin),
        })
    }

    async fn launch(&mut self) -> Result<(), EmbeddedDbError> {
        self.dir.remove_stale_socket()?;
        let by_tcp = self.tcp_port.is_some();
        self.root.write_init(&self.dir.init_file(), by_tcp)?;
        let files = self.dir.make_files()?;
        let command = self
            .server
            .serve_command(&self.dir, &files, self.tcp_port, &self.options);
        let (child, log_begin) = self.spawn(command)?;
        // Ours from now on, so that a start that is cut short leaves something to stop.
        self.child = Some(child);
        let reason = match timeout(START_LIMIT, self.until_ready()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer after {} s", START_LIMIT.as_secs()),
        };
        // Dead before we return, or a second attempt would meet it. It may well have exited by itself.
        let _ = self.kill().await;
        Err(EmbeddedDbError::Start {
            reason,
            log: self.dir.log_path(),
            tail: self.dir.log_tail(log_begin),
        })
    }

    fn spawn(&self, mut command: Command) -> Result<(Child, u64), EmbeddedDbError> {
        let (log, log_begin) = self.dir.open_log()?;
        let temporary = self.dir.make_temporary()?;
        let log_copy = log
            .try_clone()
            .map_err(EmbeddedDbError::io(&self.dir.log_path()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log_copy)
            .stderr(log)
            // A MariaDB that starts removes the temporary tables of every other one that shares this folder.
            .env("TMPDIR", temporary)
            // Ctrl-C goes to a whole process group, and the database has to outlive our draining.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(EmbeddedDbError::io(self.server.binary()))?;
        Ok((child, log_begin))
    }

    /// Returns once statements work; the error says in words why they never will.
    async fn until_ready(&mut self) -> Result<(), String> {
        loop {
            match self.child.as_mut().map(Child::try_wait).transpose() {
                Ok(Some(None)) => {}
                Ok(Some(Some(status))) => return Err(status.to_string()),
                Ok(None) => return Err("it does not run".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
            match self.prepare().await {
                Ok(()) => return Ok(()),
                // A node of a cluster listens before it has joined it.
                Err(mysql_async::Error::Server(error)) if error.code != NODE_NOT_READY => {
                    return Err(error.to_string());
                }
                Err(_) => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Creates our database.
    async fn prepare(&self) -> Result<(), mysql_async::Error> {
        let opts = OptsBuilder::from_opts(Opts::from_url(&self.url())?).db_name(None::<String>);
        let mut conn = Conn::new(opts).await?;
        self.root.secure(&mut conn).await?;
        conn.query_drop(
            "CREATE DATABASE IF NOT EXISTS sluicegate CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )
        .await?;
        conn.disconnect().await
    }
}

/// A port that is free now. The server takes it a moment later, which is good enough on a loopback of one's own.
fn free_port() -> Result<u16, EmbeddedDbError> {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(EmbeddedDbError::io(Path::new("a port of 127.0.0.1")))
}

//! The server binary: which one, of which engine, and how it is called.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::data_dir::DataDir;
use super::{EmbeddedDbError, EmbeddedDbOptions};

/// Where servers live that are not on everyone's PATH.
const SERVER_DIRS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec"];
const DEFAULT_BUFFER_POOL_BYTES: u64 = 512 * 1024 * 1024;

/// Which of the two databases a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Oracle MySQL.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        })
    }
}

/// A server that can be run.
#[derive(Debug)]
pub(super) struct Server {
    binary: PathBuf,
    engine: Engine,
}

impl Server {
    /// Takes `binary`, or else the first `mariadbd`, then `mysqld`, of this machine.
    pub(super) async fn find(binary: Option<&Path>) -> Result<Self, EmbeddedDbError> {
        let binary = match binary {
            Some(binary) => binary.to_owned(),
            None => ["mariadbd", "mysqld"]
                .into_iter()
                .find_map(|name| find_program(name, SERVER_DIRS.map(PathBuf::from)))
                .ok_or(EmbeddedDbError::NoServer)?,
        };
        let engine = detect_engine(&binary).await?;
        Ok(Self { binary, engine })
    }

    pub(super) fn engine(&self) -> Engine {
        self.engine
    }

    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// The command that makes a new database in `tables`.
    pub(super) fn initialise_command(&self, tables: &Path) -> Result<Command, EmbeddedDbError> {
        let mut command = match self.engine {
            Engine::MySql => {
                let mut command = program(&self.binary);
                command
                    .args(["--no-defaults", "--initialize-insecure"])
                    .args(run_as_root());
                command
            }
            Engine::MariaDb => {
                let mut command = program(&self.find_installer()?);
                // Without --user, even as root: with it the script runs a chown that a blank in the path breaks.
                command.args([
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--skip-name-resolve",
                ]);
                command
            }
        };
        command.arg(path_option("--datadir=", tables));
        Ok(command)
    }

    /// The command that serves `dir`.
    pub(super) fn serve_command(
        &self,
        dir: &DataDir,
        files: &Path,
        tcp_port: Option<u16>,
        options: &EmbeddedDbOptions,
    ) -> Command {
        let buffer_pool_bytes = options
            .buffer_pool_bytes
            .unwrap_or(DEFAULT_BUFFER_POOL_BYTES);
        let flush_method = if dir.takes_direct_io() {
            "O_DIRECT"
        } else {
            "fsync"
        };
        let mut command = program(&self.binary);
        command
            // Has to be first: the machine's own database settings are not ours.
            .arg("--no-defaults")
            .arg(path_option("--datadir=", &dir.tables(self.engine)))
            .arg(path_option("--socket=", dir.socket()))
            .arg(path_option("--pid-file=", &dir.root().join("server.pid")))
            .arg(path_option("--init-file=", &dir.init_file()))
            .arg(path_option("--secure-file-priv=", files))
            .args(run_as_root())
            .args([
                "--local-infile=1",
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-doublewrite=ON",
                "--innodb-autoinc-lock-mode=2",
                "--skip-log-bin",
                "--skip-name-resolve",
                "--character-set-server=utf8mb4",
                "--collation-server=utf8mb4_bin",
                "--performance-schema=OFF",
                "--max-allowed-packet=64M",
            ])
            .arg(format!("--innodb-buffer-pool-size={buffer_pool_bytes}"))
            .arg(format!("--innodb-flush-method={flush_method}"));
        match self.engine {
            Engine::MySql => command.args(["--innodb-redo-log-capacity=2G", "--mysqlx=OFF"]),
            Engine::MariaDb => command.arg("--innodb-log-file-size=1G"),
        };
        match tcp_port {
            Some(port) => command
                .arg("--bind-address=127.0.0.1")
                .arg(format!("--port={port}")),
            None => command.arg("--skip-networking"),
        };
        command.args(&options.extra_args);
        command
    }

    /// Finds `mariadb-install-db` where packages (PATH) and tarballs (`../bin`, `../scripts`) keep it.
    fn find_installer(&self) -> Result<PathBuf, EmbeddedDbError> {
        let binary = self
            .binary
            .canonicalize()
            .unwrap_or_else(|_| self.binary.clone());
        let here = binary.parent().unwrap_or(Path::new("."));
        let near = [
            here.to_owned(),
            here.join("../bin"),
            here.join("../scripts"),
        ];
        find_in("mariadb-install-db", near)
            .or_else(|| find_program("mariadb-install-db", [PathBuf::from("/usr/bin")]))
            .ok_or_else(|| EmbeddedDbError::NoInstaller {
                binary: self.binary.clone(),
            })
    }
}

/// A server of MariaDB tells a service manager how it stands, and the manager would take that for our word.
fn program(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_remove("NOTIFY_SOCKET");
    command
}

async fn detect_engine(binary: &Path) -> Result<Engine, EmbeddedDbError> {
    let refuse = |reason: String| EmbeddedDbError::NotAServer {
        binary: binary.to_owned(),
        reason,
    };
    let output = program(binary)
        .args(["--no-defaults", "--version"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| refuse(error.to_string()))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    // "mysqld  Ver 9.7.4 for Linux on x86_64 (MySQL Community Server)", and distributions change the end of it.
    match output.status.success() && answer.contains("Ver ") {
        true if answer.contains("MariaDB") => Ok(Engine::MariaDb),
        true => Ok(Engine::MySql),
        false => Err(refuse(format!("--version ended with {}", output.status))),
    }
}

/// A server that is run by root refuses to stay root unless told so.
fn run_as_root() -> Option<&'static str> {
    rustix::process::geteuid()
        .is_root()
        .then_some("--user=root")
}

fn path_option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

fn find_program<const N: usize>(name: &str, also_in: [PathBuf; N]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(name, std::env::split_paths(&path).chain(also_in))
}

fn find_in(name: &str, dirs: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    dirs.into_iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

//! Real message brokers, private to a test: data of their own, on ports of their own.
//!
//! `SLUICEGATE_TEST_KAFKA=required`, `SLUICEGATE_TEST_RABBITMQ=required` and `SLUICEGATE_TEST_MOSQUITTO=required` demand
//! them, as `scripts/test.sh` does where they are to be had. A test that needs one which is not demanded says so, and ends.

pub(crate) mod kafka;
pub(crate) mod mosquitto;
mod processes;
pub(crate) mod rabbitmq;
pub(crate) mod senders;

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::fs::statvfs;
use tempfile::TempDir;
use tokio::{net::TcpSocket, process::Command, time::timeout};

/// A folder in memory has to have more room than this.
const MINIMUM_MEMORY_BYTES: u64 = 2 << 30;
/// How long a tool of a broker's may take.
const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// Whether the variable demands its broker. Says aloud that it does not.
fn is_demanded(variable: &str, broker: &str) -> bool {
    match std::env::var(variable).as_deref() {
        Ok("required") => true,
        Ok(other) => panic!("{variable} is {other:?}: it takes \"required\""),
        Err(_) => {
            eprintln!("{variable}=required is not set: nothing was tested with {broker}");
            false
        }
    }
}

/// A port of this host that nobody else is given, also while its broker is down.
struct Port {
    number: u16,
    /// Bound, but not listening: who listens here has to ask for the port by number, and allow it to be reused.
    _bound: TcpSocket,
}

impl Port {
    fn take() -> Self {
        let bound = TcpSocket::new_v4().expect("a socket");
        bound.set_reuseaddr(true).expect("set");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        bound.bind(any).expect("a free port");
        Self {
            number: bound.local_addr().expect("bound").port(),
            _bound: bound,
        }
    }
}

/// An empty folder in `within`, or in memory where there is room: a broker waits for the disk at every turn.
fn data_dir(within: Option<&Path>) -> TempDir {
    let memory = Path::new("/dev/shm");
    let has_room = statvfs(memory)
        .is_ok_and(|of| of.f_bavail.saturating_mul(of.f_frsize) > MINIMUM_MEMORY_BYTES);
    let mut named = tempfile::Builder::new();
    let named = named.prefix("sluicegate-broker-");
    if let Some(within) = within {
        return named.tempdir_in(within).expect("a directory");
    }
    let in_memory = has_room.then(|| named.tempdir_in(memory));
    match in_memory {
        Some(Ok(dir)) => dir,
        _ => named.tempdir().expect("a directory"),
    }
}

/// Runs a tool to its end, and returns what it printed. One that fails fails the test.
async fn output_of(mut tool: Command) -> String {
    tool.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(TOOL_LIMIT, tool.output())
        .await
        .unwrap_or_else(|_| panic!("{tool:?} does not end"))
        .unwrap_or_else(|error| panic!("{tool:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{tool:?}: {}\n{printed}{complaint}",
        output.status
    );
    printed
}

/// As a tool's argument.
fn text(of: impl AsRef<OsStr>) -> String {
    of.as_ref().to_str().expect("UTF-8").to_owned()
}

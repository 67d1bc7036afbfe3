//! Servers that outlived the process that started them.
//!
//! A child cannot be tied to the life of its parent without `unsafe`, so the next start looks for what the last one
//! left behind. The caller holds the directory's lock, so any server on it is an orphan.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::{EmbeddedDbError, STOP_LIMIT};

/// How long the kernel may take to end a process after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Stops every server that runs on `tables`: politely, then by force.
pub(super) async fn stop_orphans(tables: &Path) -> Result<(), EmbeddedDbError> {
    for pid in servers_on(tables)? {
        tracing::warn!(pid, tables = %tables.display(), "stopping a database server left behind");
        if stop(pid, tables, Signal::TERM, STOP_LIMIT).await? {
            continue;
        }
        if !stop(pid, tables, Signal::KILL, KILL_LIMIT).await? {
            return Err(EmbeddedDbError::Orphan {
                pid,
                reason: "it survives SIGKILL".to_owned(),
            });
        }
    }
    Ok(())
}

/// Sends a signal to a process of ours; one that is gone already is no error.
pub(super) fn send(pid: u32, signal: Signal) -> std::io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(());
    };
    match kill_process(pid, signal) {
        Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether the server went away within `limit`.
async fn stop(
    pid: u32,
    tables: &Path,
    signal: Signal,
    limit: Duration,
) -> Result<bool, EmbeddedDbError> {
    send(pid, signal).map_err(|error| EmbeddedDbError::Orphan {
        pid,
        reason: error.to_string(),
    })?;
    let deadline = Instant::now() + limit;
    while serves(pid, tables) {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(true)
}

fn servers_on(tables: &Path) -> Result<Vec<u32>, EmbeddedDbError> {
    let proc = Path::new("/proc");
    let entries = proc.read_dir().map_err(EmbeddedDbError::io(proc))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| serves(pid, tables))
        .collect())
}

/// Whether the process is alive and was started by us on exactly this directory. A zombie has no command line.
fn serves(pid: u32, tables: &Path) -> bool {
    let Ok(command_line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let data_dir = [b"--datadir=", tables.as_os_str().as_bytes()].concat();
    let has = |wanted: &[u8]| {
        command_line
            .split(|&byte| byte == 0)
            .any(|argument| argument == wanted)
    };
    has(b"--no-defaults") && has(&data_dir)
}

//! Generator processes on this machine: started by `up`, and exactly those stopped by `down`.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{error::Error, files};

const READY_LIMIT: Duration = Duration::from_secs(20);
/// A generator waits for its acknowledgements before it ends.
const END_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// What `up` leaves for `down`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StateFile {
    pub(super) generators: Vec<Local>,
}

/// A generator process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Local {
    pid: i32,
    /// When it was started, in the kernel's ticks: a pid alone may belong to another process by now.
    started_ticks: u64,
    pub(super) addr: SocketAddr,
}

#[derive(Deserialize)]
struct Ready {
    rest_addr: SocketAddr,
}

pub(super) fn default_dir() -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("sluicegen")
}

impl StateFile {
    fn path(directory: &Path) -> PathBuf {
        directory.join("fleet.json")
    }

    /// What `up` left, without the processes that are gone.
    pub(super) fn read(directory: &Path) -> Result<Self, Error> {
        let path = Self::path(directory);
        let failed = |reason: String| Error::Fleet(format!("{}: {reason}", path.display()));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut state: Self =
            serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        state.generators.retain(Local::runs);
        Ok(state)
    }

    fn write(&self, directory: &Path) -> Result<(), Error> {
        let path = Self::path(directory);
        let failed = |reason: String| Error::Fleet(format!("{}: {reason}", path.display()));
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.to_string()))?;
        files::replace(&path, &(text + "\n")).map_err(|error| failed(error.to_string()))
    }
}

impl Local {
    fn runs(&self) -> bool {
        started_ticks(self.pid) == Some(self.started_ticks)
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return;
        };
        // The descriptor stays with the process that has the pid now, so that the signal cannot reach another one that
        // gets it after we looked. It may have ended meanwhile, which is what is wanted.
        let _ = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) if self.runs() => pidfd_send_signal(&process, signal),
            Err(Errno::NOSYS) if self.runs() => kill_process(pid, signal),
            _ => Ok(()),
        };
    }
}

/// Start time of a process that runs; `None` when it is gone, or has ended and nobody has noticed.
fn started_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may contain blanks: count from behind it. The state is the third field of
    // proc(5) and the start time the 22nd, so the first and the 20th from here.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Starts `count` generators on ports from `first_port` on, or free ones with 0, and waits until they are ready.
pub(super) async fn up(
    directory: &Path,
    count: u16,
    first_port: u16,
    flags: &[String],
) -> Result<Vec<SocketAddr>, Error> {
    let failed = |error: std::io::Error| Error::Fleet(format!("{}: {error}", directory.display()));
    fs::create_dir_all(directory).map_err(failed)?;
    let _only = lock(directory)?;
    let up = StateFile::read(directory)?.generators.len();
    if up > 0 {
        return Err(Error::Fleet(format!(
            "{up} generators are up already: sluicegen fleet down stops them"
        )));
    }
    let mut state = StateFile::default();
    let outcome = start_all(directory, count, first_port, flags, &mut state).await;
    // Even what went wrong half way is to be stopped by `down`.
    state.write(directory)?;
    if let Err(error) = outcome {
        let _ = stop_all(directory).await;
        return Err(error);
    }
    Ok(state.generators.into_iter().map(|one| one.addr).collect())
}

async fn start_all(
    directory: &Path,
    count: u16,
    first_port: u16,
    flags: &[String],
    state: &mut StateFile,
) -> Result<(), Error> {
    let mut children = Vec::new();
    for number in 0..count {
        let port = match first_port {
            0 => 0,
            first => first.checked_add(number).ok_or_else(|| {
                Error::Usage(format!("there are no {count} ports from {first_port} on"))
            })?,
        };
        let started = start(directory, number, port, flags);
        let (child, ready) = started
            .map_err(|error| Error::Fleet(format!("a generator does not start: {error}")))?;
        let pid = i32::try_from(child.id()).unwrap_or(0);
        state.generators.push(Local {
            pid,
            started_ticks: started_ticks(pid).unwrap_or(0),
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
        });
        children.push((child, ready));
    }
    let give_up_at = Instant::now() + READY_LIMIT;
    for (local, (mut child, ready)) in state.generators.iter_mut().zip(children) {
        loop {
            let text = fs::read_to_string(&ready).unwrap_or_default();
            if let Ok(ready) = serde_json::from_str::<Ready>(&text) {
                local.addr = ready.rest_addr;
                break;
            }
            let ended = child.try_wait().is_ok_and(|ended| ended.is_some());
            if ended || Instant::now() > give_up_at {
                let log = fs::read_to_string(ready.with_extension("log")).unwrap_or_default();
                let reason = log.lines().last().unwrap_or("it says nothing").to_owned();
                return Err(Error::Fleet(format!(
                    "the generator on {} does not start: {reason}",
                    local.addr
                )));
            }
            sleep(POLL).await;
        }
    }
    Ok(())
}

fn start(
    directory: &Path,
    number: u16,
    port: u16,
    flags: &[String],
) -> std::io::Result<(Child, PathBuf)> {
    let ready = directory.join(format!("generator-{number}.json"));
    match fs::remove_file(&ready) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let log = files::create(&ready.with_extension("log"))?;
    let child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .arg(format!("--addr=127.0.0.1:{port}"))
        .arg("--ready-file")
        .arg(&ready)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C at the terminal is not meant for them.
        .process_group(0)
        .spawn()?;
    Ok((child, ready))
}

/// Stops what `up` started, and says how many that were.
pub(super) async fn down(directory: &Path) -> Result<usize, Error> {
    if !directory.exists() {
        return Ok(0);
    }
    let _only = lock(directory)?;
    stop_all(directory).await
}

/// Holds others off while generators are started or stopped here, until it is dropped.
fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("fleet.lock");
    let failed = |reason: String| Error::Fleet(format!("{}: {reason}", path.display()));
    let file = files::create(&path).map_err(|error| failed(error.to_string()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(failed(
            "another sluicegen fleet up or down is at work".to_owned(),
        )),
        Err(error) => Err(failed(error.to_string())),
    }
}

async fn stop_all(directory: &Path) -> Result<usize, Error> {
    let state = StateFile::read(directory)?;
    for local in &state.generators {
        local.signal(Signal::TERM);
    }
    let give_up_at = Instant::now() + END_LIMIT;
    while state.generators.iter().any(Local::runs) {
        if Instant::now() > give_up_at {
            for local in &state.generators {
                local.signal(Signal::KILL);
            }
            break;
        }
        sleep(POLL).await;
    }
    StateFile::default().write(directory)?;
    Ok(state.generators.len())
}

//! Signals to children of ours, what they use, and waiting for things to come true.

use std::{fs::File, future::Future, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// How long a condition may take to come true; a fault that is never recovered from is found by it.
pub(crate) const CONDITION_LIMIT: Duration = Duration::from_secs(120);

/// Starts a child that dies with this program; what it says goes to a file.
pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Child> {
    let program = format!("{:?}", command.as_std().get_program());
    let log = File::options().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))
}

pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(kill_process(pid.context("no process id")?, signal)?)
}

/// A living child of a process that was called with this text.
pub(crate) fn child_with(parent: u32, text: &str) -> Result<Option<u32>> {
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process may end while it is looked at.
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let mut fields = fields.split(' ');
        let is_alive = fields.next().is_some_and(|state| state != "Z");
        if is_alive && fields.next() == Some(parent.to_string().as_str()) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(text) {
                return Ok(Some(pid));
            }
        }
    }
    Ok(None)
}

/// What a process takes now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) resident_mib: f64,
    /// The most that was ever resident.
    pub(crate) peak_mib: f64,
    pub(crate) descriptors: u64,
}

pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0)
            .with_context(|| format!("no {name} in /proc"))
    };
    Ok(Usage {
        resident_mib: mib("VmRSS:")?,
        peak_mib: mib("VmHWM:")?,
        descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
    })
}

/// Waits until the condition holds.
pub(crate) async fn until<F>(what: &str, mut holds: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let give_up_at = Instant::now() + CONDITION_LIMIT;
    while !holds().await? {
        if Instant::now() > give_up_at {
            bail!("waited {CONDITION_LIMIT:?} in vain: {what}");
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

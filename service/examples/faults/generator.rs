//! The real `sluicegen run`, and its journal as it grows.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    lab::Lab,
    process::{self, CONDITION_LIMIT},
    verdict::hold,
};

/// How long a generator may take to have everything settled once it is told to stop.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);

/// A running generator.
pub(crate) struct Generator {
    child: Child,
    stdout: ChildStdout,
    pid: u32,
    pub(crate) journal: Journal,
    log: PathBuf,
}

/// What `run --json` says at its end.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RunReport {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) failed: u64,
    pub(crate) reconnects: u64,
    pub(crate) rows_per_s: f64,
    pub(crate) ack_ms: AckMs,
    pub(crate) errors: Vec<String>,
}

/// Times from the intended send time to the durable acknowledgement, milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct AckMs {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Generator {
    /// Starts a generator that sends until it is told to stop, or as long as `flags` say.
    pub(crate) async fn start(lab: &Lab, target: &str, name: &str, flags: &str) -> Result<Self> {
        let path = lab.folder.join(format!("{name}.journal"));
        let log = lab.folder.join(format!("{name}.log"));
        let mut command = Command::new(&lab.programs.sluicegen);
        command
            .args(["run", "--json", "--target", target, "--journal"])
            .arg(&path)
            .args(["--connect-timeout", "60s", "--give-up-after", "10m"])
            .args(flags.split_whitespace())
            .stdout(Stdio::piped());
        if !flags.contains("--count") && !flags.contains("--duration") {
            command.args(["--duration", "24h"]);
        }
        let mut child = process::spawn(command, &log)?;
        let stdout = child.stdout.take().context("its output")?;
        let pid = child.id().context("it has ended")?;
        let mut generator = Self {
            child,
            stdout,
            pid,
            journal: Journal::new(path),
            log,
        };
        generator
            .journal
            .begun(&mut generator.child, &generator.log)
            .await?;
        Ok(generator)
    }

    /// Tells it to send no more.
    pub(crate) fn stop(&self) -> Result<()> {
        process::signal(self.pid, Signal::INT)
    }

    /// Waits until everything is settled.
    pub(crate) async fn ended(mut self) -> Result<(RunReport, PathBuf)> {
        let report = self.report().await?;
        Ok((report, self.journal.path))
    }

    /// Waits until something is settled that is not yet.
    pub(crate) async fn progress(&mut self) -> Result<u64> {
        let now = self.journal.settled()?;
        self.settled_beyond(now).await
    }

    /// Waits until more than `count` readings are settled.
    pub(crate) async fn settled_beyond(&mut self, count: u64) -> Result<u64> {
        let give_up_at = Instant::now() + CONDITION_LIMIT;
        loop {
            let settled = self.journal.settled()?;
            if settled > count {
                return Ok(settled);
            }
            if self.child.try_wait()?.is_some() {
                self.report().await?;
                anyhow::bail!("the generator has ended: see {}", self.log.display());
            }
            ensure!(
                Instant::now() < give_up_at,
                "waited {CONDITION_LIMIT:?} in vain: acknowledgements arrive"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn report(&mut self) -> Result<RunReport> {
        let mut text = String::new();
        let read = timeout(SETTLE_LIMIT, self.stdout.read_to_string(&mut text)).await;
        read.context("the generator waits for acknowledgements in vain")??;
        let status = self.child.wait().await?;
        let report: RunReport = serde_json::from_str(&text).with_context(|| {
            format!(
                "the generator ended with {status}, see {}",
                self.log.display()
            )
        })?;
        hold!(
            report.errors.is_empty(),
            "a producer met an error that it should not: {:?}",
            report.errors
        );
        hold!(
            status.success() && report.failed == 0 && report.sent == report.received,
            "readings are unaccounted for: {status}, {report:?}"
        );
        Ok(report)
    }
}

/// Follows a journal: how many readings are settled.
pub(crate) struct Journal {
    pub(crate) path: PathBuf,
    file: Option<File>,
    unread: String,
    /// Positions up to which connections are settled.
    through: HashMap<u16, u64>,
    /// Readings that were settled one by one.
    ranges: u64,
}

impl Journal {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            unread: String::new(),
            through: HashMap::new(),
            ranges: 0,
        }
    }

    async fn begun(&mut self, child: &mut Child, log: &Path) -> Result<()> {
        let give_up_at = Instant::now() + Duration::from_secs(90);
        loop {
            if let Ok(file) = File::open(&self.path) {
                self.file = Some(file);
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                anyhow::bail!(
                    "the generator does not start: {status}, see {}",
                    log.display()
                );
            }
            ensure!(Instant::now() < give_up_at, "the generator does not start");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Readings that are settled by now.
    pub(crate) fn settled(&mut self) -> Result<u64> {
        if let Some(file) = &mut self.file {
            file.read_to_string(&mut self.unread)?;
        }
        let whole = self.unread.rfind('\n').map_or(0, |end| end + 1);
        for line in self.unread[..whole].lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |place: usize| words.get(place).and_then(|word| word.parse::<u64>().ok());
            match (words[0], number(1), number(2), number(3)) {
                ("a", Some(connection), Some(position), _) => {
                    let through = self.through.entry(connection as u16).or_default();
                    *through = position.max(*through);
                }
                ("A", _, Some(first), Some(last)) => self.ranges += last + 1 - first,
                _ => {}
            }
        }
        self.unread.drain(..whole);
        Ok(self.through.values().sum::<u64>() + self.ranges)
    }
}

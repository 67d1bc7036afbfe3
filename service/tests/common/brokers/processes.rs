//! The processes of a broker: one group, and nothing of it outlives the test.

use std::{
    fs::File,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::time::{Instant, sleep};

use crate::common::stillness::until_it_stands_still;

/// How long a broker may take to be ready, and to end when it is asked to.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So much of a log is shown when a broker does not start.
const SHOWN_LINES: usize = 30;

/// Reads the groups that run, one after the other. When this process has ended, however it did, ends the last one, and
/// removes the data.
const WATCHDOG: &str = r#"
    while read -r line; do group=$line; done
    if [ -n "$group" ]; then kill -s KILL -- "-$group"; sleep 0.3; fi
    rm -rf "$0""#;

/// Those that run now; none before the first start, and between a crash and the next start.
pub(super) struct Processes {
    /// The first one leads the group.
    children: Vec<Child>,
    log: PathBuf,
    watchdog: Child,
    groups: ChildStdin,
}

impl Processes {
    /// `dir` is the folder of the broker, which the watchdog removes; `log` takes what the processes print.
    pub(super) fn new(dir: &Path, log: PathBuf) -> Self {
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh runs");
        Self {
            children: Vec::new(),
            log,
            groups: watchdog.stdin.take().expect("piped"),
            watchdog,
        }
    }

    /// Starts a process, in the group of those that run.
    pub(super) fn spawn(&mut self, mut command: Command) {
        if self.children.is_empty() {
            File::create(&self.log).expect("a log");
        }
        let log = File::options().append(true).open(&self.log);
        let log = log.expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .process_group(self.children.first().map_or(0, |leader| leader.id() as i32))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.children.push(child);
        if let [leader] = &self.children[..] {
            let told = writeln!(self.groups, "{}", leader.id());
            told.expect("the watchdog listens");
        }
    }

    /// Waits until the broker is ready. One that ends instead, or takes too long, fails the test.
    pub(super) async fn until_ready(&mut self, mut is_ready: impl AsyncFnMut() -> bool) {
        let give_up_at = Instant::now() + START_LIMIT;
        while !is_ready().await {
            let runs = !self.children.iter().any(has_ended);
            assert!(runs, "the broker has ended:\n{}", self.end_of_log());
            let in_time = Instant::now() < give_up_at;
            assert!(in_time, "the broker is not ready:\n{}", self.end_of_log());
            sleep(LOOK_EVERY).await;
        }
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    pub(super) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    pub(super) fn are_running(&self) -> bool {
        !self.children.is_empty()
    }

    /// SIGKILL to all of them: a crash.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// SIGTERM to the one that was started last, which is the broker; then the others end, too.
    pub(super) async fn stop(&mut self) {
        let Some(broker) = self.children.last() else {
            return;
        };
        kill_process(Pid::from_child(broker), Signal::TERM).expect("sent");
        let give_up_at = Instant::now() + STOP_LIMIT;
        while !has_ended(broker) {
            assert!(Instant::now() < give_up_at, "the broker does not end");
            sleep(LOOK_EVERY).await;
        }
        self.kill();
    }

    /// SIGSTOP: they stand still until `resume`.
    pub(super) async fn pause(&self) {
        self.signal(Signal::STOP);
        for child in &self.children {
            until_it_stands_still(child.id()).await;
        }
    }

    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.children.first() {
            // Nobody is reaped before all are, so that the number stays theirs.
            kill_process_group(Pid::from_child(leader), signal).expect("sent");
        }
    }

    /// Memory that the system counts as theirs.
    pub(super) fn resident_bytes(&self) -> u64 {
        let resident = |child: &Child| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.children.iter().filter_map(resident).sum::<u64>() << 10
    }

    fn reap(&mut self) {
        // The number of a group that has ended may become another's.
        let _ = writeln!(self.groups);
        for mut child in self.children.drain(..) {
            let _ = child.wait();
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill();
        // It has nothing left to do.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

fn has_ended(child: &Child) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ended = waitid(WaitId::Pid(Pid::from_child(child)), look);
    ended.expect("a child").is_some()
}

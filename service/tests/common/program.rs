//! The real program, for tests that kill it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{engines::small_server, stillness::until_it_stands_still, until};

/// How long the program may take to end.
const END_LIMIT: Duration = Duration::from_secs(40);

/// A running `sluicegate serve`.
pub(crate) struct Program {
    child: Child,
    pub(crate) grpc: SocketAddr,
    pub(crate) rest: SocketAddr,
    dir: TempDir,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Ok(layout) = std::env::var("SLUICEGATE_TEST_LAYOUT") {
        command.env("SLUICEGATE_LAYOUT", layout);
    }
    command
}

/// Runs the program to its end.
pub(crate) async fn end_of(mut command: Command) -> Ended {
    let output = timeout(END_LIMIT, command.output())
        .await
        .expect("it ends")
        .expect("it runs");
    Ended {
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
    kill_process(pid.expect("it runs"), signal).expect("sent");
}

/// Runs the program, sends it SIGTERM once `text` stands in its log, and waits for its end.
pub(crate) async fn terminated_at(mut command: Command, text: &str) -> Ended {
    let mut child = command.spawn().expect("it runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut stderr = String::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            if line.contains(text) {
                send(&child, Signal::TERM);
            }
            stderr += &line;
            stderr.push('\n');
        }
    };
    timeout(END_LIMIT, reading).await.expect("it ends");
    let status = child.wait().await.expect("ended");
    Ended {
        code: status.code(),
        stderr,
    }
}

impl Program {
    /// Starts the program on free ports and waits until it is ready.
    pub(crate) async fn start(database_url: &str, arguments: &[&str]) -> Self {
        Self::start_with(database_url, arguments, &[]).await
    }

    /// As `start`, with variables in its environment.
    pub(crate) async fn start_with(
        database_url: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = command(&["serve", "--database-url", database_url]);
        command.args(arguments).envs(environment.iter().copied());
        Self::start_serving(command, TempDir::new().expect("a directory")).await
    }

    /// Starts the program with a database of its own.
    pub(crate) async fn start_embedded(data_dir: &Path, server: &Path) -> Self {
        Self::start_embedded_with(data_dir, server, &[]).await
    }

    pub(crate) async fn start_embedded_with(
        data_dir: &Path,
        server: &Path,
        arguments: &[&str],
    ) -> Self {
        let embedded_db = format!("--embedded-db={}", data_dir.display());
        let mut command = command(&["serve", &embedded_db, "--embedded-db-bin"]);
        let dir = TempDir::new().expect("a directory");
        command
            .arg(small_server(dir.path(), server))
            .args(arguments);
        Self::start_serving(command, dir).await
    }

    async fn start_serving(mut command: Command, dir: TempDir) -> Self {
        let ready_file = dir.path().join("ready.json");
        command
            .args(["--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0"])
            .arg("--ready-file")
            .arg(&ready_file);
        let mut child = command.spawn().expect("it runs");
        let ended = tokio::select! {
            () = until("the program is ready", async || ready_file.exists()) => None,
            ended = child.wait() => Some(ended.expect("waited for")),
        };
        if let Some(ended) = ended {
            let mut stderr = String::new();
            let mut pipe = child.stderr.take().expect("piped");
            pipe.read_to_string(&mut stderr).await.expect("readable");
            panic!("the program does not start, {ended}: {stderr}");
        }
        let text = std::fs::read_to_string(&ready_file).expect("readable");
        let ready: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let addr = |name: &str| {
            let addr = ready[name].as_str().expect("an address");
            addr.parse().expect("an address")
        };
        Self {
            child,
            grpc: addr("grpc_addr"),
            rest: addr("rest_addr"),
            dir,
        }
    }

    /// Starts the program, and does not wait until it is ready: its doors are open before.
    pub(crate) async fn spawn(database_url: &str, arguments: &[&str]) -> Self {
        // Nobody else takes a port that was just let go, unless it is asked for by number.
        let free = || {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("binds");
            listener.local_addr().expect("bound")
        };
        let (grpc, rest) = (free(), free());
        let mut command = command(&["serve", "--database-url", database_url]);
        command
            .args(["--grpc-addr", &grpc.to_string()])
            .args(["--rest-addr", &rest.to_string()])
            .args(arguments);
        let child = command.spawn().expect("it runs");
        until("its doors are open", async || {
            super::http::get(rest, "/version").await.is_ok()
        })
        .await;
        Self {
            child,
            grpc,
            rest,
            dir: TempDir::new().expect("a directory"),
        }
    }

    /// SIGKILL: a crash.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM: asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Memory that the system counts as the program's.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let pid = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("readable");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a figure") * 1024
    }

    /// SIGSTOP: it stands still until `resume`.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP);
        until_it_stands_still(self.child.id().expect("it runs")).await;
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// The processes that it has started and that are not reaped yet: id, and the state that the system tells.
    pub(crate) fn children(&self) -> Vec<(i32, char)> {
        let parent = self.pid().as_raw_nonzero().to_string();
        let entries = std::fs::read_dir("/proc").expect("readable").flatten();
        let child = |entry: std::fs::DirEntry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (_, fields) = stat.rsplit_once(") ")?;
            let mut fields = fields.split(' ');
            let state = fields.next()?.chars().next()?;
            (fields.next()? == parent).then_some((pid, state))
        };
        entries.filter_map(child).collect()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id as i32));
        pid.expect("it runs")
    }

    /// The most memory that was ever resident, bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("readable");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a figure") << 10
    }

    /// The program ends when it would take more: a test of its memory must not take the machine's.
    pub(crate) fn limit_memory(&self, bytes: u64) {
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        prlimit(Some(self.pid()), Resource::Data, limit).expect("set");
    }

    pub(crate) fn ready_file(&self) -> PathBuf {
        self.dir.path().join("ready.json")
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(self) -> Ended {
        self.ended_in().await.0
    }

    /// As `ended`, with the folder of its ready file, which goes when it is dropped.
    pub(crate) async fn ended_in(mut self) -> (Ended, TempDir) {
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("piped");
        let reading = pipe.read_to_string(&mut stderr);
        let read = timeout(END_LIMIT, reading).await.expect("it ends");
        read.expect("readable");
        let status = self.child.wait().await.expect("ended");
        let ended = Ended {
            code: status.code(),
            stderr,
        };
        (ended, self.dir)
    }
}

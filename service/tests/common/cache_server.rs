//! A Redis or Valkey server for one test, on a socket of its own, without a disk.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{stillness::until_it_stands_still, until};

/// Set where a test must not be skipped.
const REQUIRED: &str = "SLUICEGATE_TEST_REDIS";

pub(crate) struct CacheServer {
    program: &'static str,
    child: Child,
    dir: TempDir,
}

impl CacheServer {
    /// None, said aloud, where there is no program for it.
    pub(crate) async fn start() -> Option<Self> {
        let dir = TempDir::new().expect("a directory");
        for program in ["valkey-server", "redis-server"] {
            if let Ok(child) = spawn(program, &dir) {
                let server = Self {
                    program,
                    child,
                    dir,
                };
                server.is_there().await;
                return Some(server);
            }
        }
        assert!(
            std::env::var(REQUIRED).is_err(),
            "{REQUIRED} is set, and there is neither valkey-server nor redis-server"
        );
        println!("SKIPPED: there is neither valkey-server nor redis-server");
        None
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("cache.sock")
    }

    async fn is_there(&self) {
        let socket = self.socket();
        until("the cache is there", async || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        })
        .await;
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// SIGKILL. It forgets everything.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.program, &self.dir).expect("it ran before");
        self.is_there().await;
    }

    /// SIGSTOP: it stands still until `resume`.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP);
        until_it_stands_still(self.child.id()).await;
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("sent");
    }
}

impl Drop for CacheServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &str, dir: &TempDir) -> std::io::Result<Child> {
    Command::new(program)
        .args(["--port", "0", "--save", "", "--appendonly", "no"])
        .arg("--unixsocket")
        .arg(dir.path().join("cache.sock"))
        .arg("--dir")
        .arg(dir.path())
        .stdout(Stdio::null())
        .spawn()
}

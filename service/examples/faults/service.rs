//! The real `sluicegate serve`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    http,
    lab::Lab,
    layout,
    process::{self, Usage},
    verdict::hold,
};

const START_LIMIT: Duration = Duration::from_secs(90);
const END_LIMIT: Duration = Duration::from_secs(90);

/// How a service is started.
#[derive(Clone, Debug)]
pub(crate) struct ServiceOptions {
    pub(crate) program: PathBuf,
    /// The flags that name its database.
    pub(crate) database: Vec<String>,
    /// Name of the instance.
    pub(crate) instance: String,
    /// Of gRPC and of REST.
    pub(crate) addresses: [SocketAddr; 2],
    pub(crate) flags: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Logs and the ready file.
    pub(crate) folder: PathBuf,
}

impl ServiceOptions {
    /// Makes it the program with failpoints, where there is anything to tell it.
    pub(crate) fn with_failpoints(&mut self, lab: &Lab, environment: &[(&str, &str)]) {
        for (name, value) in environment {
            self.environment
                .push(((*name).to_owned(), (*value).to_owned()));
        }
        if let (Some(program), false) = (&lab.programs.failpoints, environment.is_empty()) {
            self.program.clone_from(program);
        }
    }
}

/// On any port.
pub(crate) const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running service, ready or on its way there.
pub(crate) struct Service {
    child: Child,
    pub(crate) pid: u32,
    pub(crate) grpc: SocketAddr,
    pub(crate) rest: SocketAddr,
    pub(crate) log: PathBuf,
    ready_file: PathBuf,
}

#[derive(Deserialize)]
struct Addresses {
    grpc_addr: SocketAddr,
    rest_addr: SocketAddr,
    pid: u32,
}

/// The books of an instance, as `/readyz` tells them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Books {
    pub(crate) received: u64,
    pub(crate) committed: u64,
    pub(crate) rejected: u64,
    pub(crate) duplicate: u64,
    pub(crate) in_flight: u64,
    pub(crate) turned_away: u64,
    pub(crate) retries: u64,
}

/// What `/readyz` says.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Readiness {
    pub(crate) books: Books,
    pub(crate) in_flight_bytes: u64,
}

/// What `/readyz` says of partitions.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Partitions {
    pub(crate) dropped: u64,
    /// Why retention drops nothing.
    pub(crate) retention_waits: Option<String>,
}

impl Service {
    /// Starts the program and returns at once.
    pub(crate) fn spawn(options: &ServiceOptions) -> Result<Self> {
        let ready_file = options
            .folder
            .join(format!("{}.ready.json", options.instance));
        let log = options.folder.join(format!("{}.log", options.instance));
        let _ = std::fs::remove_file(&ready_file);
        let [grpc, rest] = options.addresses.map(|address| address.to_string());
        let mut command = Command::new(&options.program);
        command
            .arg("serve")
            .args(["--layout", layout::name()])
            .args(&options.database)
            .args(["--instance", &options.instance])
            .args(["--grpc-addr", &grpc, "--rest-addr", &rest, "--ready-file"])
            .arg(&ready_file)
            .args(&options.flags)
            .envs(options.environment.iter().cloned());
        let child = process::spawn(command, &log)?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        Ok(Self {
            pid: child.id().context("it has ended")?,
            child,
            grpc: nowhere,
            rest: nowhere,
            log,
            ready_file,
        })
    }

    /// Waits until it takes readings.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let give_up_at = Instant::now() + START_LIMIT;
        loop {
            if let Ok(text) = std::fs::read_to_string(&self.ready_file) {
                let addresses: Addresses = serde_json::from_str(&text)?;
                ensure!(
                    addresses.pid == self.pid,
                    "the ready file is of another service"
                );
                (self.grpc, self.rest) = (addresses.grpc_addr, addresses.rest_addr);
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!(
                    "the service does not start: {status}, see {}",
                    self.log.display()
                );
            }
            ensure!(
                Instant::now() < give_up_at,
                "the service is not ready in time"
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// SIGKILL: a crash.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        process::signal(self.pid, signal)
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Result<ExitStatus> {
        self.wait().await
    }

    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        let ended = timeout(END_LIMIT, self.child.wait()).await;
        Ok(ended.context("the service does not end")??)
    }

    /// Fails when the service has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                anyhow::bail!(
                    "the service has ended: {status}, see {}",
                    self.log.display()
                )
            }
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        process::usage(self.pid)
    }

    /// What it says of its partitions now.
    pub(crate) async fn partitions(&self) -> Result<Partitions> {
        let (_, mut answer) = timeout(START_LIMIT, http::get(self.rest, "/readyz")).await??;
        Ok(serde_json::from_value(answer["partitions"].take())?)
    }

    /// What it says now. Its books balance at every moment (P6).
    pub(crate) async fn readiness(&self) -> Result<Readiness> {
        let (_, answer) = timeout(START_LIMIT, http::get(self.rest, "/readyz")).await??;
        let readiness: Readiness = serde_json::from_value(answer)?;
        let books = readiness.books;
        hold!(
            books.received == books.committed + books.rejected + books.duplicate + books.in_flight,
            "the books do not balance: {books:?}"
        );
        Ok(readiness)
    }
}

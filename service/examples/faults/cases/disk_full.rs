//! The disk of the database fills up, and is freed later. Producers are told to come again, nothing is acknowledged
//! that is not stored, and everything recovers by itself.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;
use tonic::Code;

use crate::{
    database::{Server, small_logs},
    judge::hold_stored,
    lab::Lab,
    outcome::{Outcome, Skipped},
    probe::Probe,
    process::until,
    stack::{Stack, end, service_options, settle},
};

const LOAD: &str = "--rate 40000 --connections 2 --series 1000 --unacknowledged-bytes 4000000";
const DISK: &str = "size=900m,mode=1777";
/// What `mount` makes of EPERM.
const NOT_PERMITTED: &str = "permission denied";
/// A server that ends because of the full disk has ended by then.
const SETTLED: Duration = Duration::from_secs(1);

/// A small file system in memory; it goes when this goes.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// In a container that may not mount, root may not either: the case is skipped there.
    fn mount(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        match as_root("mount", &["-t", "tmpfs", "-o", DISK, "tmpfs"], &folder) {
            Ok(()) => Ok(Self { folder }),
            Err(error) if error.to_string().contains(NOT_PERMITTED) => {
                Err(Skipped("needs the right to mount (CAP_SYS_ADMIN)").into())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes all the space that is left.
    fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.folder.join("ballast"))?;
        for size in [1 << 20, 4096] {
            let block = vec![1; size];
            while ballast.write_all(&block).is_ok() {}
        }
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.join("ballast"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that was just killed may still hold a file.
        if let Err(error) = as_root("umount", &["-l"], &self.folder) {
            eprintln!("{error:#}");
        }
    }
}

/// Runs a program, through sudo where we are not root. The error has what it said, in English.
fn as_root(program: &str, arguments: &[&str], folder: &Path) -> Result<()> {
    let mut command = match rustix::process::geteuid().is_root() {
        true => Command::new(program),
        false => {
            let mut command = Command::new("sudo");
            command.arg(program);
            command
        }
    };
    let command = command.args(arguments).arg(folder).env("LC_ALL", "C");
    let output = command.output().with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program} ended with {}, and this case needs root or sudo: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let rounds = lab.scale.times(5, 1);
    let lasts = Duration::from_secs(lab.scale.seconds(20, 2));
    let disk = Disk::mount(lab.folder.join("disk"))?;
    // So that the disk is for readings.
    let arguments = small_logs(lab.engine);
    let mut server = Server::start(&lab.binary, &disk.folder.join("database"), arguments).await?;
    let schema = server.schema().await?;
    let url = schema.service_url(schema.port);
    let options = service_options(lab, url, &["--ingest-commit-deadline-ms=1000"]);
    let mut stack = Stack::start_on(schema, options).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let probe = Probe::start(stack.service.grpc);
    let mut crashes = 0;
    for _ in 0..rounds {
        generator.progress().await?;
        let retries = stack.service.readiness().await?.books.retries;
        disk.fill()?;
        until("loads fail", async || {
            Ok(stack.service.readiness().await?.books.retries > retries)
        })
        .await?;
        sleep(lasts).await;
        stack.service.still_runs()?;
        disk.free()?;
        // A server that took the full disk for its end is started again, as its supervisor would.
        sleep(SETTLED).await;
        if server.has_crashed() {
            server.revive().await?;
            crashes += 1;
        }
        generator.progress().await?;
    }
    let answers = probe.end().await?;
    let (schema, service) = (stack.schema, stack.service);
    let judged = settle(lab, &schema, &[&service], vec![generator]).await?;
    hold_stored(&schema, &[&service]).await?;
    end(service).await?;
    server.stop().await?;
    let told = |code: Code| f64::from(answers.told(code));
    Ok(Outcome::of(rounds, judged)
        .figure("server_crashes", f64::from(crashes))
        .figure("single_readings_stored", told(Code::Ok))
        .figure("single_readings_told_unavailable", told(Code::Unavailable)))
}

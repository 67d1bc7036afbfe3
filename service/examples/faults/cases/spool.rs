//! The power goes everywhere at once: `sluicegen forward`, the service and its database are killed at random moments, while a file is
//! written and forwarded, and what the forwarder was writing is torn. Each line of the file is stored once (P1, P2).

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use mysql_async::prelude::Queryable as _;
use rand::Rng as _;
use rustix::process::Signal;
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    database::Schema,
    judge::hold_ledger,
    lab::Lab,
    outcome::Outcome,
    process,
    service::Service,
    stack::{Stack, end},
    verdict::{Verdict, hold},
};

/// 2026-01-01T00:00:00Z, in nanoseconds.
const START_NS: u64 = 1_767_225_600_000_000_000;
/// Lines that are written at once, every `EVERY`: some 10,000 a second.
const LINES: u64 = 100;
const EVERY: Duration = Duration::from_millis(10);
/// For all that is left to be stored once nothing breaks any more.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let kills = lab.scale.times(50, 5);
    let mut stack = Stack::start(lab, &[]).await?;
    let input = Input::start(lab.folder.join("readings.lp"))?;
    let edge = Edge {
        program: lab.programs.sluicegen.clone(),
        target: stack.front.url(),
        folder: lab.folder.clone(),
        input: input.path.clone(),
    };
    let mut forwarder = edge.follow()?;
    let (mut torn, mut early) = (0, 0);
    for kill in 1..=kills {
        stored_beyond(&stack.schema, stored(&stack.schema).await?).await?;
        sleep(Duration::from_millis(lab.rng.random_range(0..600))).await;
        forwarder.start_kill()?;
        stack.service.signal(Signal::KILL)?;
        lab.server.signal(Signal::KILL)?;
        forwarder.wait().await?;
        stack.service.kill().await?;
        lab.server.kill().await?;
        if kill % 2 == 0 {
            let rubbish = lab.rng.random_range(1..5_000);
            torn += u32::from(edge.tear(rubbish)?);
        }
        // It takes what the file has before anybody is there to send it to, and dies of it now and then.
        forwarder = edge.follow()?;
        if kill % 5 == 0 {
            sleep(Duration::from_millis(lab.rng.random_range(0..300))).await;
            forwarder.kill().await?;
            early += 1;
            forwarder = edge.follow()?;
        }
        lab.server.restart().await?;
        let mut next = Service::spawn(&stack.options)?;
        next.ready().await?;
        drop(stack.replace(next));
    }
    stored_beyond(&stack.schema, stored(&stack.schema).await?).await?;
    let lines = input.stop().await?;
    // Its way down is in order, and the rest of the file is taken by the next one.
    process::signal(forwarder.id().context("it has ended")?, Signal::TERM)?;
    let status = timeout(DRAIN_LIMIT, forwarder.wait()).await??;
    hold!(status.success(), "the forwarder ended with {status}");
    let report = edge.drain().await?;
    hold!(
        report.spooled + report.dropped_ever + report.damaged_ever + report.bad_lines == 0,
        "the forwarder has not handed over everything: {report:?}"
    );
    let verdict = judge(&stack.schema, lines).await?;
    verdict.hold()?;
    hold_ledger(&stack.schema).await?;
    end(stack.service).await?;
    stack.schema.drop().await?;
    Ok(Outcome::of_verdict(kills + early, verdict)
        .figure("spools_torn", torn.into())
        .figure("killed_before_the_service_was_there", early.into()))
}

/// A file that grows, by pieces that end anywhere in a line.
struct Input {
    path: PathBuf,
    lines: Arc<AtomicU64>,
    writing: JoinHandle<Result<()>>,
    stop: tokio_util::sync::CancellationToken,
}

impl Input {
    fn start(path: PathBuf) -> Result<Self> {
        let mut file = File::create(&path)?;
        let lines = Arc::new(AtomicU64::new(0));
        let stop = tokio_util::sync::CancellationToken::new();
        let writing = tokio::spawn({
            let (lines, stop) = (Arc::clone(&lines), stop.clone());
            async move {
                while !stop.is_cancelled() {
                    let first = lines.load(Relaxed);
                    let text: String = (first..first + LINES).map(line).collect();
                    let (begin, rest) = text.split_at(text.len() - first as usize % 40);
                    file.write_all(begin.as_bytes())?;
                    sleep(EVERY / 2).await;
                    file.write_all(rest.as_bytes())?;
                    lines.store(first + LINES, Relaxed);
                    sleep(EVERY / 2).await;
                }
                Ok(())
            }
        });
        Ok(Self {
            path,
            lines,
            writing,
            stop,
        })
    }

    /// Ends with a whole line, and says how many there are.
    async fn stop(self) -> Result<u64> {
        self.stop.cancel();
        self.writing.await??;
        Ok(self.lines.load(Relaxed))
    }
}

/// The value and the time of a line are its number.
fn line(number: u64) -> String {
    let (series, at) = (number % 50, START_NS + number * 1_000_000);
    format!("edge,id1={series},id2=pump-{series} flow={number} {at}\n")
}

/// The machine of the forwarder.
struct Edge {
    program: PathBuf,
    target: String,
    folder: PathBuf,
    input: PathBuf,
}

/// What `forward --json` says at its end.
#[derive(Debug, Deserialize)]
struct Report {
    spooled: u64,
    dropped_ever: u64,
    damaged_ever: u64,
    bad_lines: u64,
}

impl Edge {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("forward")
            .arg(&self.input)
            .args(["--stream-id", "edge", "--target", &self.target, "--spool"])
            .arg(self.spool())
            .args(["--spool-bytes", "256MiB", "--sync-interval", "20ms"]);
        command
    }

    fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    fn follow(&self) -> Result<Child> {
        let mut command = self.command();
        command.arg("--follow").stdout(Stdio::null());
        process::spawn(command, &self.folder.join("forward.log"))
    }

    /// Takes the rest of the input, and waits until all is stored.
    async fn drain(&self) -> Result<Report> {
        let mut command = self.command();
        command.arg("--json").stdout(Stdio::piped());
        let mut child = process::spawn(command, &self.folder.join("forward.log"))?;
        let mut text = String::new();
        let mut stdout = child.stdout.take().context("its output")?;
        let read = timeout(DRAIN_LIMIT, stdout.read_to_string(&mut text)).await;
        read.context("the forwarder waits for acknowledgements in vain")??;
        let status = child.wait().await?;
        ensure!(status.success(), "the forwarder ended with {status}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Bytes that were on their way to the disk, as a loss of power leaves them. False where there is no segment.
    fn tear(&self, bytes: usize) -> Result<bool> {
        let mut segments: Vec<PathBuf> = fs::read_dir(self.spool())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|name| name == "segment"))
            .collect();
        segments.sort();
        let Some(last) = segments.pop() else {
            return Ok(false);
        };
        let mut file = File::options().append(true).open(last)?;
        let rubbish: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
        file.write_all(&rubbish)?;
        Ok(true)
    }
}

/// As the ledger has it: to count the rows takes longer with each round.
async fn stored(schema: &Schema) -> Result<u64> {
    let sql = "SELECT CAST(COALESCE(MAX(committed_seq), 0) AS UNSIGNED) FROM ingest_streams \
               WHERE stream_id = 'edge'";
    schema.number(sql).await
}

async fn stored_beyond(schema: &Schema, count: u64) -> Result<()> {
    process::until("readings of the file are stored", || async {
        Ok(stored(schema).await? > count)
    })
    .await
}

/// The table is held to the file: each line is there once, as it was written.
async fn judge(schema: &Schema, lines: u64) -> Result<Verdict> {
    let start_us = START_NS / 1_000;
    let sql = format!(
        "SELECT COUNT(*), COUNT(DISTINCT sensor_value), \
         CAST(COALESCE(SUM(sensor_value >= {lines}), 0) AS UNSIGNED), \
         CAST(COALESCE(SUM(CAST(UNIX_TIMESTAMP(ts) * 1000000 AS UNSIGNED) <> {start_us} + sensor_value * 1000 \
            OR id1 <> sensor_value % 50 OR id2 <> CONCAT('pump-', id1) OR sensor_type <> 'edge.flow'), 0) AS UNSIGNED) \
         FROM sensor_readings"
    );
    let mut conn = schema.connect().await?;
    let sums: Option<(u64, u64, u64, u64)> = conn.query_first(sql).await?;
    conn.disconnect().await?;
    let (rows, distinct, unexpected, altered) = sums.context("no sums")?;
    Ok(Verdict {
        complete: true,
        sent: lines,
        acknowledged: lines,
        found: rows,
        lost: (lines + unexpected).saturating_sub(distinct),
        duplicated: rows - distinct,
        altered,
        unexpected,
        ..Verdict::default()
    })
}

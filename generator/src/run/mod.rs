//! `sluicegen run`: one load run.

mod calls;
mod connection;
mod load;
mod stream;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use futures::future::try_join_all;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use sluicegate_proto::producer::{Encoding, Producer};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use utoipa::ToSchema;

pub use crate::flags::{GiveUpAfter, Rate};
use crate::{
    access::Access,
    error::Error,
    files, flags,
    journal::{Header, Writer},
    latency::Latencies,
    metrics::MetricsServer,
    pace::step_us,
    patterns::{PatternFlags, Patterns},
    progress::{Counters, Display, stop_at_ctrl_c},
    report::{Report, Tally, Times, process_cpu},
    workload::WorkloadSpec,
};
pub(crate) use load::{Driven, Load, Share, Source, Until};

const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// The kind of call that carries the readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Client streaming: durable when the call ends.
    Stream,
    /// Bidirectional streaming: acknowledged as batches commit.
    StreamAcked,
    /// One call per batch.
    Batch,
    /// One call per reading.
    Unary,
}

/// How streamed readings are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EncodingFlag {
    /// Packed columns and a dictionary of series.
    Columns,
    /// One message per reading.
    Rows,
}

impl From<EncodingFlag> for Encoding {
    fn from(flag: EncodingFlag) -> Self {
        match flag {
            EncodingFlag::Columns => Self::Columns,
            EncodingFlag::Rows => Self::Rows,
        }
    }
}

/// What to send, how fast and where.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// Address of the service.
    #[arg(
        long,
        default_value = "http://127.0.0.1:50051",
        env = "SLUICEGEN_TARGET",
        value_parser = flags::target
    )]
    pub target: String,
    #[command(flatten)]
    pub access: Access,
    #[arg(long, value_enum, default_value_t = Mode::StreamAcked)]
    pub mode: Mode,
    /// Of the streaming modes.
    #[arg(long, value_enum, default_value_t = EncodingFlag::Columns)]
    pub encoding: EncodingFlag,
    /// Readings per second over all connections, such as 2000, 10k or 1.5M, or max.
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub rate: Rate,
    /// Stop after so many readings, such as 2000, 10k or 1e6.
    #[arg(long, value_name = "N", value_parser = flags::count)]
    pub count: Option<u64>,
    /// Stop after this time [default: 10s without --count].
    #[arg(long, value_name = "TIME", value_parser = flags::duration)]
    pub duration: Option<Duration>,
    /// Connections, each with its own stream.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Beginning of the stream names; the number of the connection follows [default: different for every run].
    #[arg(long, value_name = "PREFIX")]
    pub stream_id: Option<String>,
    /// Readings per batch [default: 16384 when streaming, 1000 with --mode batch].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch_size: Option<u32>,
    /// Calls at a time over all connections, with --mode unary and batch.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub concurrency: u32,
    /// Bytes of unacknowledged readings that a stream keeps before it waits.
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20)]
    pub unacknowledged_bytes: usize,
    /// Longest time of one call with --mode unary and batch.
    #[arg(long, value_name = "TIME", value_parser = flags::duration)]
    pub call_timeout: Option<Duration>,
    /// How long to try to connect at the start.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = flags::duration)]
    pub connect_timeout: Duration,
    /// How long to go on without progress, or none: then a connection ends, and with it its readings.
    #[arg(long, value_name = "TIME|none", default_value = "60s")]
    pub give_up_after: GiveUpAfter,
    /// Keep a journal of what was sent and acknowledged in a new file, for sluicegen verify.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Write the full histogram of the ack times, in the text form of HdrHistogram.
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Serve `/metrics` for Prometheus here while it runs.
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics_addr: Option<SocketAddr>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    // Last: what follows stands below their heading in the help.
    #[command(flatten)]
    pub patterns: PatternFlags,
    /// Distance of the timestamps of readings that follow each other [default: that of --rate; 5us without a rate].
    #[arg(long, value_name = "TIME", value_parser = flags::duration)]
    pub time_step: Option<Duration>,
}

/// Runs the load and waits until all of it is settled.
///
/// # Errors
/// When the options do not fit or the service cannot be reached at the start. What goes wrong later is in the report.
pub async fn run(options: RunOptions) -> Result<Report, Error> {
    let counters = Arc::new(Counters::default());
    let stop = stop_at_ctrl_c(&counters);
    let patterns = options.patterns.resolve()?;
    let _metrics = serve_metrics(&options, &counters).await?;
    let report = Box::pin(run_counted(options, patterns, &counters, true)).await;
    stop.abort();
    report
}

/// Serves the figures of the run, if that is asked for.
async fn serve_metrics(
    options: &RunOptions,
    counters: &Counters,
) -> Result<Option<MetricsServer>, Error> {
    let Some(addr) = options.metrics_addr else {
        return Ok(None);
    };
    let (totals, target_rate) = (Arc::clone(counters.totals()), options.rate.per_second());
    let server = MetricsServer::bind(addr, totals, target_rate).await;
    let failed = |error: io::Error| Error::Listen {
        addr,
        reason: error.to_string(),
    };
    server.map(Some).map_err(failed)
}

/// As [`run`], with counters that others may look at, and a stop flag that they may set.
pub(crate) async fn run_counted(
    options: RunOptions,
    patterns: Patterns,
    counters: &Arc<Counters>,
    show: bool,
) -> Result<Report, Error> {
    let options = Arc::new(named(options));
    let spec = Arc::new(options.workload(patterns));
    let mut load = Load {
        rates: watch::channel(options.rate).1,
        counters: Arc::clone(counters),
        journal: None,
        live: false,
        options,
        spec,
    };
    // Known to be writable before anything is sent.
    let histogram = match &load.options.hdr {
        Some(path) => Some(
            files::create(path)
                .map_err(|error| Error::Usage(format!("--hdr {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let connected = connect(&load.options).await?;
    if let Some(path) = &load.options.journal {
        load.journal = Some(Writer::create(path, &load.header())?);
    }
    let display = show.then(|| Display::start(counters, load.options.count));
    let (mut tally, times) = measure(&load, connected).await;
    drop(display);
    tally
        .errors
        .extend(load.journal.and_then(|journal| journal.failure()));
    if let Some(histogram) = histogram {
        write_histogram(histogram, &counters.latencies())
            .map_err(|error| Error::Report(format!("--hdr: {error}")))?;
    }
    let connections = load.options.connections.into();
    let mut report = Report::new(
        load.options.mode.name(),
        connections,
        tally,
        counters,
        &times,
    );
    report.target_per_s = load.options.rate.per_second();
    Ok(report)
}

impl Mode {
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Default for RunOptions {
    /// What the command line has without flags.
    fn default() -> Self {
        Self {
            target: "http://127.0.0.1:50051".to_owned(),
            access: Access::default(),
            mode: Mode::StreamAcked,
            encoding: EncodingFlag::Columns,
            rate: Rate::Max,
            count: None,
            duration: None,
            connections: 1,
            patterns: PatternFlags::default(),
            stream_id: None,
            batch_size: None,
            concurrency: 64,
            unacknowledged_bytes: 32 << 20,
            time_step: None,
            call_timeout: None,
            connect_timeout: Duration::from_secs(10),
            give_up_after: GiveUpAfter::DEFAULT,
            journal: None,
            hdr: None,
            metrics_addr: None,
            json: false,
        }
    }
}

impl RunOptions {
    /// What the readings depend on.
    pub(crate) fn workload(&self, patterns: Patterns) -> WorkloadSpec {
        let now = || chrono::Utc::now().timestamp_micros();
        WorkloadSpec {
            start_us: patterns.start_time.map_or_else(now, |start| start.us),
            patterns,
            connections: self.connections,
            step_us: self
                .time_step
                .map_or_else(|| step_us(self.rate), |step| step.as_secs_f64() * 1e6),
        }
    }
}

impl Load {
    pub(crate) fn header(&self) -> Header {
        let stream_id = self.options.stream_id.clone().unwrap_or_default();
        Header::new(
            self.options.mode.name(),
            stream_id,
            WorkloadSpec::clone(&self.spec),
        )
    }
}

/// The connections of a load.
pub(crate) enum Connected {
    Streams(Vec<Producer>),
    Calls(Vec<connection::Connection>),
}

pub(crate) async fn connect(options: &RunOptions) -> Result<Connected, Error> {
    let connections = 0..options.connections;
    Ok(match options.mode {
        Mode::Stream | Mode::StreamAcked => {
            let producers = connections.map(|connection| stream::connect(options, connection));
            Connected::Streams(try_join_all(producers).await?)
        }
        Mode::Batch | Mode::Unary => {
            let clients = connections.map(|_| connection::connect(options));
            Connected::Calls(try_join_all(clients).await?)
        }
    })
}

/// Fills in what has no fixed default.
pub(crate) fn named(mut options: RunOptions) -> RunOptions {
    if options.count.is_none() && options.duration.is_none() {
        options.duration = Some(DEFAULT_DURATION);
    }
    options
        .stream_id
        .get_or_insert_with(|| format!("sluicegen-{:08x}", rand::rng().random::<u32>()));
    options
}

/// Runs all connections at once and adds them up.
pub(crate) async fn measure(load: &Load, connected: Connected) -> (Tally, Times) {
    let cpu_before = process_cpu();
    let started = Instant::now();
    let shares = load.shares();
    // A set ends its tasks when it is dropped.
    let mut tasks: JoinSet<Driven> = match connected {
        Connected::Streams(producers) => shares
            .zip(producers)
            .map(|(share, producer)| stream::drive(share, producer))
            .collect(),
        Connected::Calls(clients) => shares
            .zip(clients)
            .map(|(share, client)| calls::drive(share, client))
            .collect(),
    };
    let mut tally = Tally::default();
    let mut last_sent = started;
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok(driven) => {
                tally.merge(driven.tally);
                last_sent = last_sent.max(driven.last_sent);
            }
            Err(error) => tally.errors.push(format!("a connection was lost: {error}")),
        }
    }
    let times = Times {
        total: started.elapsed(),
        sending: last_sent - started,
        cpu: process_cpu()
            .zip(cpu_before)
            .map(|(now, before)| now - before),
    };
    (tally, times)
}

fn write_histogram(file: File, latencies: &Latencies) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    latencies.write(&mut file)?;
    file.flush()
}

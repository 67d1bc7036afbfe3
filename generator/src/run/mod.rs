//! `sluicegen run`: one load run.

mod calls;
mod stream;
pub(crate) mod workload;

use std::{sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use futures::future::try_join_all;
use rand::Rng as _;
use sluicegate_proto::producer::Encoding;
use tokio::time::{Instant, timeout_at};

pub use crate::flags::Rate;
use crate::{
    error::Error,
    flags,
    pace::Pace,
    progress::{Counters, Display, stop_at_ctrl_c},
    report::{Report, Tally, Times, process_cpu},
};
pub use workload::Values;
use workload::Workload;

const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// The kind of call that carries the readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
        env = "SLUICEGEN_TARGET"
    )]
    pub target: String,
    /// Sent as `authorization: Bearer TOKEN`.
    #[arg(long, env = "SLUICEGEN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    #[arg(long, value_enum, default_value_t = Mode::StreamAcked)]
    pub mode: Mode,
    /// Of the streaming modes.
    #[arg(long, value_enum, default_value_t = EncodingFlag::Columns)]
    pub encoding: EncodingFlag,
    /// Readings per second over all connections, or max.
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub rate: Rate,
    /// Stop after so many readings.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Stop after this time [default: 10s without --count].
    #[arg(long, value_name = "TIME", value_parser = flags::duration)]
    pub duration: Option<Duration>,
    /// Connections, each with its own stream.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Different series.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub series: u32,
    /// Sensor types, given to the series in turn.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "temperature,humidity,pressure"
    )]
    pub types: Vec<String>,
    /// How values come about.
    #[arg(long, value_enum, default_value_t = Values::Walk)]
    pub values: Values,
    /// The same seed makes the same readings.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Timestamp of the first reading, RFC 3339 or epoch milliseconds [default: now].
    #[arg(long, value_name = "TIME", value_parser = flags::instant_us)]
    pub start_time: Option<i64>,
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
    /// How long to try to connect at the start.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = flags::duration)]
    pub connect_timeout: Duration,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// When one connection stops sending.
#[derive(Debug, Clone)]
pub(crate) struct Until {
    /// Readings of this connection.
    count: u64,
    deadline: Option<Instant>,
    counters: Arc<Counters>,
}

impl Until {
    /// How many of `wanted` readings may still be sent after `sent`.
    pub(crate) fn allows(&self, sent: u64, wanted: u32) -> u32 {
        let late = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if late || self.counters.stopped() {
            return 0;
        }
        u32::try_from(self.count.saturating_sub(sent)).map_or(wanted, |left| left.min(wanted))
    }

    /// Waits for the schedule; false when the end comes first.
    pub(crate) async fn wait(&self, pace: &Pace, readings: u32) -> bool {
        match self.deadline {
            None => {
                pace.wait(readings).await;
                true
            }
            Some(deadline) => timeout_at(deadline, pace.wait(readings)).await.is_ok(),
        }
    }
}

/// What one connection has to do.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) options: Arc<RunOptions>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) workload: Workload,
    pub(crate) until: Until,
    /// From 0.
    pub(crate) connection: u16,
}

/// What one connection did.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) tally: Tally,
    /// When its last reading was handed over.
    pub(crate) last_sent: Instant,
}

/// Runs the load and waits until all of it is settled.
///
/// # Errors
/// When the service cannot be reached at the start. What goes wrong later is in the report.
pub async fn run(options: RunOptions) -> Result<Report, Error> {
    if options
        .types
        .iter()
        .any(|sensor_type| sensor_type.is_empty())
    {
        return Err(Error::Usage("--types has an empty name".to_owned()));
    }
    let options = Arc::new(named(options));
    let counters = Arc::new(Counters::default());
    let stop = stop_at_ctrl_c(&counters);
    let connections = 0..options.connections;
    let (tally, times) = match options.mode {
        Mode::Stream | Mode::StreamAcked => {
            let producers = connections.map(|connection| stream::connect(&options, connection));
            let producers = try_join_all(producers).await?;
            let shares = shares(&options, &counters);
            measure(
                &options,
                &counters,
                shares.zip(producers).map(|(s, p)| stream::drive(s, p)),
            )
            .await
        }
        Mode::Batch | Mode::Unary => {
            let clients = try_join_all(connections.map(|_| calls::connect(&options))).await?;
            let shares = shares(&options, &counters);
            measure(
                &options,
                &counters,
                shares.zip(clients).map(|(s, c)| calls::drive(s, c)),
            )
            .await
        }
    };
    stop.abort();
    let mode = options.mode.to_possible_value();
    let mode = mode.map_or_else(String::new, |mode| mode.get_name().to_owned());
    Ok(Report::new(mode, options.connections.into(), tally, &times))
}

/// Fills in what has no fixed default.
fn named(mut options: RunOptions) -> RunOptions {
    if options.count.is_none() && options.duration.is_none() {
        options.duration = Some(DEFAULT_DURATION);
    }
    options
        .stream_id
        .get_or_insert_with(|| format!("sluicegen-{:08x}", rand::rng().random::<u32>()));
    options
        .start_time
        .get_or_insert_with(|| chrono::Utc::now().timestamp_micros());
    options
}

fn shares(
    options: &Arc<RunOptions>,
    counters: &Arc<Counters>,
) -> impl Iterator<Item = Share> + use<> {
    let connections = u64::from(options.connections);
    let deadline = options.duration.map(|duration| Instant::now() + duration);
    let (options, counters) = (Arc::clone(options), Arc::clone(counters));
    (0..options.connections).map(move |connection| Share {
        workload: Workload::new(&options, connection),
        until: Until {
            count: options.count.map_or(u64::MAX, |count| {
                count / connections + u64::from(u64::from(connection) < count % connections)
            }),
            deadline,
            counters: Arc::clone(&counters),
        },
        options: Arc::clone(&options),
        counters: Arc::clone(&counters),
        connection,
    })
}

/// Runs all connections at once and adds them up.
async fn measure<F>(
    options: &RunOptions,
    counters: &Arc<Counters>,
    connections: impl Iterator<Item = F>,
) -> (Tally, Times)
where
    F: Future<Output = Driven> + Send + 'static,
{
    let display = Display::start(counters, options.count);
    let cpu_before = process_cpu();
    let started = Instant::now();
    let tasks: Vec<_> = connections.map(tokio::spawn).collect();
    let mut tally = Tally::new();
    let mut last_sent = started;
    for task in tasks {
        match task.await {
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
    drop(display);
    (tally, times)
}

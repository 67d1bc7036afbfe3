//! `sluicegate import`: sends files of readings to a running service, exactly once.

mod lines;
mod source;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use sluicegate_proto::producer::{Producer, ProducerBuilder, ProducerError};

use self::source::Source;
use super::client::{RemoteError, read};
use crate::{
    columnar::{Columns, Fault},
    model::{PointInTime, TimeRange},
};

const EXAMPLES: &str = "\
Examples:
  sluicegate import january.parquet
  sluicegate import 2026-*.parquet --url https://gate.example:50051 --tls-ca ca.pem --token-file token
  sluicegate import readings.csv --from 2026-01-01 --to 2026-02-01

A file is a stream whose name is made of its content, so that it is stored once, however often it is imported: one that broke off goes
on when it is imported again.";

/// Between two lines that tell how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// Rejected readings that are shown of a file.
const REJECTED_SHOWN: usize = 10;

#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportCommand {
    /// Files as they are exported: Parquet, streams of Arrow, CSV or NDJSON
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Only readings from then on: a date, or RFC 3339; a range of a file is a stream of its own
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<PointInTime>,

    /// Only readings before then
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<PointInTime>,

    /// What the names of the streams begin with
    #[arg(long, value_name = "TEXT", default_value = "import:")]
    stream_prefix: String,

    /// Gives up when nothing goes forward for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience_s: u64,

    /// Where gRPC of the service is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    url: String,

    /// A file with a token for the service, with the scope ingest
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Trust the authorities in this file, PEM, instead of those of the system
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Certificate to prove oneself with, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// What became of a file.
struct Imported {
    stored: u64,
    rejected: u64,
    /// By an earlier import.
    settled_before: u64,
}

impl ImportCommand {
    /// Looks all files through, then sends one after the other.
    ///
    /// # Errors
    /// When something is wrong with a file, in which case nothing is sent; when the service does not answer, or refuses; and when it
    /// rejected readings.
    pub async fn run(self, out: &mut impl Write) -> Result<(), RemoteError> {
        sluicegate_transport::crypto::provider();
        let range = self.range()?;
        let mut sources = Vec::new();
        for path in &self.files {
            let source = Source::look_through(path, range).map_err(|fault| wrong(path, fault))?;
            sources.push((path, source));
        }
        let mut rejected = 0;
        for (path, source) in sources {
            let stream_id = source.stream_id(&self.stream_prefix);
            let imported = self.import(path, &source, &stream_id).await?;
            writeln!(
                out,
                "{}: {} readings: {} stored, {} rejected, {} settled before; stream {stream_id}",
                path.display(),
                source.readings,
                imported.stored,
                imported.rejected,
                imported.settled_before
            )?;
            rejected += imported.rejected;
        }
        match rejected {
            0 => Ok(()),
            count => Err(RemoteError::Rejected { count }),
        }
    }

    fn range(&self) -> Result<Option<TimeRange>, RemoteError> {
        let (Some(from), Some(to)) = (self.from, self.to) else {
            return Ok(None);
        };
        let (from_us, to_us) = (from.us(), to.us());
        match from_us < to_us {
            true => Ok(Some(TimeRange { from_us, to_us })),
            false => Err(RemoteError::Usage("--to must lie behind --from".to_owned())),
        }
    }

    async fn import(
        &self,
        path: &Path,
        source: &Source,
        stream_id: &str,
    ) -> Result<Imported, RemoteError> {
        let broken = |error: ProducerError| RemoteError::BrokeOff {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let builder = self.builder(stream_id)?;
        let mut producer = builder.connect().await.map_err(broken)?;
        let settled_before = producer.next_seq() - 1;
        if settled_before > source.readings {
            return Err(RemoteError::BrokeOff {
                path: path.to_owned(),
                reason: format!(
                    "the stream {stream_id} has {settled_before} readings, which are more than the file has: somebody else wrote to it"
                ),
            });
        }
        let mut reader = source.open().map_err(|fault| wrong(path, fault))?;
        let mut before = settled_before;
        let mut told_at = Instant::now();
        while let Some(columns) = reader.next().map_err(|fault| wrong(path, fault))? {
            let skipped = before.min(columns.len() as u64);
            before -= skipped;
            push(
                &mut producer,
                &columns,
                usize::try_from(skipped).unwrap_or(usize::MAX),
            )
            .await
            .map_err(broken)?;
            if told_at.elapsed() >= TOLD_EVERY {
                told_at = Instant::now();
                tell(path, &producer, source.readings)?;
            }
        }
        source
            .expect_unchanged()
            .map_err(|fault| wrong(path, fault))?;
        producer.flush().await.map_err(broken)?;
        show_rejected(path, &producer)?;
        let summary = producer.close().await.map_err(broken)?;
        Ok(Imported {
            stored: summary.committed,
            rejected: summary.rejected,
            settled_before,
        })
    }

    fn builder(&self, stream_id: &str) -> Result<ProducerBuilder, RemoteError> {
        let patience = Duration::from_secs(self.patience_s);
        let mut builder = Producer::builder(&self.url)
            .stream_id(stream_id)
            .give_up_after(patience);
        if let Some(path) = &self.token_file {
            builder = builder.bearer_token_file(path);
        }
        if let Some(path) = &self.tls_ca {
            builder = builder.tls_ca(read("--tls-ca", path)?);
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            builder = builder.tls_identity(read("--tls-cert", cert)?, read("--tls-key", key)?);
        }
        Ok(builder)
    }
}

async fn push(
    producer: &mut Producer,
    columns: &Columns,
    skipped: usize,
) -> Result<(), ProducerError> {
    let handles: Vec<_> = columns
        .series
        .iter()
        .map(|series| producer.series(series.id1, &series.id2, &series.sensor_type))
        .collect();
    let left = &columns.series_index[skipped..];
    let series: Vec<_> = left.iter().map(|&index| handles[index as usize]).collect();
    let (values, times) = (
        &columns.sensor_value[skipped..],
        &columns.timestamp_us[skipped..],
    );
    producer
        .push_columns(&series, values, times)
        .await
        .map(drop)
}

fn tell(path: &Path, producer: &Producer, readings: u64) -> io::Result<()> {
    let done = producer.progress().borrow().committed_seq;
    let path = path.display();
    writeln!(io::stderr(), "{path}: {done} of {readings} readings")
}

fn show_rejected(path: &Path, producer: &Producer) -> io::Result<()> {
    let path = path.display();
    for rejected in producer.take_rejected().iter().take(REJECTED_SHOWN) {
        let reason = rejected.reason.escape_debug();
        let (seq, field) = (rejected.seq, &rejected.field);
        writeln!(io::stderr(), "{path}: reading {seq}: {field}: {reason}")?;
    }
    Ok(())
}

fn wrong(path: &Path, fault: Fault) -> RemoteError {
    RemoteError::Data {
        path: path.to_owned(),
        fault,
    }
}

//! The flags of `sluicegen forward`.

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use sluicegate_decode::{Column, Format, Mapping, MappingSettings, Source, TimeSource, TimeUnit};
use sluicegate_proto::spool::{SpoolOptions, WhenFull};

use crate::{access::Access, error::Error, flags, run::EncodingFlag};

/// What to read, where to keep it, and where to send it.
#[derive(Debug, Clone, Args)]
pub struct ForwardOptions {
    /// A file or a FIFO with a reading or more in each line, or - for standard input.
    #[arg(default_value = "-")]
    pub input: PathBuf,
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
    /// Name of the stream. It belongs to the spool: each stream has a folder of its own.
    #[arg(long, value_name = "NAME")]
    pub stream_id: String,
    #[arg(long, value_enum, default_value_t = EncodingFlag::Columns)]
    pub encoding: EncodingFlag,
    /// How long one attempt to connect may take. Attempts go on for ever.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = flags::duration)]
    pub connect_timeout: Duration,
    /// Goes on when the input ends: with what is appended to a file, with the one that takes its place when it is rotated, or
    /// with the next one who writes to a FIFO.
    #[arg(long)]
    pub follow: bool,
    /// Takes the input from its beginning, though the spool stands in another one.
    #[arg(long)]
    pub append: bool,
    /// Ends with the input: what is not stored by then stays in the spool, for the next time.
    #[arg(long, conflicts_with = "follow")]
    pub detach_at_end: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// The folder of the spool, which is made if it is not there. One process has it at a time.
    #[arg(long, value_name = "DIR", help_heading = SPOOL)]
    pub spool: PathBuf,
    /// Bytes that readings may take there, at least 1MiB.
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = flags::bytes, help_heading = SPOOL)]
    pub spool_bytes: u64,
    /// What happens to a reading for which there is no place.
    #[arg(long, value_enum, default_value_t = WhenFullFlag::Block, help_heading = SPOOL)]
    pub when_full: WhenFullFlag,
    /// How long readings may gather before they are on the disk, by one fsync; 60s at the most.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = flags::duration, help_heading = SPOOL)]
    pub sync_interval: Duration,
    /// Leaves out and counts what cannot be read back, instead of ending there.
    #[arg(long, help_heading = SPOOL)]
    pub skip_damaged: bool,
    /// Sends the spool behind what the stream has, though that is not what it has brought about; some may be stored twice.
    #[arg(long, help_heading = SPOOL)]
    pub adopt_stream: bool,
    /// How lines are written, where no mapping says it.
    #[arg(long, value_enum, default_value_t = FormatFlag::Influx, conflicts_with = "mapping", help_heading = HOW)]
    pub format: FormatFlag,
    /// A mapping in YAML: where in a line the fields of a reading stand.
    #[arg(long, value_name = "FILE", help_heading = HOW)]
    pub mapping: Option<PathBuf>,
    /// The longest line, in bytes; a longer one is a bad one.
    #[arg(long, value_name = "BYTES", default_value = "64KiB", value_parser = flags::bytes, help_heading = HOW)]
    pub max_line_bytes: u64,
}

const SPOOL: &str = "The spool";
const HOW: &str = "How the input is written";

/// What happens when the spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenFullFlag {
    /// The input waits.
    Block,
    /// The oldest readings that were never sent are dropped, and counted.
    DropOldest,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatFlag {
    /// Line protocol of InfluxDB.
    Influx,
    /// An object with sensor_value, sensor_type, id1, id2 and timestamp_us.
    Ndjson,
    /// The columns sensor_value, sensor_type, id1, id2 and timestamp_us, in this order.
    Csv,
}

impl ForwardOptions {
    pub(super) fn spool_options(&self) -> SpoolOptions {
        SpoolOptions::new(&self.spool)
            .max_bytes(self.spool_bytes)
            .when_full(match self.when_full {
                WhenFullFlag::Block => WhenFull::Block,
                WhenFullFlag::DropOldest => WhenFull::DropOldest,
            })
            .sync_interval(self.sync_interval)
            .skip_damaged(self.skip_damaged)
            .adopt_stream(self.adopt_stream)
    }

    /// How lines become readings.
    pub(super) fn mapping(&self) -> Result<Mapping, Error> {
        let refused = |reason: String| match &self.mapping {
            Some(path) => Error::Usage(format!("--mapping {}: {reason}", path.display())),
            None => Error::Usage(format!("--format: {reason}")),
        };
        let settings = match (&self.mapping, self.format) {
            (Some(path), _) => {
                let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
                serde_norway::from_str(&text).map_err(|error| refused(error.to_string()))?
            }
            (None, FormatFlag::Influx) => return Ok(Mapping::line_protocol()),
            (None, FormatFlag::Ndjson) => objects(),
            (None, FormatFlag::Csv) => columns(),
        };
        if settings.format == Format::Plain {
            return Err(refused(
                "a line that is a number does not say of what".to_owned(),
            ));
        }
        Mapping::new(&settings).map_err(|error| refused(error.to_string()))
    }
}

const FIELDS: [&str; 5] = ["sensor_value", "sensor_type", "id1", "id2", "timestamp_us"];

/// The fields by the names that they have in the contract.
fn named(format: Format, source: impl Fn(&str) -> Source) -> MappingSettings {
    let [value, sensor_type, id1, id2, time] = FIELDS.map(source);
    let time = Source {
        unit: Some(TimeUnit::Us),
        ..time
    };
    MappingSettings {
        value: Some(value),
        sensor_type: Some(sensor_type),
        id1: Some(id1),
        id2: Some(id2),
        time: Some(TimeSource::Source(Box::new(time))),
        ..MappingSettings::of(format)
    }
}

fn objects() -> MappingSettings {
    named(Format::Json, |name| Source {
        pointer: Some(format!("/{name}")),
        ..Source::default()
    })
}

fn columns() -> MappingSettings {
    MappingSettings {
        columns: Some(FIELDS.map(str::to_owned).to_vec()),
        ..named(Format::Csv, |name| Source {
            column: Some(Column::Name(name.to_owned())),
            ..Source::default()
        })
    }
}

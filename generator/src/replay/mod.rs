//! `sluicegen replay`: sends the readings of a CSV file, long or wide.

mod csv;
mod time;

use std::{path::PathBuf, sync::Arc};

use chrono::FixedOffset;
use clap::Args;
use sluicegate_proto::producer::Producer;
use tokio::time::Instant;

use self::csv::{CsvReadings, Form, LongColumns, WideColumns};
use crate::{
    error::{CsvError, Error},
    flags::{self, Rate},
    follower::Follower,
    pace::Pace,
    progress::{Counters, Display, stop_at_ctrl_c},
    report::{Report, Tally, Times, process_cpu},
    run::EncodingFlag,
};

/// Which file, how to read it and where to send it.
#[derive(Debug, Clone, Args)]
pub struct ReplayOptions {
    /// A CSV file with a header line.
    pub file: PathBuf,
    /// Address of the service.
    #[arg(
        long,
        default_value = "http://127.0.0.1:50051",
        env = "SLUICEGEN_TARGET",
        value_parser = flags::target
    )]
    pub target: String,
    /// Sent as `authorization: Bearer TOKEN`.
    #[arg(long, env = "SLUICEGEN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Name of the stream. A named replay that is run again goes on where the last one stopped.
    #[arg(long, value_name = "NAME")]
    pub stream_id: Option<String>,
    #[arg(long, value_enum, default_value_t = EncodingFlag::Columns)]
    pub encoding: EncodingFlag,
    /// Readings per second, or max.
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub rate: Rate,
    /// Column of the times: RFC 3339, 2026-01-31T12:00:00 or epoch milliseconds.
    #[arg(long, value_name = "NAME", default_value = "timestamp")]
    pub time_column: String,
    /// What to take times without an offset for [default: UTC].
    #[arg(long, value_name = "+HH:MM", value_parser = flags::utc_offset, allow_hyphen_values = true)]
    pub utc_offset: Option<FixedOffset>,
    /// Column of the values.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "sensor_value",
        conflicts_with = "wide"
    )]
    pub value_column: String,
    /// Column of the sensor types.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "sensor_type",
        conflicts_with = "wide"
    )]
    pub type_column: String,
    /// Column of id1.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "id1",
        conflicts_with = "wide"
    )]
    pub id1_column: String,
    /// Column of id2.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "id2",
        conflicts_with = "wide"
    )]
    pub id2_column: String,
    /// One column per sensor type instead of one reading per line.
    #[arg(long, requires = "id2")]
    pub wide: bool,
    /// The columns that are sensor types [default: all but the time].
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "wide")]
    pub types: Vec<String>,
    /// id1 of all readings of a wide file.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "wide",
        allow_negative_numbers = true
    )]
    pub id1: i32,
    /// id2 of all readings of a wide file.
    #[arg(long, value_name = "TEXT", requires = "wide")]
    pub id2: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

impl ReplayOptions {
    fn form(&self) -> Form {
        match self.wide {
            true => Form::Wide(WideColumns {
                time: self.time_column.clone(),
                types: self.types.clone(),
                id1: self.id1,
                id2: self.id2.clone().unwrap_or_default(),
            }),
            false => Form::Long(LongColumns {
                time: self.time_column.clone(),
                value: self.value_column.clone(),
                sensor_type: self.type_column.clone(),
                id1: self.id1_column.clone(),
                id2: self.id2_column.clone(),
            }),
        }
    }

    fn open(&self) -> Result<CsvReadings, CsvError> {
        CsvReadings::open(&self.file, &self.form(), self.utc_offset)
    }
}

/// Sends the file and waits until all of it is settled.
///
/// # Errors
/// When the file cannot be read, in which case nothing is sent, or the service cannot be reached at the start. What goes
/// wrong later is in the report.
pub async fn replay(options: ReplayOptions) -> Result<Report, Error> {
    // Read once to find mistakes and once to send: half a file would be worse than none, and a large one does not fit
    // in memory.
    let mut check = options.open()?;
    let mut count = 0;
    for reading in check.by_ref() {
        reading?;
        count += 1;
    }
    let skipped = check.skipped();
    let mut builder = Producer::builder(&options.target).encoding(options.encoding.into());
    if let Some(stream_id) = &options.stream_id {
        builder = builder.stream_id(stream_id);
    }
    if let Some(token) = &options.token {
        builder = builder.bearer_token(token);
    }
    let producer = builder.connect().await?;
    let counters = Arc::new(Counters::default());
    let stop = stop_at_ctrl_c(&counters);
    let display = Display::start(&counters, Some(count));
    let outcome = send(&options, producer, &counters).await;
    drop(display);
    stop.abort();
    let (tally, times) = outcome?;
    let mut report = Report::new("stream-acked".to_owned(), 1, tally, &counters, &times);
    report.target_per_s = options.rate.per_second();
    report.skipped = Some(skipped);
    Ok(report)
}

async fn send(
    options: &ReplayOptions,
    mut producer: Producer,
    counters: &Arc<Counters>,
) -> Result<(Tally, Times), Error> {
    let cpu_before = process_cpu();
    let started = Instant::now();
    let follower = Follower::start(&producer, counters, None);
    let pushed = match push_all(options, &mut producer, counters, &follower).await {
        Ok(()) => Ok(()),
        Err(Error::Producer(error)) => Err(error),
        // The file has changed since it was checked.
        Err(error) => return Err(error),
    };
    let sending = started.elapsed();
    let tally = follower.finish(producer, pushed).await;
    let times = Times {
        total: started.elapsed(),
        sending,
        cpu: process_cpu()
            .zip(cpu_before)
            .map(|(now, before)| now - before),
    };
    Ok((tally, times))
}

async fn push_all(
    options: &ReplayOptions,
    producer: &mut Producer,
    counters: &Counters,
    follower: &Follower,
) -> Result<(), Error> {
    let pace = Pace::fixed(options.rate, 1, 1);
    // A named stream that is there already goes on where it stopped.
    let done = usize::try_from(producer.next_seq() - 1).unwrap_or(usize::MAX);
    for reading in options.open()?.skip(done) {
        if counters.stopped() {
            break;
        }
        let intended = tokio::select! {
            intended = pace.wait(1) => intended.unwrap_or_else(Instant::now),
            () = counters.stop.cancelled() => break,
        };
        let seq = producer.send(reading?).await?;
        follower.sent(seq, 1, intended);
    }
    Ok(())
}

//! `sluicegen replay`: sends the readings of a CSV file, long or wide.

mod columns;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod input;
mod number;
mod options;
mod quotes;
mod readings;
mod rows;
mod time;

use std::sync::Arc;

use sluicegate_proto::producer::Producer;
use tokio::{task::spawn_blocking, time::Instant};

use self::{
    input::Input,
    options::Meaning,
    readings::{Checked, Readings, check},
};
pub use self::{
    number::Decimal,
    options::ReplayOptions,
    quotes::{Delimiter, Escape},
    time::{Ambiguous, TimeFormat, UnitFlag},
};
use crate::{
    error::{CsvError, Error},
    follower::Follower,
    pace::Pace,
    progress::{Counters, Display, stop_at_ctrl_c},
    report::{Report, Tally, Times, process_cpu},
};

/// An input that can be sent.
struct Source {
    input: Input,
    meaning: Meaning,
    checked: Checked,
}

impl Source {
    /// Reads all of it to find mistakes; it is read again to be sent: half a file would be worse than none, and a large
    /// one does not fit in memory.
    fn open(options: &ReplayOptions) -> Result<Self, CsvError> {
        let meaning = options.meaning();
        let input = Input::open(&options.file)?;
        let checked = check(&input, &meaning)?;
        Ok(Self {
            input,
            meaning,
            checked,
        })
    }
}

/// Sends the file and waits until all of it is settled.
///
/// # Errors
/// When the file cannot be read, in which case nothing is sent, or the service cannot be reached at the start. What goes
/// wrong later is in the report.
pub async fn replay(options: ReplayOptions) -> Result<Report, Error> {
    let opened = spawn_blocking({
        let options = options.clone();
        move || Source::open(&options)
    });
    let mut source = match opened.await {
        Ok(opened) => opened?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let producer = connect(&options).await?;
    // A named stream that is there already goes on where it stopped.
    let committed = producer.next_seq() - 1;
    let readings = source.checked.readings;
    let (skipped, skipped_committed) = (source.checked.skipped, committed.min(readings));
    let mut notes = std::mem::take(&mut source.checked.notes);
    notes.extend(resumed(&options, source.input.name(), committed, readings));
    for note in &notes {
        eprintln!("sluicegen: {note}");
    }
    let counters = Arc::new(Counters::default());
    let stop = stop_at_ctrl_c(&counters);
    let display = Display::start(&counters, Some(readings - skipped_committed));
    let (tally, times) = send(&options, source, producer, &counters).await;
    drop(display);
    stop.abort();
    let mut report = Report::new("stream-acked".to_owned(), 1, tally, &counters, &times);
    report.target_per_s = options.rate.per_second();
    report.skipped = Some(skipped);
    report.skipped_committed = Some(skipped_committed);
    report.notes = notes;
    Ok(report)
}

async fn connect(options: &ReplayOptions) -> Result<Producer, Error> {
    let mut builder = Producer::builder(&options.target)
        .encoding(options.encoding.into())
        .connect_patience(options.connect_timeout);
    if let Some(time) = options.give_up_after.0 {
        builder = builder.give_up_after(time);
    }
    if let Some(stream_id) = &options.stream_id {
        builder = builder.stream_id(stream_id);
    }
    Ok(options.access.on_producer(builder)?.connect().await?)
}

/// What is not sent because the stream is further already.
fn resumed(options: &ReplayOptions, file: &str, committed: u64, readings: u64) -> Option<String> {
    let stream = options.stream_id.as_deref().unwrap_or_default();
    let which = match readings {
        _ if committed == 0 => return None,
        readings if committed >= readings => {
            format!("all {readings} of {file}, and nothing is sent")
        }
        readings => format!("the first {committed} of the {readings} of {file}"),
    };
    Some(format!(
        "the stream {stream:?} has {committed} readings already, and a replay goes on behind them: it skips {which}"
    ))
}

async fn send(
    options: &ReplayOptions,
    source: Source,
    mut producer: Producer,
    counters: &Arc<Counters>,
) -> (Tally, Times) {
    let cpu_before = process_cpu();
    let started = Instant::now();
    let follower = Follower::start(&producer, counters, None, 0);
    let pushed = push_all(options, source, &mut producer, counters, &follower).await;
    let sending = started.elapsed();
    let (pushed, changed) = match pushed {
        Ok(()) => (Ok(()), None),
        Err(Error::Producer(error)) => (Err(error), None),
        Err(error) => (Ok(()), Some(error)),
    };
    let mut tally = follower.finish(producer, pushed).await;
    tally.errors.extend(changed.map(|error| error.to_string()));
    let times = Times {
        total: started.elapsed(),
        sending,
        cpu: process_cpu()
            .zip(cpu_before)
            .map(|(now, before)| now - before),
    };
    (tally, times)
}

async fn push_all(
    options: &ReplayOptions,
    source: Source,
    producer: &mut Producer,
    counters: &Counters,
    follower: &Follower,
) -> Result<(), Error> {
    let pace = Pace::fixed(options.rate, 1, 1);
    let committed = producer.next_seq() - 1;
    let expected = source.checked.readings;
    let readings = Readings::of(&source.input, &source.meaning, source.checked)?;
    let mut found = 0;
    for reading in readings {
        let reading = reading?;
        found += 1;
        if found <= committed {
            continue;
        }
        if counters.stopped() {
            return Ok(());
        }
        let intended = tokio::select! {
            intended = pace.wait(1) => intended.unwrap_or_else(Instant::now),
            () = counters.stop.cancelled() => return Ok(()),
        };
        let series = producer.series(reading.id1, &reading.id2, &reading.sensor_type);
        let pushed = producer.push(series, reading.value, reading.timestamp_us);
        follower.sent(pushed.await?, 1, intended);
    }
    match found == expected {
        true => Ok(()),
        false => Err(Error::Csv(CsvError::of_file(
            source.input.name(),
            format!(
                "it was changed while it was sent: {expected} readings were checked, {found} were there"
            ),
        ))),
    }
}

//! `sluicegen replay`: sends the readings of a CSV file, long or wide.

mod columns;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod input;
mod number;
mod options;
mod position;
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
    position::{FilePosition, Place},
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

/// Where in a file a replay begins.
struct Begin {
    /// So many of its readings the stream has already.
    behind: u64,
    /// What is said of them.
    note: Option<String>,
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

    /// Its readings, from the first one on.
    fn readings(&self) -> Result<Readings, CsvError> {
        Readings::of(&self.input, &self.meaning, &self.checked)
    }

    /// Where the stream stands in it: at its own position if that is in this file, and otherwise it is another file's.
    fn begin(&self, options: &ReplayOptions, stream: &Standing) -> Result<Begin, Error> {
        let (name, found) = (self.input.name(), self.checked.readings);
        let stream_id = options.stream_id.as_deref().unwrap_or_default();
        let Some(source_position) = &stream.source_position else {
            // From another kind of producer, or an anonymous one.
            let behind = match options.append {
                true => 0,
                false => stream.committed,
            };
            return Ok(Begin {
                behind,
                note: resumed(stream_id, name, behind, found),
            });
        };
        let position = FilePosition::read(source_position);
        let is_here = match &position {
            Some(position) => position.is_in(self)?,
            None => false,
        };
        if let (true, Some(position)) = (is_here, &position) {
            return Ok(Begin {
                behind: position.readings,
                note: resumed(stream_id, name, position.readings, found),
            });
        }
        let stands = match position {
            Some(position) => format!("stands {}", position.describe()),
            None => "stands in a source that is no file of a replay".to_owned(),
        };
        if options.append {
            let note = format!("the stream {stream_id:?} {stands}: {name} goes behind that");
            return Ok(Begin {
                behind: 0,
                note: Some(note),
            });
        }
        Err(CsvError::of_file(
            name,
            format!(
                "the stream {stream_id:?} (--stream-id) {stands}, and {name} does not begin with those: nothing is sent; \
                 --append sends all of it behind them, and another --stream-id into a stream of its own"
            ),
        )
        .into())
    }
}

/// What a stream has, as the producer found it.
struct Standing {
    committed: u64,
    source_position: Option<Vec<u8>>,
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
    let source = match opened.await {
        Ok(opened) => opened?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let mut producer = connect(&options).await?;
    // A named stream that is there already goes on where it stopped.
    let stream = Standing {
        committed: producer.next_seq() - 1,
        source_position: producer.source_position(),
    };
    let stands_here = stream.source_position.is_some();
    let begun = spawn_blocking({
        let options = options.clone();
        move || (source.begin(&options, &stream), source)
    });
    let (begin, mut source) = match begun.await {
        Ok((begin, source)) => (begin?, source),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    if stands_here && begin.behind > 0 {
        producer.rewind_to_source_position();
    }
    let readings = source.checked.readings;
    let (skipped, skipped_committed) = (source.checked.skipped, begin.behind.min(readings));
    let mut notes = std::mem::take(&mut source.checked.notes);
    notes.extend(begin.note.clone());
    for note in &notes {
        eprintln!("sluicegen: {note}");
    }
    let counters = Arc::new(Counters::default());
    let stop = stop_at_ctrl_c(&counters);
    let display = Display::start(&counters, Some(readings - skipped_committed));
    let (tally, times) = send(&options, (source, begin), producer, &counters).await;
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
fn resumed(stream_id: &str, file: &str, committed: u64, readings: u64) -> Option<String> {
    let which = match readings {
        _ if committed == 0 => return None,
        readings if committed >= readings => {
            format!("all {readings} of {file}, and nothing is sent")
        }
        readings => format!("the first {committed} of the {readings} of {file}"),
    };
    Some(format!(
        "the stream {stream_id:?} has {committed} readings already, and a replay goes on behind them: it skips {which}"
    ))
}

async fn send(
    options: &ReplayOptions,
    (source, begin): (Source, Begin),
    mut producer: Producer,
    counters: &Arc<Counters>,
) -> (Tally, Times) {
    let cpu_before = process_cpu();
    let started = Instant::now();
    let follower = Follower::start(&producer, counters, None, 0);
    let pushed = push_all(options, (source, begin), &mut producer, counters, &follower).await;
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
    (source, begin): (Source, Begin),
    producer: &mut Producer,
    counters: &Counters,
    follower: &Follower,
) -> Result<(), Error> {
    let pace = Pace::fixed(options.rate, 1, 1);
    let expected = source.checked.readings;
    let mut place = Place::at_the_start(source.input.name());
    for reading in source.readings()? {
        let reading = reading?;
        place.pass(&reading);
        if place.readings() <= begin.behind {
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
        let (value, at) = (reading.value, reading.timestamp_us);
        let pushed = match place.told(expected).filter(|_| options.stream_id.is_some()) {
            None => producer.push(series, value, at).await,
            Some(position) => {
                producer
                    .push_with_position(series, value, at, position)
                    .await
            }
        };
        follower.sent(pushed?, 1, intended);
    }
    let found = place.readings();
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

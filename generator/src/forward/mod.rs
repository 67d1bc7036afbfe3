//! `sluicegen forward`: takes readings from lines into a spool on disk, and sends them from there.

mod input;
mod lines;
mod options;
mod place;
mod report;

use std::{sync::Arc, time::Duration};

use sluicegate_decode::Counts;
use sluicegate_proto::{
    producer::{Producer, Trouble},
    spool::{SpoolError, SpoolProgress, SpooledProducer},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{
    input::Input,
    lines::{Ended, Lines, Piece},
};
pub use self::{
    options::{FormatFlag, ForwardOptions, WhenFullFlag},
    report::ForwardReport,
};
use crate::{error::Error, rejections::Rejections};

const SHOW_EVERY: Duration = Duration::from_secs(10);

/// Forwards until the input has ended and all of it is stored, or until it is told to stop.
///
/// # Errors
/// When the flags do not fit, or the spool cannot be opened. What goes wrong later is in the report.
pub async fn forward(options: ForwardOptions) -> Result<ForwardReport, Error> {
    let started = Instant::now();
    let mapping = Arc::new(options.mapping()?);
    let mut input = Input::open(&options.input, options.follow)?;
    let builder = Producer::builder(&options.target)
        .stream_id(&options.stream_id)
        .encoding(options.encoding.into())
        .connect_timeout(options.connect_timeout);
    let builder = options.access.on_producer(builder)?;
    let spool = builder.spool(options.spool_options()).await?;
    let began = spool.progress().borrow().clone();
    if began.cut_bytes > 0 {
        eprintln!(
            "sluicegen: {} bytes of a record that was being written when the spool was last in use are cut off",
            began.cut_bytes
        );
    }
    let stands = spool.source_position();
    let stands = stands.map(|source| (source.position.as_slice(), source.readings_behind));
    let begin = input.begin(stands, began.durable > 0, options.append)?;
    if begin.lines > 0 {
        eprintln!(
            "sluicegen: {} goes on behind line {}",
            input.name, begin.lines
        );
    }
    let lines = Lines {
        input,
        mapping,
        max_line_bytes: usize::try_from(options.max_line_bytes).unwrap_or(usize::MAX),
        begin,
    };
    let (pieces, ended) = lines.start();
    let mut run = Run {
        spool,
        pieces,
        ended: Some(ended),
        skip: begin.skip,
        counts: Counts::default(),
        rejections: Rejections::default(),
    };
    let stop = stop_at_signals()?;
    let display = show(run.spool.progress(), run.spool.trouble());
    let mut errors = Vec::new();
    match run.take_all(&stop).await {
        Err(error) => errors.push(error),
        Ok(()) if options.detach_at_end || stop.is_cancelled() => {}
        Ok(()) => errors.extend(run.drain(&stop).await.err()),
    }
    display.abort();
    run.note_rejected();
    let (rejections, counts) = (run.rejections.list(), run.counts);
    let closed = run.spool.close().await;
    let mut report = match closed {
        Ok(summary) => ForwardReport {
            unsaved: summary.unsaved,
            ..ForwardReport::of(&began, &summary.progress, counts)
        },
        Err(error) => {
            errors.push(error.to_string());
            ForwardReport::of(&began, &began, counts)
        }
    };
    // The disk says the same to whoever takes and to whoever closes.
    errors.dedup();
    report.rejections = rejections;
    report.errors = errors;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Forwarding under way.
struct Run {
    spool: SpooledProducer,
    pieces: mpsc::Receiver<Piece>,
    ended: Option<oneshot::Receiver<Ended>>,
    /// So many readings are in the spool already.
    skip: u64,
    counts: Counts,
    rejections: Rejections,
}

impl Run {
    /// Takes the input until it ends or is told to stop.
    async fn take_all(&mut self, stop: &CancellationToken) -> Result<(), String> {
        let mut failure = Box::pin(self.spool.failed());
        loop {
            let piece = tokio::select! {
                piece = self.pieces.recv() => piece,
                error = &mut failure => return Err(error.to_string()),
                () = stop.cancelled() => return Ok(()),
            };
            let Some(piece) = piece else {
                return self.end_of_input().await;
            };
            self.counts += piece.counts;
            tokio::select! {
                taken = take(&mut self.spool, &mut self.skip, piece) => {
                    taken.map_err(|error| error.to_string())?;
                }
                error = &mut failure => return Err(error.to_string()),
                () = stop.cancelled() => return Ok(()),
            }
            self.note_rejected();
        }
    }

    async fn end_of_input(&mut self) -> Result<(), String> {
        let Some(ended) = self.ended.take() else {
            return Ok(());
        };
        match ended.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the input cannot be read: {error}")),
            Err(_) => Err("the input cannot be read: its thread has ended".to_owned()),
        }
    }

    /// Waits until all is stored.
    async fn drain(&mut self, stop: &CancellationToken) -> Result<(), String> {
        tokio::select! {
            drained = self.spool.drain() => drained.map_err(|error| error.to_string()),
            () = stop.cancelled() => Ok(()),
        }
    }

    fn note_rejected(&self) {
        let rejected = self.spool.take_rejected();
        let reasons = rejected.iter();
        self.rejections
            .add(reasons.map(|one| (one.field.as_str(), one.reason.as_str())));
    }
}

async fn take(spool: &mut SpooledProducer, skip: &mut u64, piece: Piece) -> Result<(), SpoolError> {
    if let Some(position) = piece.before {
        spool.mark_source_position(position)?;
    }
    for reading in &piece.readings {
        if *skip > 0 {
            *skip -= 1;
            continue;
        }
        let series = spool.series(reading.id1, &reading.id2, &reading.sensor_type);
        spool
            .push(series, reading.value, reading.timestamp_us)
            .await?;
    }
    match piece.after {
        Some(position) => spool.mark_source_position(position),
        None => Ok(()),
    }
}

/// Told by SIGINT or SIGTERM; the second one ends the process as usual.
fn stop_at_signals() -> Result<CancellationToken, Error> {
    let refused = |error: std::io::Error| Error::Usage(format!("signals cannot be heard: {error}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(refused)?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
            match is_first {
                true => stopping.cancel(),
                false => std::process::exit(130),
            }
        }
    });
    Ok(stop)
}

/// Says now and then how far it is, and at once when the spool is full.
fn show(
    mut progress: watch::Receiver<SpoolProgress>,
    trouble: watch::Receiver<Trouble>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval_at(Instant::now() + SHOW_EVERY, SHOW_EVERY);
        let mut was_full = false;
        loop {
            let is_full = tokio::select! {
                _ = ticks.tick() => None,
                changed = progress.wait_for(|now| now.full.is_some() != was_full) => match changed {
                    Ok(now) => Some(now.full.is_some()),
                    Err(_) => return,
                },
            };
            was_full = is_full.unwrap_or(was_full);
            let now = progress.borrow().clone();
            eprintln!("{}", look(&now, &trouble.borrow()));
        }
    })
}

fn look(now: &SpoolProgress, trouble: &Trouble) -> String {
    let mut text = format!(
        "{} taken, {} in the spool ({} bytes), {} stored",
        now.durable, now.pending, now.used_bytes, now.books.committed
    );
    for (count, what) in [
        (now.books.rejected, "rejected"),
        (now.dropped, "dropped"),
        (now.damaged, "damaged"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    if let Some(reason) = &now.full {
        text += &format!("; the spool is full: {reason}");
    }
    if let (true, Some(failure)) = (trouble.persists, &trouble.last_failure) {
        text += &format!("; nothing is sent: {failure}");
    }
    text
}

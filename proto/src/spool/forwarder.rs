//! The task that sends what the spool has: it reads from where the service stands, pushes, and lets go of what is committed.
//! It connects again for as long as it takes.

use std::{sync::Arc, time::Duration};

use rand::Rng as _;
use tokio::sync::watch;

use super::{
    error::SpoolError,
    position::{Identity, Place, SpoolPosition},
    progress::{Books, SpoolProgress},
    reader::{Next, Reader, Stored},
    resume::Standing,
    shared::Shared,
};
use crate::{
    producer::{Producer, ProducerBuilder, ProducerError, Progress, SeriesHandle, Trouble},
    v1::ColumnBatch,
};

/// The first wait after a producer could not be had or has ended, and the longest.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) struct Forwarder {
    shared: Arc<Shared>,
    builder: ProducerBuilder,
    identity: Identity,
    /// Of producers that have ended.
    books: Books,
    wait: Duration,
    acked: u64,
}

/// A producer, and what is heard of it.
struct Session {
    producer: Producer,
    progress: watch::Receiver<Progress>,
    appended: watch::Receiver<SpoolProgress>,
    reader: Option<Reader>,
}

impl Forwarder {
    pub(super) fn new(shared: Arc<Shared>, builder: ProducerBuilder) -> Self {
        let identity = shared.with_log(|log| log.folder.identity());
        Self {
            shared,
            builder,
            identity,
            books: Books::default(),
            wait: WAIT_MIN,
            acked: 0,
        }
    }

    /// Sends until another writer has the stream, or it does not fit the spool, or the disk fails.
    pub(super) async fn run(mut self) {
        let error = loop {
            let ended = match self.builder.clone().connect().await {
                Ok(producer) => self.send(producer).await,
                Err(error) => SpoolError::Producer(error),
            };
            match ended {
                SpoolError::Producer(error) if may_be_mended(&error) => {
                    self.note_trouble(&error.to_string());
                    self.books.reconnects += 1;
                    self.shared.tell_books(self.books);
                    tokio::time::sleep(self.next_wait()).await;
                }
                error => break error,
            }
        };
        tracing::error!("nothing is sent any more: {error}");
        self.note_trouble(&error.to_string());
        self.shared.failure.send_replace(Some(error));
    }

    fn next_wait(&mut self) -> Duration {
        let wait = self.wait.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.wait = (self.wait * 2).min(WAIT_MAX);
        wait
    }

    fn note_trouble(&self, reason: &str) {
        self.shared.trouble.send_modify(|trouble| {
            trouble.last_failure = Some(Arc::from(reason));
            trouble.persists = true;
        });
    }

    /// Sends through this producer until one of the two ends, and says why.
    async fn send(&mut self, producer: Producer) -> SpoolError {
        let found = Standing {
            committed_seq: producer.next_seq() - 1,
            source_seq: producer.source_seq(),
            source_position: producer.source_position(),
        };
        let begun = self.shared.on_disk(move |log| log.begin(&found)).await;
        self.shared.released.notify_one();
        let begin = match begun {
            Ok(begin) => begin,
            Err(error) => return error,
        };
        self.shared.trouble.send_replace(Trouble::default());
        let copying = tokio::spawn(copy_trouble(producer.trouble(), Arc::clone(&self.shared)));
        let mut session = Session {
            progress: producer.progress(),
            appended: self.shared.progress(),
            reader: Some(Reader::new(begin)),
            producer,
        };
        let error = loop {
            if let Err(error) = self.step(&mut session).await {
                break error;
            }
        };
        copying.abort();
        // What it has heard by its end counts, too.
        let _ = self.settle(&session).await;
        self.books = self.books.with(*session.progress.borrow());
        error
    }

    /// Sends one record, or waits until there is something to do.
    async fn step(&mut self, session: &mut Session) -> Result<(), SpoolError> {
        session.appended.mark_unchanged();
        if session.progress.has_changed().unwrap_or(true) {
            session.progress.mark_unchanged();
            self.settle(session).await?;
        }
        // It comes back with what was read; a step that is cancelled ends the session.
        let mut reader = session.reader.take().ok_or(SpoolError::Stopped)?;
        let read = self.shared.on_disk(move |log| {
            let next = reader.next(log);
            next.map(|next| (reader, next))
        });
        let (reader, next) = read.await?;
        session.reader = Some(reader);
        if let Next::Record(stored) = next {
            let readings = (stored.columns.sensor_value.len() - stored.skip) as u64;
            push(&mut session.producer, self.identity, &stored).await?;
            self.books.forwarded += readings;
            return Ok(());
        }
        tokio::select! {
            changed = session.progress.changed() => match changed {
                Ok(()) => self.settle(session).await,
                Err(_) => Err(ended(&mut session.producer).await),
            },
            _ = session.appended.changed() => Ok(()),
        }
    }

    /// Lets go of what the service has.
    async fn settle(&mut self, session: &Session) -> Result<(), SpoolError> {
        let producer = &session.producer;
        self.shared.keep_rejected(producer.take_rejected());
        let progress = *session.progress.borrow();
        self.shared.tell_books(self.books.with(progress));
        let acked = producer.source_position();
        let acked = acked.and_then(|position| SpoolPosition::parse(&position));
        if let Some(SpoolPosition { place, identity }) = acked
            && identity == self.identity
            && place.record > self.acked
        {
            self.acked = place.record;
            self.wait = WAIT_MIN;
            self.release(place).await?;
        }
        Ok(())
    }

    async fn release(&self, place: Place) -> Result<(), SpoolError> {
        let released = self.shared.on_disk(move |log| log.acknowledged(place));
        released.await?;
        self.shared.released.notify_one();
        Ok(())
    }
}

/// True for what somebody may put right while the spool waits: another attempt is made for ever.
fn may_be_mended(error: &ProducerError) -> bool {
    matches!(
        error,
        ProducerError::GaveUp { .. }
            | ProducerError::Refused { .. }
            | ProducerError::PositionLost { .. }
    )
}

/// Why a producer has ended.
async fn ended(producer: &mut Producer) -> SpoolError {
    match producer.flush().await {
        Err(error) => error.into(),
        Ok(_) => SpoolError::Stopped,
    }
}

async fn copy_trouble(mut from: watch::Receiver<Trouble>, shared: Arc<Shared>) {
    while from.changed().await.is_ok() {
        let trouble = from.borrow_and_update().clone();
        shared.trouble.send_replace(trouble);
    }
}

/// Hands a record to the producer. Its last reading brings the position.
async fn push(
    producer: &mut Producer,
    identity: Identity,
    stored: &Stored,
) -> Result<(), ProducerError> {
    let ColumnBatch {
        series,
        series_index,
        sensor_value,
        base_timestamp_us,
        timestamp_delta_us,
        ..
    } = &stored.columns;
    let handles: Vec<SeriesHandle> = series
        .iter()
        .map(|one| producer.series(one.id1, &one.id2, &one.sensor_type))
        .collect();
    let handles: Vec<SeriesHandle> = series_index[stored.skip..]
        .iter()
        .map(|index| handles[*index as usize])
        .collect();
    let times: Vec<i64> = timestamp_delta_us[stored.skip..]
        .iter()
        .map(|delta| base_timestamp_us.wrapping_add(*delta))
        .collect();
    let values = &sensor_value[stored.skip..];
    let last = values.len() - 1;
    producer
        .push_columns(&handles[..last], &values[..last], &times[..last])
        .await?;
    let position = SpoolPosition {
        identity,
        place: stored.place,
    };
    producer
        .push_with_position(
            handles[last],
            values[last],
            times[last],
            position.to_string(),
        )
        .await?;
    Ok(())
}

//! A producer whose readings go to a disk first.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use super::{
    error::{SpoolError, wrong},
    forwarder::Forwarder,
    inbox::Pushed,
    options::SpoolOptions,
    progress::SpoolProgress,
    recovery,
    shared::Shared,
    writer::Writer,
};
use crate::{
    producer::{MAX_POSITION_BYTES, ProducerBuilder, SeriesHandle, SeriesTable, Trouble},
    v1::RejectedReading,
};

/// Takes readings, has them on the disk, and sends them to the service from there, exactly once. Made by
/// [`ProducerBuilder::spool`].
///
/// Dropping it ends everything at once; what is durable stays in the folder. [`close`](Self::close) does it in order.
#[derive(Debug)]
pub struct SpooledProducer {
    shared: Arc<Shared>,
    series: SeriesTable,
    progress: watch::Receiver<SpoolProgress>,
    failure: watch::Receiver<Option<SpoolError>>,
    source: Option<SourcePosition>,
    writer: JoinHandle<()>,
    forwarder: JoinHandle<()>,
}

/// Where the source of the readings stands, as far as that is durable in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourcePosition {
    /// What was told.
    pub position: Vec<u8>,
    /// So many readings from there on the spool has taken as well: whoever goes on at the position leaves them out.
    pub readings_behind: u64,
}

/// What is left when a spool was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolSummary {
    /// As it was last.
    pub progress: SpoolProgress,
    /// Readings that were pushed and are not durable, because the spool was full.
    pub unsaved: u64,
}

impl ProducerBuilder {
    /// Puts a spool on a disk in front of the producer: what is pushed survives restarts, and weeks without the service. It
    /// needs a stream with a name, connects by itself for as long as it takes, and returns as soon as the folder is open.
    ///
    /// The settings of the producer stay as they are; `give_up_after` and `connect_patience` only say how soon it begins anew.
    ///
    /// # Errors
    /// When a setting is wrong, another process has the folder, it is of another stream, or what is in it is damaged.
    pub async fn spool(self, options: SpoolOptions) -> Result<SpooledProducer, SpoolError> {
        let options = options.validated()?;
        let Some(stream_id) = self.checked_stream_id()? else {
            let reason = "must be given: without it nothing tells what of the spool is stored";
            return Err(wrong("stream_id", reason));
        };
        let opening = {
            let options = options.clone();
            tokio::task::spawn_blocking(move || recovery::open(&options, &stream_id))
        };
        let log = opening.await.map_err(|_| SpoolError::Stopped)??;
        if log.cut_bytes > 0 {
            tracing::warn!(
                bytes = log.cut_bytes,
                "a record that was being written when this spool was last in use is cut off"
            );
        }
        let source = (!log.source.position.is_empty()).then(|| SourcePosition {
            position: log.source.position.clone(),
            readings_behind: log.last.reading.saturating_sub(log.source.reading),
        });
        let shared = Arc::new(Shared::new(log));
        let writer = Writer::new(
            Arc::clone(&shared),
            options.when_full,
            options.sync_interval,
        );
        Ok(SpooledProducer {
            series: SeriesTable::default(),
            progress: shared.progress(),
            failure: shared.failure.subscribe(),
            source,
            writer: tokio::spawn(writer.run()),
            forwarder: tokio::spawn(Forwarder::new(Arc::clone(&shared), self).run()),
            shared,
        })
    }
}

impl SpooledProducer {
    /// Registers a series, or finds it. `id1` is any 32-bit integer, the texts are 1 to 50 characters: the service
    /// rejects readings of others.
    ///
    /// # Panics
    /// With more than 4,294,967,294 series.
    pub fn series(&mut self, id1: i32, id2: &str, sensor_type: &str) -> SeriesHandle {
        SeriesHandle(self.series.intern(id1, id2, sensor_type))
    }

    /// Takes a reading and returns its number, from 1 since the folder was made. `timestamp_us` is in microseconds since the
    /// Unix epoch, UTC. It is durable once [`sync`](Self::sync) has returned, or [`SpoolProgress::durable`] has come
    /// to its number, which takes the sync interval and one fsync at the most. Waits while the spool is full, unless that
    /// drops the oldest. A call that is cancelled has taken nothing.
    ///
    /// # Errors
    /// When the handle is not from this spool, the reading is too large, or the disk has failed.
    pub async fn push(
        &mut self,
        series: SeriesHandle,
        value: f64,
        timestamp_us: i64,
    ) -> Result<u64, SpoolError> {
        self.push_marked(series, (value, timestamp_us), None).await
    }

    /// As [`push`](Self::push), and tells where the source stands behind this reading: at most 1,024 bytes, kept with the
    /// reading in one record, so that after a restart the two agree.
    ///
    /// # Errors
    /// As [`push`](Self::push), and when the position is empty or too long.
    pub async fn push_with_position(
        &mut self,
        series: SeriesHandle,
        value: f64,
        timestamp_us: i64,
        source_position: impl Into<Vec<u8>>,
    ) -> Result<u64, SpoolError> {
        let source_position = checked(source_position.into())?;
        self.push_marked(series, (value, timestamp_us), Some(source_position))
            .await
    }

    async fn push_marked(
        &mut self,
        series: SeriesHandle,
        reading: (f64, i64),
        mut source_position: Option<Vec<u8>>,
    ) -> Result<u64, SpoolError> {
        let index = series.index();
        let Some(texts) = self.series.get(index) else {
            return Err(SpoolError::UnknownSeries { index });
        };
        let inbox = &self.shared.inbox;
        loop {
            match inbox.push((index, texts), reading, &mut source_position)? {
                Pushed::Taken(number) => return Ok(number),
                Pushed::NoRoom => inbox.room.notified().await,
            }
        }
    }

    /// Tells where the source stands behind the last reading that was pushed. With no reading behind the last record it
    /// travels with the next one.
    ///
    /// # Errors
    /// When the position is empty or too long, or the disk has failed.
    pub fn mark_source_position(
        &mut self,
        source_position: impl Into<Vec<u8>>,
    ) -> Result<(), SpoolError> {
        self.shared.inbox.mark(checked(source_position.into())?)
    }

    /// Where the source stood when the spool was opened: from there on it is to be pushed. None when it was never told.
    #[must_use]
    pub fn source_position(&self) -> Option<&SourcePosition> {
        self.source.as_ref()
    }

    /// Waits until everything so far is durable in the spool, and returns the number of the last reading.
    ///
    /// # Errors
    /// When the disk has failed.
    pub async fn sync(&mut self) -> Result<u64, SpoolError> {
        let last = self.shared.inbox.ask_to_sync()?;
        let until = |progress: &SpoolProgress| progress.durable >= last || progress.has_ended;
        let is_durable = match self.progress.wait_for(until).await {
            Ok(progress) => progress.durable >= last,
            Err(_) => false,
        };
        match is_durable {
            true => Ok(last),
            false => Err(self.shared.inbox.failure()),
        }
    }

    /// Waits until everything so far is stored by the service.
    ///
    /// # Errors
    /// When the disk has failed, or nothing is sent any more; see [`failed`](Self::failed).
    pub async fn drain(&mut self) -> Result<(), SpoolError> {
        let failed = self.failed();
        let stored = async {
            self.sync().await?;
            let done = self.progress.wait_for(|progress| progress.pending == 0);
            done.await.map(drop).map_err(|_| SpoolError::Stopped)
        };
        // A spool that is full and sends nothing any more would never be in sync.
        tokio::select! {
            done = stored => done,
            error = failed => Err(error),
        }
    }

    /// What is durable, what is here and what is stored by now; `changed` on the receiver waits for more.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<SpoolProgress> {
        self.progress.clone()
    }

    /// What goes wrong on the way to the service by now.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Trouble> {
        self.shared.trouble.subscribe()
    }

    /// Waits until nothing is sent any more, and says why: another writer has the stream, it stands where this spool has not
    /// brought it, or a record cannot be read back. Readings are taken all the same. For all else the spool tries again.
    pub fn failed(&self) -> impl Future<Output = SpoolError> + use<> {
        let mut failure = self.failure.clone();
        async move { failure_in(failure.wait_for(Option::is_some).await) }
    }

    /// The readings that the service rejected since the last call of this function, at most the last 1,000, by their
    /// positions in the stream.
    #[must_use]
    pub fn take_rejected(&self) -> Vec<RejectedReading> {
        self.shared.take_rejected()
    }

    /// Has everything so far on the disk, ends, and leaves the folder to the next one. What the service has not got yet is
    /// sent by whoever opens it next.
    ///
    /// # Errors
    /// When the disk has failed.
    pub async fn close(mut self) -> Result<SpoolSummary, SpoolError> {
        let last = self.shared.inbox.ask_to_sync()?;
        let until = |progress: &SpoolProgress| {
            progress.durable >= last || progress.has_ended || progress.full.is_some()
        };
        let _ = self.progress.wait_for(until).await;
        self.forwarder.abort();
        self.writer.abort();
        let _ = (&mut self.forwarder).await;
        let _ = (&mut self.writer).await;
        self.shared.on_disk(|log| log.close()).await?;
        let progress = self.progress.borrow().clone();
        if progress.has_ended {
            return Err(self.shared.inbox.failure());
        }
        Ok(SpoolSummary {
            unsaved: last.saturating_sub(progress.durable),
            progress,
        })
    }
}

impl Drop for SpooledProducer {
    fn drop(&mut self) {
        self.writer.abort();
        self.forwarder.abort();
    }
}

fn failure_in(
    found: Result<watch::Ref<'_, Option<SpoolError>>, watch::error::RecvError>,
) -> SpoolError {
    let known = found.ok().and_then(|found| found.clone());
    known.unwrap_or(SpoolError::Stopped)
}

fn checked(source_position: Vec<u8>) -> Result<Vec<u8>, SpoolError> {
    let reason = match source_position.len() {
        0 => "is empty".to_owned(),
        1..=MAX_POSITION_BYTES => return Ok(source_position),
        bytes => format!("has {bytes} bytes, {MAX_POSITION_BYTES} are the most"),
    };
    Err(SpoolError::SourcePosition { reason })
}

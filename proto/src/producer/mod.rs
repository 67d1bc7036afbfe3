//! A producer that delivers readings exactly once, in order and without a gap.
//!
//! ```no_run
//! use sluicegate_proto::producer::Producer;
//!
//! # async fn example() -> Result<(), sluicegate_proto::producer::ProducerError> {
//! let mut producer = Producer::builder("http://127.0.0.1:50051")
//!     .stream_id("gateway-7")
//!     .connect()
//!     .await?;
//! let boiler = producer.series(7, "boiler", "temperature");
//! producer.push(boiler, 71.5, 1_767_225_600_000_000).await?;
//! producer.flush().await?; // from here on the reading is durable
//! let summary = producer.close().await?;
//! assert_eq!(summary.committed, 1);
//! # Ok(())
//! # }
//! ```
//!
//! Readings go into a batch that is sent when it is full or its linger has passed. A batch is kept until the service
//! has acknowledged it, which it does when the batch is committed. When a call breaks, the producer connects again,
//! asks how far the stream is committed, and sends the rest again: nothing is lost and nothing is stored twice.
//!
//! What the producer keeps is in memory. A device that must survive its own restart keeps its readings until
//! [`Progress::committed_seq`] has passed them, and starts again behind [`Producer::next_seq`] - 1, which after
//! `connect` is the position that the service has. The feature `spool` does that on a disk.

mod backoff;
mod batch;
mod bearer;
mod builder;
mod call;
mod connector;
mod delivery;
mod encoder;
mod error;
mod hold;
mod progress;
mod series;
mod settings;
mod shared;
mod tags;
mod tls;
mod trouble;
mod window;

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use crate::v1;
pub(crate) use error::MAX_POSITION_BYTES;
use shared::{Pushed, Shared};

pub use builder::ProducerBuilder;
pub use encoder::Encoding;
pub use error::ProducerError;
pub use progress::{Progress, Summary};
pub use series::SeriesHandle;
#[cfg(feature = "spool")]
pub(crate) use series::SeriesTable;
pub use trouble::Trouble;

/// Streams readings to the service and resumes after every failure. One producer is one stream.
///
/// Dropping it stops delivery at once; [`close`](Self::close) delivers what is left.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    series_count: u32,
    progress: watch::Receiver<Progress>,
    trouble: watch::Receiver<Trouble>,
    task: JoinHandle<Result<Summary, ProducerError>>,
}

impl Producer {
    /// Settings for a producer that connects to `target`, such as `http://127.0.0.1:50051`.
    pub fn builder(target: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(target.into())
    }

    fn new(
        shared: Arc<Shared>,
        progress: watch::Receiver<Progress>,
        trouble: watch::Receiver<Trouble>,
        task: JoinHandle<Result<Summary, ProducerError>>,
    ) -> Self {
        Self {
            shared,
            series_count: 0,
            progress,
            trouble,
            task,
        }
    }

    /// Registers a series, or finds it. `id1` is any 32-bit integer, the texts are 1 to 50 characters: the service
    /// rejects readings of others.
    ///
    /// # Panics
    /// With more than 4,294,967,294 series.
    pub fn series(&mut self, id1: i32, id2: &str, sensor_type: &str) -> SeriesHandle {
        let index = self.shared.intern(id1, id2, sensor_type);
        self.series_count = self.series_count.max(index + 1);
        SeriesHandle(index)
    }

    /// As [`series`](Self::series), and says what the series is like: its site, its unit. A service whose table knows series
    /// stores the tags beside the readings, with the series' number; what is set there by hand stays. They travel with the first
    /// reading of the series in each call, and take the place of those that were told of it before: for a series that has
    /// sent readings already that is when the producer connects again.
    ///
    /// # Errors
    /// When there are more than 32 tags, a name has other than 1 to 64 letters and digits of ASCII, `_`, `.` and `-`, a value has
    /// other than 1 to 255 characters, a blank at either end or a control character; or when the encoding is
    /// [`Encoding::Rows`], which brings no tags. Nothing is registered then.
    ///
    /// # Panics
    /// With more than 4,294,967,294 series.
    pub fn series_with_tags<'a>(
        &mut self,
        id1: i32,
        id2: &str,
        sensor_type: &str,
        tags: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<SeriesHandle, ProducerError> {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let tags = tags.into_iter().map(owned).collect();
        let fault = match self.shared.tells_tags() {
            true => tags::fault(&tags),
            false => Some("need the encoding in columns: rows bring none".to_owned()),
        };
        if let Some(reason) = fault {
            return Err(ProducerError::Tags { reason });
        }
        let series = self.series(id1, id2, sensor_type);
        self.shared.tag(series, tags);
        Ok(series)
    }

    /// Takes a reading and returns its position in the stream. `timestamp_us` is in microseconds since the Unix epoch,
    /// UTC. Waits while the unacknowledged limit is reached. A call that is cancelled has taken nothing.
    ///
    /// # Errors
    /// When the handle is not from this producer, or the producer has ended.
    #[inline]
    pub async fn push(
        &mut self,
        series: SeriesHandle,
        value: f64,
        timestamp_us: i64,
    ) -> Result<u64, ProducerError> {
        self.push_marked(series, value, timestamp_us, None).await
    }

    #[inline]
    async fn push_marked(
        &mut self,
        series: SeriesHandle,
        value: f64,
        timestamp_us: i64,
        mut source_position: Option<Vec<u8>>,
    ) -> Result<u64, ProducerError> {
        self.check_handle(series)?;
        let mut yielded = false;
        loop {
            let reading = (series, value, timestamp_us);
            match self.shared.push(reading, &mut source_position, yielded)? {
                Pushed::Taken { last_seq, .. } => return Ok(last_seq),
                obstacle => self.wait_for(&obstacle).await,
            }
            yielded = true;
        }
    }

    /// Takes columns of readings, in less time per reading than [`push`](Self::push), and returns the position of the
    /// last one; without readings that is the position of the last reading so far. Waits while the unacknowledged limit
    /// is reached. A call that is cancelled may have taken the beginning of the columns: compare
    /// [`next_seq`](Self::next_seq).
    ///
    /// # Errors
    /// When the columns differ in length or a handle is not from this producer, in which case nothing is taken; or when
    /// the producer has ended.
    pub async fn push_columns(
        &mut self,
        series: &[SeriesHandle],
        values: &[f64],
        timestamps_us: &[i64],
    ) -> Result<u64, ProducerError> {
        if series.len() != values.len() || values.len() != timestamps_us.len() {
            return Err(ProducerError::UnequalColumns {
                series: series.len(),
                values: values.len(),
                timestamps: timestamps_us.len(),
            });
        }
        if let Some(highest) = series.iter().max_by_key(|handle| handle.0) {
            self.check_handle(*highest)?;
        }
        let mut taken = 0;
        let mut yielded = false;
        while taken < values.len() {
            let pushed = self.shared.push_columns(
                &series[taken..],
                &values[taken..],
                &timestamps_us[taken..],
                yielded,
            )?;
            yielded = match pushed {
                Pushed::Taken { readings, last_seq } => {
                    taken += readings;
                    if taken == values.len() {
                        return Ok(last_seq);
                    }
                    false
                }
                obstacle => {
                    self.wait_for(&obstacle).await;
                    true
                }
            };
        }
        Ok(self.next_seq() - 1)
    }

    /// As [`push`](Self::push), and tells where the producer stands in its own source behind this reading: an offset, a file
    /// and a line, at most 1,024 bytes, which the service keeps with the reading, in one transaction. Behind a position
    /// other readings may be pushed without one.
    ///
    /// # Errors
    /// As [`push`](Self::push), and when the position is empty or too long or the producer is anonymous, in which case
    /// nothing is taken.
    pub async fn push_with_position(
        &mut self,
        series: SeriesHandle,
        value: f64,
        timestamp_us: i64,
        source_position: impl Into<Vec<u8>>,
    ) -> Result<u64, ProducerError> {
        let source_position = self.checked(source_position.into())?;
        self.push_marked(series, value, timestamp_us, Some(source_position))
            .await
    }

    /// Tells where the producer stands in its own source behind the last reading that was pushed. With no reading behind
    /// the last flush it travels with the next one.
    ///
    /// # Errors
    /// When the position is empty or too long, the producer is anonymous, or it has ended.
    pub fn mark_source_position(
        &mut self,
        source_position: impl Into<Vec<u8>>,
    ) -> Result<(), ProducerError> {
        let source_position = self.checked(source_position.into())?;
        self.shared.mark(source_position)
    }

    fn checked(&self, source_position: Vec<u8>) -> Result<Vec<u8>, ProducerError> {
        let reason = match source_position.len() {
            _ if !self.shared.is_named() => "needs a stream_id".to_owned(),
            0 => "is empty".to_owned(),
            1..=MAX_POSITION_BYTES => return Ok(source_position),
            bytes => format!("has {bytes} bytes, {MAX_POSITION_BYTES} are the most"),
        };
        Err(ProducerError::SourcePosition { reason })
    }

    /// Where the stream stands in its source, as far as that is durable; None when it was never told. After `connect` it is
    /// what the last producer of the stream has left.
    #[must_use]
    pub fn source_position(&self) -> Option<Vec<u8>> {
        self.shared.source_position()
    }

    /// The position in the stream of the last reading before [`source_position`](Self::source_position); None when the
    /// stream never had one. It is less than [`Progress::committed_seq`] when readings without a position were committed
    /// behind it.
    #[must_use]
    pub fn source_seq(&self) -> Option<u64> {
        self.shared.source_seq()
    }

    /// Goes on at [`source_position`](Self::source_position), and returns the position in the stream that the next reading
    /// has then: the first one behind it in the source, which the service may have already and leaves out then. Without it
    /// the stream goes on behind [`Progress::committed_seq`], which is the same unless the last messages came without a
    /// position. After the first push it changes nothing.
    pub fn rewind_to_source_position(&mut self) -> u64 {
        self.shared.rewind_to_source()
    }

    /// Takes a reading in the form of the contract. Looks up its series every time: use [`series`](Self::series) and
    /// [`push`](Self::push) where speed matters.
    ///
    /// # Errors
    /// As [`push`](Self::push), and when the value or the time is absent.
    pub async fn send(&mut self, reading: v1::SensorReading) -> Result<u64, ProducerError> {
        let absent = |field| ProducerError::Absent { field };
        let value = reading.sensor_value.ok_or(absent("sensor_value"))?;
        let timestamp_us = reading.timestamp_us.ok_or(absent("timestamp_us"))?;
        let series = self.series(reading.id1, &reading.id2, &reading.sensor_type);
        self.push(series, value, timestamp_us).await
    }

    /// The position that the next reading will have. After `connect` this is the position behind the last reading that
    /// the service has of this stream.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.shared.next_seq()
    }

    /// Waits until everything so far is durable, and returns the position up to which it is.
    ///
    /// # Errors
    /// When the producer has ended.
    pub async fn flush(&mut self) -> Result<u64, ProducerError> {
        let last_seq = self.shared.ask_to_flush()?;
        self.progress
            .wait_for(|progress| progress.committed_seq >= last_seq)
            .await
            .map_err(|_| self.shared.failure())?;
        Ok(last_seq)
    }

    /// What is durable by now; `changed` on the receiver waits for more. The channel closes when the producer ends.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// What goes wrong by now; `changed` on the receiver waits for more. A producer without `give_up_after` goes on for
    /// ever, and this is where it says why nothing moves.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Trouble> {
        self.trouble.clone()
    }

    /// The readings that the service rejected since the last call of this function, at most the last 1,000. Their
    /// positions are those that `push` returned.
    #[must_use]
    pub fn take_rejected(&self) -> Vec<v1::RejectedReading> {
        self.shared.take_rejected()
    }

    /// Delivers everything, ends the stream and returns the books.
    ///
    /// # Errors
    /// When the producer has ended before everything was durable.
    pub async fn close(mut self) -> Result<Summary, ProducerError> {
        self.shared.ask_to_close();
        match (&mut self.task).await {
            Ok(result) => result,
            Err(_) => Err(ProducerError::Stopped),
        }
    }

    fn check_handle(&self, series: SeriesHandle) -> Result<(), ProducerError> {
        match series.0 < self.series_count {
            true => Ok(()),
            false => Err(ProducerError::UnknownSeries { index: series.0 }),
        }
    }

    async fn wait_for(&self, obstacle: &Pushed) {
        match obstacle {
            Pushed::Taken { .. } => {}
            // On a runtime with one thread the delivering task runs only when we let it.
            Pushed::Behind => tokio::task::yield_now().await,
            Pushed::NoRoom => self.shared.room.notified().await,
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

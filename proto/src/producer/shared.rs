//! What the caller of `push` and the delivering task share: the open batch, and the batches on their way to the window.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use tokio::{sync::Notify, time::Instant};

use super::{
    Encoding, ProducerError, SeriesHandle,
    batch::{OpenBatch, SealedBatch},
    progress::SourceMark,
    series::SeriesTable,
    settings::Settings,
    tags::Tags,
    window::Window,
};
use crate::v1::RejectedReading;

/// Rejected readings that are kept for `take_rejected`; the oldest go first.
const MAX_REJECTED_KEPT: usize = 1_000;

#[derive(Debug)]
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    /// Wakes the delivering task: there is a new batch, or a wish.
    pub(super) wake: Notify,
    /// Wakes a `push` that waits: there is room, or the producer has ended.
    pub(super) room: Notify,
    series: RwLock<SeriesTable>,
    rejected: Mutex<VecDeque<RejectedReading>>,
    /// Where the stream stands in its source, as far as that is durable.
    source: Mutex<Option<SourceMark>>,
    max_unacknowledged_bytes: usize,
    is_named: bool,
    tells_tags: bool,
    /// Of the first reading that is pushed, unless the stream goes on at its source's position.
    first_seq: u64,
}

#[derive(Debug)]
struct Inbox {
    open: OpenBatch,
    sealed: VecDeque<SealedBatch>,
    /// Bytes of every sealed batch that is not acknowledged, in here or in the window.
    unacknowledged_bytes: usize,
    wishes: Wishes,
    failed: Option<ProducerError>,
}

/// What the caller waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    /// `flush` waits for everything up to and with this position.
    pub(super) flush_through: u64,
    /// `push` waits for room.
    pub(super) room: bool,
    /// `close` waits for the end.
    pub(super) close: bool,
}

/// What the delivering task finds in the inbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intake {
    pub(super) wishes: Wishes,
    /// When the open batch got its first reading.
    pub(super) opened_at: Option<Instant>,
}

/// What became of an attempt to push.
#[derive(Debug)]
pub(super) enum Pushed {
    /// So many readings were taken; the last one has this position.
    Taken { readings: usize, last_seq: u64 },
    /// The delivering task has not fetched the last batch: let it run.
    Behind,
    /// The unacknowledged limit is reached.
    NoRoom,
}

impl Shared {
    pub(super) fn new(settings: &Settings, committed_seq: u64) -> Self {
        Self {
            inbox: Mutex::new(Inbox {
                open: OpenBatch::new(committed_seq + 1, settings.max_batch_readings),
                sealed: VecDeque::new(),
                unacknowledged_bytes: 0,
                wishes: Wishes::default(),
                failed: None,
            }),
            wake: Notify::new(),
            room: Notify::new(),
            series: RwLock::default(),
            rejected: Mutex::default(),
            source: Mutex::default(),
            max_unacknowledged_bytes: settings.max_unacknowledged_bytes,
            is_named: settings.stream_id.is_some(),
            tells_tags: settings.encoding == Encoding::Columns,
            first_seq: committed_seq + 1,
        }
    }

    pub(super) fn is_named(&self) -> bool {
        self.is_named
    }

    pub(super) fn tells_tags(&self) -> bool {
        self.tells_tags
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.inbox().open.next_seq()
    }

    #[inline]
    pub(super) fn push(
        &self,
        (series, value, timestamp_us): (SeriesHandle, f64, i64),
        source_position: &mut Option<Vec<u8>>,
        yielded: bool,
    ) -> Result<Pushed, ProducerError> {
        let mut inbox = self.inbox();
        if inbox.open.is_empty()
            && let Some(obstacle) = self.start_batch(&mut inbox, yielded)?
        {
            return Ok(obstacle);
        }
        let seq = inbox.open.next_seq();
        inbox.open.push(series.0, value, timestamp_us);
        if let Some(source_position) = source_position.take() {
            inbox.open.mark(source_position);
        }
        if inbox.open.is_full() {
            self.seal(&mut inbox);
        }
        Ok(Pushed::Taken {
            readings: 1,
            last_seq: seq,
        })
    }

    pub(super) fn push_columns(
        &self,
        series: &[SeriesHandle],
        values: &[f64],
        timestamps_us: &[i64],
        yielded: bool,
    ) -> Result<Pushed, ProducerError> {
        let mut inbox = self.inbox();
        if inbox.open.is_empty()
            && let Some(obstacle) = self.start_batch(&mut inbox, yielded)?
        {
            return Ok(obstacle);
        }
        let indexes = series.iter().map(|handle| handle.0);
        let readings = inbox.open.extend(indexes, values, timestamps_us);
        let last_seq = inbox.open.next_seq() - 1;
        if inbox.open.is_full() {
            self.seal(&mut inbox);
        }
        Ok(Pushed::Taken { readings, last_seq })
    }

    /// The producer stands there in its source, behind the last reading that was pushed.
    pub(super) fn mark(&self, source_position: Vec<u8>) -> Result<(), ProducerError> {
        let mut inbox = self.inbox();
        if let Some(error) = &inbox.failed {
            return Err(error.clone());
        }
        inbox.open.mark(source_position);
        Ok(())
    }

    /// Once per batch, before its first reading: everything that need not be asked for every reading.
    #[cold]
    fn start_batch(
        &self,
        inbox: &mut Inbox,
        yielded: bool,
    ) -> Result<Option<Pushed>, ProducerError> {
        if let Some(error) = &inbox.failed {
            return Err(error.clone());
        }
        if !yielded && !inbox.sealed.is_empty() {
            return Ok(Some(Pushed::Behind));
        }
        let bytes = inbox.unacknowledged_bytes + inbox.open.max_bytes();
        if bytes > self.max_unacknowledged_bytes && inbox.unacknowledged_bytes > 0 {
            inbox.wishes.room = true;
            self.wake.notify_one();
            return Ok(Some(Pushed::NoRoom));
        }
        inbox.wishes.room = false;
        // The delivering task has to start the linger.
        self.wake.notify_one();
        Ok(None)
    }

    fn seal(&self, inbox: &mut Inbox) {
        if let Some(batch) = inbox.open.seal() {
            inbox.unacknowledged_bytes += batch.bytes();
            inbox.sealed.push_back(batch);
            self.wake.notify_one();
        }
    }

    /// Seals the open batch, because its linger has passed.
    pub(super) fn seal_open(&self) {
        self.seal(&mut self.inbox());
    }

    /// Seals the open batch and asks for everything so far to become durable; says up to which position.
    pub(super) fn ask_to_flush(&self) -> Result<u64, ProducerError> {
        let mut inbox = self.inbox();
        if let Some(error) = &inbox.failed {
            return Err(error.clone());
        }
        self.seal(&mut inbox);
        let last_seq = inbox.open.next_seq() - 1;
        inbox.wishes.flush_through = last_seq;
        self.wake.notify_one();
        Ok(last_seq)
    }

    pub(super) fn ask_to_close(&self) {
        let mut inbox = self.inbox();
        self.seal(&mut inbox);
        inbox.wishes.close = true;
        self.wake.notify_one();
    }

    /// Moves the sealed batches to the window.
    pub(super) fn take_sealed(&self, window: &mut Window) -> Intake {
        let mut inbox = self.inbox();
        for batch in inbox.sealed.drain(..) {
            window.push(batch);
        }
        Intake {
            wishes: inbox.wishes,
            opened_at: inbox.open.opened_at(),
        }
    }

    /// So many bytes left the window.
    pub(super) fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.inbox().unacknowledged_bytes -= bytes;
            self.room.notify_one();
        }
    }

    /// The producer has ended: every later call gets this error.
    pub(super) fn fail(&self, error: ProducerError) {
        let mut inbox = self.inbox();
        // A reading that is never delivered needs no memory, and an empty batch makes `push` look at the error.
        let _ = inbox.open.seal();
        inbox.sealed.clear();
        inbox.failed = Some(error);
        self.room.notify_one();
    }

    pub(super) fn failure(&self) -> ProducerError {
        self.inbox()
            .failed
            .clone()
            .unwrap_or(ProducerError::Stopped)
    }

    pub(super) fn series(&self) -> RwLockReadGuard<'_, SeriesTable> {
        self.series.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn intern(&self, id1: i32, id2: &str, sensor_type: &str) -> u32 {
        if let Some(index) = self.series().find(id1, id2, sensor_type) {
            return index;
        }
        self.series
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .intern(id1, id2, sensor_type)
    }

    pub(super) fn tag(&self, series: SeriesHandle, tags: Tags) {
        self.series
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .tag(series.0, tags);
    }

    /// The service says where the stream stands in its source, or nothing.
    pub(super) fn stands_at(&self, source: Option<SourceMark>) {
        if let Some(mark) = source {
            *self.source_mark() = Some(mark);
        }
    }

    pub(super) fn source_position(&self) -> Option<Vec<u8>> {
        let known = self.source_mark();
        known.as_ref().map(|mark| mark.source_position.clone())
    }

    pub(super) fn source_seq(&self) -> Option<u64> {
        self.source_mark().as_ref().map(|mark| mark.seq)
    }

    fn source_mark(&self) -> MutexGuard<'_, Option<SourceMark>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next reading that is pushed is the first one behind the source's position. Only before the first push.
    pub(super) fn rewind_to_source(&self) -> u64 {
        let last_seq = self.source_mark().as_ref().map_or(0, |mark| mark.seq);
        let mut inbox = self.inbox();
        if inbox.open.next_seq() == self.first_seq {
            inbox.open.begin_at(last_seq + 1);
        }
        inbox.open.next_seq()
    }

    pub(super) fn keep_rejected(&self, readings: impl Iterator<Item = RejectedReading>) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.extend(readings);
        let excess = rejected.len().saturating_sub(MAX_REJECTED_KEPT);
        rejected.drain(..excess);
    }

    pub(super) fn take_rejected(&self) -> Vec<RejectedReading> {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rejected).into()
    }
}

//! The readings that wait for the disk: the batch that becomes the next record.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use rustc_hash::FxHashMap;
use tokio::{sync::Notify, time::Instant};

use super::{error::SpoolError, record::Batch};
use crate::v1::Series;

/// The most that a reading takes of a record besides its series: index (5), value (8), time (10).
const READING_BYTES: usize = 23;
/// Tag and length in front of a series.
const EMBEDDED_BYTES: usize = 4;
/// Of everything else in a record, the longest source position included.
const OTHER_BYTES: usize = 1_024 + 64;

/// A batch that takes readings.
#[derive(Debug, Default)]
struct OpenBatch {
    batch: Batch,
    /// By the number of a series in the spool, its place in the batch.
    places: FxHashMap<u32, u32>,
    bytes: usize,
    opened_at: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    open: OpenBatch,
    /// How many readings were ever taken, those of the open batch included.
    last_reading: u64,
    /// Somebody waits for all up to here.
    sync_through: u64,
    failed: Option<SpoolError>,
}

/// Shared by who pushes and who writes.
#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    record_bytes: usize,
    /// Wakes who writes: there is a first reading, a full batch or somebody who waits.
    pub(super) wake: Notify,
    /// Wakes who pushes: the batch was taken, or the spool has ended.
    pub(super) room: Notify,
}

/// What became of an attempt to push.
pub(super) enum Pushed {
    /// The number of the reading.
    Taken(u64),
    /// The batch is full, and the one before it is not yet on the disk.
    NoRoom,
}

/// What there is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) opened_at: Option<Instant>,
    /// It is full, or somebody waits for it.
    pub(super) is_due: bool,
}

impl Inbox {
    pub(super) fn new(record_bytes: usize, last_reading: u64) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                open: OpenBatch::default(),
                last_reading,
                sync_through: 0,
                failed: None,
            }),
            record_bytes: record_bytes - OTHER_BYTES,
            wake: Notify::new(),
            room: Notify::new(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(
        &self,
        (number, series): (u32, &Series),
        (value, timestamp_us): (f64, i64),
        source_position: &mut Option<Vec<u8>>,
    ) -> Result<Pushed, SpoolError> {
        let mut waiting = self.waiting();
        if let Some(error) = &waiting.failed {
            return Err(error.clone());
        }
        let open = &mut waiting.open;
        let of_series = match open.places.contains_key(&number) {
            true => 0,
            false => series.encoded_len() + EMBEDDED_BYTES,
        };
        let bytes = READING_BYTES + of_series;
        if bytes > self.record_bytes {
            return Err(SpoolError::TooLarge {
                bytes,
                most: self.record_bytes,
            });
        }
        let columns = &mut open.batch.columns;
        let is_first = columns.sensor_value.is_empty();
        let base = match is_first {
            true => timestamp_us,
            false => columns.base_timestamp_us,
        };
        // Times that are more than 2^63 microseconds apart need a record each.
        let delta = timestamp_us.checked_sub(base);
        let (Some(delta), true) = (delta, open.bytes + bytes <= self.record_bytes) else {
            open.bytes = self.record_bytes;
            self.wake.notify_one();
            return Ok(Pushed::NoRoom);
        };
        if is_first {
            columns.base_timestamp_us = base;
            open.opened_at = Some(Instant::now());
            self.wake.notify_one();
        }
        let next = columns.series.len() as u32;
        let place = *open.places.entry(number).or_insert_with(|| {
            columns.series.push(series.clone());
            next
        });
        columns.series_index.push(place);
        columns.sensor_value.push(value);
        columns.timestamp_delta_us.push(delta);
        open.bytes += bytes;
        if let Some(source_position) = source_position.take() {
            open.batch.source_position = source_position;
            open.batch.marked = open.batch.readings();
        }
        waiting.last_reading += 1;
        Ok(Pushed::Taken(waiting.last_reading))
    }

    /// The source stands there behind the last reading. It travels with the next one, if that has gone already.
    pub(super) fn mark(&self, source_position: Vec<u8>) -> Result<(), SpoolError> {
        let mut waiting = self.waiting();
        if let Some(error) = &waiting.failed {
            return Err(error.clone());
        }
        let batch = &mut waiting.open.batch;
        batch.source_position = source_position;
        batch.marked = batch.readings();
        Ok(())
    }

    /// Asks for all so far to be on the disk, and says up to which reading.
    pub(super) fn ask_to_sync(&self) -> Result<u64, SpoolError> {
        let mut waiting = self.waiting();
        if let Some(error) = &waiting.failed {
            return Err(error.clone());
        }
        waiting.sync_through = waiting.last_reading;
        self.wake.notify_one();
        Ok(waiting.last_reading)
    }

    pub(super) fn look(&self) -> Look {
        let waiting = self.waiting();
        let readings = u64::from(waiting.open.batch.readings());
        let before = waiting.last_reading - readings;
        // Half a record more would not be worth another wait.
        let is_full = waiting.open.bytes >= self.record_bytes / 2;
        Look {
            opened_at: waiting.open.opened_at,
            is_due: readings > 0 && (is_full || waiting.sync_through > before),
        }
    }

    /// The batch, to be written.
    pub(super) fn take(&self) -> Batch {
        let open = std::mem::take(&mut self.waiting().open);
        self.room.notify_one();
        open.batch
    }

    /// The spool has ended: every later call gets this error.
    pub(super) fn fail(&self, error: SpoolError) {
        self.waiting().failed.get_or_insert(error);
        self.room.notify_one();
    }

    pub(super) fn failure(&self) -> SpoolError {
        let failed = self.waiting().failed.clone();
        failed.unwrap_or(SpoolError::Stopped)
    }
}

//! Batches of readings as columns: one that is open takes readings, one that is sealed has its place in the stream.

use tokio::time::Instant;

/// Bytes that a reading takes while it is unacknowledged: series (4), value (8), time (8).
pub(super) const READING_BYTES: usize = 20;
/// Bytes that a batch takes besides its readings.
pub(super) const BATCH_BYTES: usize = 128;

/// The batch that takes readings.
#[derive(Debug)]
pub(super) struct OpenBatch {
    first_seq: u64,
    capacity: usize,
    columns: Columns,
    /// When its first reading came; the linger counts from here.
    opened_at: Option<Instant>,
    mark: Option<Mark>,
}

/// Where the producer stands in its source, and behind how many readings of a batch.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) behind: usize,
    pub(super) source_position: Vec<u8>,
}

#[derive(Debug, Default)]
struct Columns {
    series: Vec<u32>,
    values: Vec<f64>,
    timestamps_us: Vec<i64>,
}

impl Columns {
    fn with_capacity(readings: usize) -> Self {
        Self {
            series: Vec::with_capacity(readings),
            values: Vec::with_capacity(readings),
            timestamps_us: Vec::with_capacity(readings),
        }
    }
}

impl OpenBatch {
    /// A batch of at most `capacity` readings, the first of which has the position `first_seq`.
    pub(super) fn new(first_seq: u64, capacity: usize) -> Self {
        assert!(first_seq > 0, "positions count from 1");
        assert!(capacity > 0, "a batch holds at least one reading");
        Self {
            first_seq,
            capacity,
            columns: Columns::default(),
            opened_at: None,
            mark: None,
        }
    }

    /// The first reading of this batch, which is empty, has that position.
    pub(super) fn begin_at(&mut self, first_seq: u64) {
        assert!(
            self.is_empty(),
            "a batch keeps its place once it has a reading"
        );
        self.first_seq = first_seq;
    }

    /// The producer stands there in its source, behind the last reading.
    pub(super) fn mark(&mut self, source_position: Vec<u8>) {
        self.mark = Some(Mark {
            behind: self.len(),
            source_position,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.columns.values.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.columns.values.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.first_seq + self.len() as u64
    }

    pub(super) fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// The most bytes that this batch can take once it is sealed.
    pub(super) fn max_bytes(&self) -> usize {
        BATCH_BYTES + self.capacity * READING_BYTES
    }

    /// Takes a reading; there must be room.
    #[inline]
    pub(super) fn push(&mut self, series: u32, value: f64, timestamp_us: i64) {
        if self.is_empty() {
            self.opened_at = Some(Instant::now());
        }
        self.columns.series.push(series);
        self.columns.values.push(value);
        self.columns.timestamps_us.push(timestamp_us);
    }

    /// Takes as many readings from the beginning of the columns as there is room for, and says how many.
    pub(super) fn extend(
        &mut self,
        series: impl Iterator<Item = u32>,
        values: &[f64],
        timestamps_us: &[i64],
    ) -> usize {
        let taken = values.len().min(self.capacity - self.len());
        if taken > 0 && self.is_empty() {
            self.opened_at = Some(Instant::now());
        }
        self.columns.series.extend(series.take(taken));
        self.columns.values.extend_from_slice(&values[..taken]);
        self.columns
            .timestamps_us
            .extend_from_slice(&timestamps_us[..taken]);
        taken
    }

    /// Closes the batch and starts the next one; nothing when it is empty.
    pub(super) fn seal(&mut self) -> Option<SealedBatch> {
        if self.is_empty() {
            return None;
        }
        let first_seq = self.first_seq;
        self.first_seq = self.next_seq();
        self.opened_at = None;
        // The next batch is likely as long as this one: at a low rate a batch of full capacity would waste memory.
        let next = Columns::with_capacity(self.len());
        Some(SealedBatch {
            first_seq,
            settled: 0,
            mark: self.mark.take(),
            columns: std::mem::replace(&mut self.columns, next),
        })
    }
}

/// A batch that has its place in the stream and is kept until it is acknowledged.
#[derive(Debug)]
pub(super) struct SealedBatch {
    first_seq: u64,
    /// So many readings from the beginning are acknowledged.
    settled: usize,
    mark: Option<Mark>,
    columns: Columns,
}

/// The readings of a batch that are not acknowledged: three slices of the same length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readings<'a> {
    pub(super) series: &'a [u32],
    pub(super) values: &'a [f64],
    pub(super) timestamps_us: &'a [i64],
}

impl<'a> Readings<'a> {
    /// Those before and from the reading with this index.
    pub(super) fn split_at(self, index: usize) -> (Readings<'a>, Readings<'a>) {
        let (series, later_series) = self.series.split_at(index);
        let (values, later_values) = self.values.split_at(index);
        let (timestamps_us, later_timestamps_us) = self.timestamps_us.split_at(index);
        let first = Self {
            series,
            values,
            timestamps_us,
        };
        let second = Self {
            series: later_series,
            values: later_values,
            timestamps_us: later_timestamps_us,
        };
        (first, second)
    }
}

impl SealedBatch {
    /// The position of the first reading that is not acknowledged.
    pub(super) fn first_seq(&self) -> u64 {
        self.first_seq + self.settled as u64
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.first_seq + self.columns.values.len() as u64 - 1
    }

    /// Bytes that it takes until all of it is acknowledged.
    pub(super) fn bytes(&self) -> usize {
        let position = self.mark.as_ref().map(|mark| mark.source_position.len());
        BATCH_BYTES + self.columns.values.len() * READING_BYTES + position.unwrap_or_default()
    }

    /// Leaves out everything up to and with `seq`, which lies before the last reading of this batch.
    pub(super) fn settle_through(&mut self, seq: u64) {
        assert!(seq < self.last_seq(), "a settled batch leaves the window");
        let settled = (seq + 1).saturating_sub(self.first_seq);
        self.settled = self
            .settled
            .max(usize::try_from(settled).unwrap_or(usize::MAX));
    }

    /// Where the producer stands in its source behind so many of the readings that are not acknowledged.
    pub(super) fn mark(&self) -> Option<(usize, &[u8])> {
        let mark = self.mark.as_ref()?;
        let behind = mark.behind.checked_sub(self.settled)?;
        Some((behind, &mark.source_position))
    }

    pub(super) fn readings(&self) -> Readings<'_> {
        Readings {
            series: &self.columns.series[self.settled..],
            values: &self.columns.values[self.settled..],
            timestamps_us: &self.columns.timestamps_us[self.settled..],
        }
    }
}

//! What the use cases say to storage and hear from it. Nothing but `mysql` speaks SQL.

pub mod cache;
mod clock;
mod marks;
pub mod mysql;
mod partitions;
mod readings;
mod rollups;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::Serialize;

pub use self::clock::{ClockStore, KeptClock};
pub use self::marks::{CommitMark, CommitMarks, MarkNow, Untold};
pub use self::readings::{AggregateQuery, MadeFrom, QuarantineLimits, Stretch};
pub use self::rollups::{Merged, Noted, NotedBatch, Remade, RollupStanding};

pub use self::partitions::{Partition, PartitionChange, Split};
use crate::{
    ledger::{DroppedRows, LoadPart, PartOutcome},
    model::{Limits, Reading, Rejection, Seq, Series, SourceMark, StreamId, StreamPosition},
};

/// What a start is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Something that is under way, and has not failed.
    Own(String),
    /// Somebody else, who has to do something first: the reason.
    Others(String),
}

/// Is told what a start waits for.
#[derive(Clone)]
pub struct Awaits(Arc<dyn Fn(Awaited) + Send + Sync>);

impl Awaits {
    #[must_use]
    pub fn new(told: impl Fn(Awaited) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub fn tell(&self, what: Awaited) {
        (self.0)(what);
    }
}

impl Default for Awaits {
    /// Nobody wants to know.
    fn default() -> Self {
        Self::new(drop)
    }
}

impl std::fmt::Debug for Awaits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Awaits")
    }
}

/// What can go wrong with storage. Messages are for people; no driver's text reaches a producer.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error("the database is not reachable: {0}")]
    Unreachable(String),
    #[error("the database is busy with other transactions: {0}")]
    Contention(String),
    #[error("the database refuses writes at the moment: {0}")]
    NotWritable(String),
    /// More than a limit of the server allows for one statement, transaction or packet.
    #[error("too big for a limit of the database: {0}")]
    TooBig(String),
    /// Table or schema do not take any reading as they are.
    #[error("the table does not take readings: {0}")]
    Table(String),
    #[error("the database refused the data: {0}")]
    Data(String),
    #[error("the lane {lane} was taken over by another process of the same instance name")]
    LaneFenced { lane: StreamId },
    #[error(
        "the instance name is in use: another process has the lane {lane} ({holder}), and the database has heard of it \
         within the last 10 s; end it, or give this one another --instance"
    )]
    LaneHeld { lane: StreamId, holder: String },
    #[error(
        "the ledger has forgotten the lane {lane}: {found}; somebody has emptied, restored or changed ingest_streams \
         since this process took the lane"
    )]
    LaneForgotten { lane: StreamId, found: String },
    /// Account, schema or settings have to be mended.
    #[error("{0}")]
    Setup(String),
    /// Nobody answered for as long as the start may wait.
    #[error("{0}")]
    GaveUp(String),
    #[error("the database answered with an error: {0}")]
    Other(String),
}

/// What a refusal means for a load, and so what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The same batch, unchanged, may be taken in a moment.
    Passing,
    /// A smaller batch may be taken.
    TooBig,
    /// No reading is taken before somebody has mended table, schema or privileges.
    OfTheTable,
    /// Other readings are taken.
    OfAReading,
}

impl RepositoryError {
    /// What it means for a load; None when the loader cannot go on.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Unreachable(_)
            | Self::GaveUp(_)
            | Self::Contention(_)
            | Self::NotWritable(_)
            | Self::LaneHeld { .. }
            | Self::Other(_) => Some(Refusal::Passing),
            Self::TooBig(_) => Some(Refusal::TooBig),
            Self::Table(_) | Self::Setup(_) => Some(Refusal::OfTheTable),
            Self::Data(_) => Some(Refusal::OfAReading),
            Self::LaneFenced { .. } | Self::LaneForgotten { .. } => None,
        }
    }

    /// Whether the same call may succeed later without anyone changing data, table or settings.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.refusal() == Some(Refusal::Passing)
    }
}

/// The rows of a batch, column by column in order of arrival.
#[derive(Clone, Copy, Debug)]
pub struct LoadColumns<'a> {
    /// Which series of the batch a row is of.
    pub series: &'a [u32],
    pub sensor_value: &'a [f64],
    /// Microseconds since the Unix epoch, UTC.
    pub timestamp_us: &'a [i64],
    /// Arrivals in the order in which the rows are loaded; empty when that is the order of arrival.
    pub order: &'a [u32],
}

impl LoadColumns<'_> {
    /// The row in order of arrival that is loaded at a position.
    #[inline]
    #[must_use]
    pub fn arrival(&self, position: u32) -> u32 {
        self.order
            .get(position as usize)
            .copied()
            .unwrap_or(position)
    }
}

/// A sealed batch, as a loader sees it. `position` counts rows in the order in which they are loaded.
pub trait LoadBatch: Send + Sync + 'static {
    /// The batch's number in its lane, from 1. It never changes when the batch is loaded again.
    fn number(&self) -> Seq;
    fn rows(&self) -> u32;
    fn parts(&self) -> &[LoadPart];
    fn rejections(&self) -> &[Rejection];
    fn columns(&self) -> LoadColumns<'_>;
    /// How many series its rows are of.
    fn series_count(&self) -> u32;
    /// Id1, id2 and sensor type of one of them.
    fn series(&self, index: u32) -> (i32, &str, &str);

    /// The numbers of its series that were known when its readings came, in order, 0 for others; None unless they are of that era.
    fn known_numbers(&self, era: SeriesEra) -> Option<&[u32]>;

    /// The row at a position: its place in order of arrival, and the reading.
    fn row(&self, position: u32) -> (u32, Reading) {
        let arrival = self.columns().arrival(position);
        (arrival, self.reading(arrival))
    }

    /// The reading at a place in order of arrival.
    fn reading(&self, arrival: u32) -> Reading {
        let columns = self.columns();
        let row = arrival as usize;
        let (id1, id2, sensor_type) = self.series(columns.series[row]);
        Reading {
            series: Series {
                id1,
                id2: id2.to_owned(),
                sensor_type: sensor_type.to_owned(),
            },
            sensor_value: columns.sensor_value[row],
            timestamp_us: columns.timestamp_us[row],
        }
    }
}

/// Since when numbers of series are known. Whenever they turn out to be of another table a new era begins, and none of before is
/// good any longer. The default is that of those who know of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeriesEra(pub(crate) u64);

/// The ids of a batch's rows, in the order in which they are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowIds {
    pub first: u64,
    pub step: u64,
}

impl RowIds {
    #[inline]
    #[must_use]
    pub fn at(self, position: u32) -> u64 {
        self.first + u64::from(position) * self.step
    }
}

/// Which rows of a batch were stored, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRows {
    /// Those that were not.
    pub left_out: DroppedRows,
    /// All 0 where the table gives ids by itself.
    pub ids: RowIds,
}

impl StoredRows {
    /// Whether the row at this place in order of arrival is one of them.
    #[must_use]
    pub fn holds(&self, arrival: u32) -> bool {
        let behind = self.left_out.partition_point(|range| range.end <= arrival);
        let next = self.left_out.get(behind);
        next.is_none_or(|range| arrival < range.start)
    }

    /// The id of the row that was loaded at a position.
    #[must_use]
    pub fn id(&self, position: u32) -> i64 {
        self.ids.at(position).cast_signed()
    }
}

/// What became of a load, beyond doubt.
#[derive(Debug)]
pub enum Loaded {
    /// Durable, with the outcome of each part, in order (P1).
    Committed {
        outcomes: Vec<PartOutcome>,
        /// The numbers of its series, where they have numbers; 0 for none. They are missing where only the outcome is known.
        series: Arc<Vec<u32>>,
        /// None where only the outcome is known.
        stored: Option<StoredRows>,
        untold: Untold,
        /// Where there are rollups.
        noted: Option<Noted>,
    },
    /// Nothing of the batch is stored, nor ever will be as it is: divide it.
    TooBig(String),
    /// Nothing of the batch is stored: these parts hold more readings that only the database can find fault with than
    /// others should have to wait for. Ascending.
    Offending(Vec<usize>),
}

/// A stream that was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedStream {
    pub position: StreamPosition,
    /// Readings of the stream that were ever rejected.
    pub rejected: u64,
    /// Where its producer stood in its source, if that was told.
    pub mark: Option<SourceMark>,
}

/// Where a stream stands for somebody who knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    NotOpened,
    /// It belongs to another principal.
    OfAnother,
    Stands(OpenedStream),
}

/// Where a lane stands, or how many changes of stored readings an instance has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub name: String,
    /// "epoch:number".
    pub place: String,
    /// A change is under way.
    pub is_open: bool,
}

impl Standing {
    /// What the names of counts begin with; no stream can have such a name.
    pub const CHANGES_PREFIX: &str = "changes:";
}

/// Stored readings that have the number of a series that is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nameless {
    pub readings: u64,
    /// Of so many series.
    pub series: u64,
}

impl Nameless {
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            readings: self.readings + other.readings,
            series: self.series + other.series,
        }
    }
}

/// What an acknowledgement survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// A crash of the database process, of its operating system, or a loss of power.
    Full,
    /// A crash of the database process only: its settings leave the last second to the operating system.
    ProcessCrash,
}

/// A layout that readings are still moved from.
#[derive(Clone, Debug)]
pub struct MovingFrom {
    pub(crate) layout: String,
    /// All are moved.
    pub(crate) gone: Arc<AtomicBool>,
}

impl MovingFrom {
    #[expect(clippy::ref_option, reason = "as serde asks it")]
    fn is_over(moving: &Option<Self>) -> bool {
        moving
            .as_ref()
            .is_none_or(|moving| moving.gone.load(Ordering::Relaxed))
    }
}

impl Serialize for MovingFrom {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.layout)
    }
}

/// What the database and its table turned out to be at start.
#[derive(Clone, Debug, Serialize)]
pub struct StorageFacts {
    /// The server's own version text.
    pub server_version: String,
    pub layout: String,
    /// The layout that readings are still moved from.
    #[serde(skip_serializing_if = "MovingFrom::is_over")]
    pub moving_from: Option<MovingFrom>,
    pub durability: Durability,
    /// Digits of a timestamp after the second that are kept.
    pub timestamp_decimals: u8,
    /// Whether the primary key begins with the time, so that batches are sorted by it.
    #[serde(skip)]
    pub ordered_by_time: bool,
    #[serde(skip)]
    pub limits: Limits,
}

//! Management of what is stored: queries, exports, changes, the ledger, the quarantine, partitions and retention.

mod changes;
mod lanes;
mod pace;
pub mod partitions;
mod quarantine;
mod queries;
mod query_error;
mod series;
mod turns;

use std::sync::Arc;

use self::turns::Turns;
pub use self::{
    changes::ChangeError,
    lanes::forget_lanes,
    quarantine::{
        Kept, KnownMappings, QuarantineMetrics, Replay, ReplayError, ReplayOrder, ReplayPlace,
        keep_quarantine, own_json,
    },
    queries::{CacheUse, EXPORT_PAGE_ROWS, Page},
    query_error::QueryError,
    series::{
        SeriesError, SeriesKeeper, SeriesStanding, Tagged, TaggedSeries, Tagging, TaggingFault,
    },
    turns::{Busy, Costly},
};
use crate::{
    model::Limits,
    repository::mysql::{
        MySqlLedgerReader, MySqlQuarantine, MySqlReadings, MySqlRollups, MySqlSeries,
    },
    usecase::{changes::ReadingChanges, clock::Clock, ingest::Ingest, latest::LatestReader},
};

/// How much is done at once, and for one query.
#[derive(Clone, Copy, Debug)]
pub struct ManageSettings {
    /// Exports at once.
    pub max_exports: usize,
    /// Aggregates, counts and filtered pages at once.
    pub max_heavy_queries: usize,
    /// Time buckets in the range of an aggregate.
    pub max_buckets: u64,
    /// Readings that the database may expect to read for an aggregate.
    pub max_scanned_rows: u64,
}

/// The stored readings, once for each kind of work: none takes the connections of another.
pub struct Stores {
    /// Pages that are as much work as they bring rows.
    pub pages: Arc<MySqlReadings>,
    pub heavy: Arc<MySqlReadings>,
    pub exports: Arc<MySqlReadings>,
    pub changes: Arc<MySqlReadings>,
    pub ledger: Arc<MySqlLedgerReader>,
    pub quarantine: Arc<MySqlQuarantine>,
    /// None where readings bring their names along.
    pub series: Option<Arc<MySqlSeries>>,
    /// Copies of the newest readings, where they are kept.
    pub latest: Option<Arc<LatestReader>>,
    /// Who is told of deletes and updates.
    pub told: Arc<ReadingChanges>,
    /// None where there are none.
    pub rollups: Option<Arc<MySqlRollups>>,
}

/// Queries and changes stored readings.
pub struct Manage {
    stores: Stores,
    settings: ManageSettings,
    heavy: Turns,
    exports: Turns,
    replays: Turns,
    /// Says which times are taken now.
    clock: Arc<Clock>,
    mappings: KnownMappings,
    quarantine_metrics: QuarantineMetrics,
    /// Asked how busy it is: changes give way to readings that come in.
    ingest: Arc<Ingest>,
}

impl Manage {
    #[must_use]
    pub fn new(
        stores: Stores,
        settings: ManageSettings,
        ingest: Arc<Ingest>,
        clock: Arc<Clock>,
        mappings: KnownMappings,
        quarantine_metrics: QuarantineMetrics,
    ) -> Self {
        Self {
            stores,
            heavy: Turns::new(Costly::HeavyQuery, settings.max_heavy_queries),
            exports: Turns::new(Costly::Export, settings.max_exports),
            replays: Turns::new(Costly::Replay, 1),
            clock,
            mappings,
            quarantine_metrics,
            settings,
            ingest,
        }
    }

    /// What the table can hold.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.stores.pages.limits()
    }
}

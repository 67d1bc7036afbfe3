//! Storage in MySQL and MariaDB. Nothing outside of this folder speaks SQL.

mod aggregate_text;
mod answers;
mod asking;
mod change_counts;
mod checks;
mod claim;
mod clock;
mod columns;
mod connection;
mod control;
mod copying;
mod error;
mod fit;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ids;
mod indexes;
mod infile;
mod instant;
mod ledger;
mod ledger_reader;
mod leftover;
mod load;
mod loader;
mod long_names;
mod metrics;
mod migrations;
mod moving;
mod names;
mod opening;
mod partitions;
mod pools;
mod presence;
mod probe;
mod quarantine;
mod readings;
mod refusal;
mod report;
mod rollups;
mod row_load;
mod series;
mod shape;
mod statement;
mod table;
mod tsv;
mod waiting;

use std::{sync::Arc, time::Duration};

use mysql_async::Pool;
use tracing::warn;

pub(crate) use self::rollups::{Held, Outdated};
pub(crate) use self::series::{KnownSeries, Retagged, SEEN_AT_ONCE};
use self::{
    asking::Asking,
    clock::MySqlClock,
    connection::Connector,
    control::Taken,
    ids::IdShare,
    indexes::Indexes,
    leftover::Leftover,
    metrics::SeriesMetrics,
    moving::Mover,
    names::Names,
    opening::{answered, management},
    probe::Probe,
    rollups::Answering,
    series::{Bounds, Naming, SMALL_CACHE_BYTES, SeriesNumbers},
    table::{Table, TableLayout},
    waiting::wait_for_database,
};
pub use self::{
    change_counts::MySqlChangeCounts,
    connection::Access,
    ledger::MySqlLedger,
    ledger_reader::MySqlLedgerReader,
    loader::Loader,
    long_names::MySqlLongNames,
    metrics::StorageMetrics,
    migrations::Layout,
    moving::{MoveEstimate, MoveExtent, MoveOrder, MoveProgress, Moved, MovedPartition},
    names::{ColumnNames, TableName},
    partitions::{MySqlPartitions, PartitionPass},
    presence::MySqlLanes,
    quarantine::MySqlQuarantine,
    readings::MySqlReadings,
    rollups::MySqlRollups,
    series::{MySqlSeries, MySqlSeriesUpkeep},
};
pub use sluicegate_mysql_address::TlsFiles;

use super::{Awaited, Awaits, ClockStore, CommitMarks, MovingFrom, RepositoryError, StorageFacts};
use crate::model::{Limits, SeriesBounds, StreamId, rollup::RollupLevels};

/// Connections for looking at the ledger and the quarantine.
const LEDGER_CONNECTIONS: usize = 2;
/// Connections for series and their tags.
const SERIES_CONNECTIONS: usize = 4;
/// The pool for streams that are opened, and for what the service does by itself: clock, partitions, quarantine.
const OWN_POOL: &str = "service";
/// Connections for rollups: what they do takes long.
const ROLLUP_POOL: &str = "rollups";

/// How to reach the database and what to do at start.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// For ingestion, and for all that the service does by itself.
    pub access: Access,
    /// For questions and changes of management; None for the same.
    pub manage: Option<Access>,
    /// How long the database may work on a statement of management; whole seconds.
    pub statement_limit: Duration,
    /// Memory for the numbers of series that are remembered.
    pub series_cache_bytes: usize,
    pub series_bounds: SeriesBounds,
    /// How long to wait at start for a database that does not answer.
    pub connect_deadline: Duration,
    /// The layout that was asked for, to say that the table has another one.
    pub wanted_layout: Option<Layout>,
    /// What the table of readings is called, where it is somebody's own.
    pub table: Option<TableName>,
    /// What its columns are called.
    pub columns: ColumnNames,
    /// Name of this service instance, part of the names of its lanes.
    pub instance: String,
    /// Is told what the start waits for.
    pub awaits: Awaits,
    pub metrics: StorageMetrics,
}

impl DatabaseSettings {
    fn names(&self) -> Names {
        Names::new(self.table.as_ref(), &self.columns)
    }
}

/// Between two looks for whether the process that has our name is still there.
const HELD_PAUSE: Duration = Duration::from_millis(500);

/// A database that was reached and found fit.
pub struct MySqlStorage {
    connector: Connector,
    /// For management.
    manage: Connector,
    statement_limit: Duration,
    /// What is known of series; None where readings bring their names along.
    series_numbers: Option<Arc<SeriesNumbers>>,
    series_metrics: SeriesMetrics,
    pool: Pool,
    probe: Probe,
    table: Arc<Table>,
    /// The reading that the table took at start.
    control: Option<Taken>,
    indexes: Indexes,
    /// None where readings bring their names along.
    naming: Option<Arc<Naming>>,
    /// What is not yet moved out of another layout, and who gives numbers to its series.
    leftover: Option<(Leftover, Arc<Naming>)>,
    facts: StorageFacts,
    instance: String,
    awaits: Awaits,
    marks: CommitMarks,
}

impl MySqlStorage {
    /// Creates what is missing in the schema: the ledger, and the readings table in the given layout.
    ///
    /// # Errors
    /// When the database is not reachable in time or refuses.
    pub async fn migrate(
        settings: &DatabaseSettings,
        layout: Layout,
    ) -> Result<Vec<String>, RepositoryError> {
        let connector = Connector::new(&settings.access, &settings.metrics)?;
        let mut conn = wait_for_database(&connector, settings).await?;
        let applied = migrations::apply(&mut conn, layout, &settings.names()).await?;
        let _ = conn.disconnect().await;
        Ok(applied)
    }

    /// Moves readings into another layout, while readings go on coming in. It may be ended at any time, and begun again.
    ///
    /// # Errors
    /// When the database is not reachable in time or refuses, and when readings would not be the same afterwards.
    pub async fn move_readings(
        settings: &DatabaseSettings,
        order: MoveOrder,
        told: &(dyn Fn(MoveProgress) + Send + Sync),
    ) -> Result<Moved, RepositoryError> {
        if settings.names().are_given() {
            return Err(RepositoryError::Setup(
                "readings of a table of your own (table, columns) stay where they are: --to moves those of the tables that \
                 `sluicegate migrate` made"
                    .to_owned(),
            ));
        }
        let connector = Connector::new(&settings.access, &settings.metrics)?;
        let mut conn = wait_for_database(&connector, settings).await?;
        migrations::apply(&mut conn, order.to, &Names::default()).await?;
        let mover = Mover {
            connector: &connector,
            series_bounds: settings.series_bounds,
            series_metrics: settings.metrics.series().clone(),
            patience: settings.connect_deadline,
        };
        mover.run(conn, order, told).await
    }

    /// Connects, waits for a database that is starting, and checks that it is fit to be written to.
    ///
    /// # Errors
    /// When the database is not reachable in time, or with one sentence that says which setting to change.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, RepositoryError> {
        let connector = Connector::new(&settings.access, &settings.metrics)?;
        let mut conn = wait_for_database(&connector, settings).await?;
        let looked = answered(
            settings,
            &connector,
            Box::pin(async {
                let server = checks::server(&mut conn).await?;
                let table = Table::read(&mut conn, &settings.names()).await?;
                checks::can_write(&mut conn, &table).await?;
                Ok((server, table))
            }),
        );
        let (server, table) = looked.await?;
        let control = control::prove(&connector, &mut conn, &table).await?;
        let indexes = Indexes::read(&mut conn, &table.name, &table.names).await?;
        let leftover = match table.names.are_given() {
            true => None,
            false => Leftover::read(&mut conn, table.layout).await?,
        };
        let _ = conn.disconnect().await;
        connector.report();
        let layouts = (table.layout, leftover.as_ref().map(|left| left.layout));
        let manage = Box::pin(management(settings, &connector, layouts, &table.names)).await?;
        let facts = StorageFacts {
            server_version: server.version,
            layout: match table.names.are_given() {
                true => "own".to_owned(),
                false => table.layout.to_string(),
            },
            moving_from: leftover.as_ref().map(|left| MovingFrom {
                layout: left.layout.to_string(),
                gone: left.gone.clone(),
            }),
            durability: server.durability,
            timestamp_decimals: table.limits.timestamp.decimals,
            ordered_by_time: table.ordered_by_time,
            limits: table.limits,
        };
        report::facts(&facts);
        report::other_layout(settings.wanted_layout, &facts);
        report::missing_indexes(&table, &indexes);
        let pool = connector.pool(OWN_POOL);
        let is_numbered = table.layout.is_numbered();
        let series_metrics = settings.metrics.series().clone();
        let series_bounds = Bounds::new(settings.series_bounds, series_metrics.clone());
        let numbers_of = |bytes: usize, limits: Limits, used_in: &'static str| {
            let bounds = series_bounds.clone();
            Arc::new(SeriesNumbers::new(bytes, limits, bounds, used_in))
        };
        let series_numbers = is_numbered.then(|| {
            let bytes = settings.series_cache_bytes;
            numbers_of(bytes, table.limits, table.layout.table())
        });
        let naming_by = |numbers: Arc<SeriesNumbers>| Arc::new(Naming::new(pool.clone(), numbers));
        let naming = series_numbers.clone().map(naming_by);
        let leftover = leftover.map(|left| {
            let own = || {
                let used_in = left.layout.moving_table();
                naming_by(numbers_of(SMALL_CACHE_BYTES, left.limits, used_in))
            };
            let naming = naming.clone().unwrap_or_else(own);
            (left, naming)
        });
        report::leftover(leftover.as_ref().map(|(left, _)| left));
        Ok(Self {
            probe: Probe::new(connector.clone()),
            connector,
            manage,
            statement_limit: settings.statement_limit,
            series_numbers,
            series_metrics,
            pool,
            indexes,
            naming,
            leftover,
            table: Arc::new(table),
            control,
            facts,
            instance: settings.instance.clone(),
            awaits: settings.awaits.clone(),
            marks: CommitMarks::default(),
        })
    }

    /// The stored readings, for one kind of work of management: with connections of its own, so that none waits for
    /// another, nor for the ledger. The name is for the figures.
    #[must_use]
    pub fn readings(
        &self,
        name: &'static str,
        connections: usize,
        rollups: &RollupLevels,
    ) -> Arc<MySqlReadings> {
        Arc::new(MySqlReadings::new(
            self.asking(name, connections),
            &self.table,
            self.indexes.clone(),
            self.naming.clone(),
            self.leftover
                .as_ref()
                .map(|(left, naming)| (left, naming.clone())),
            (!rollups.is_empty()).then(|| Answering::new(rollups.clone())),
        ))
    }

    /// The rollups, with these levels; None where readings bring their names along, or are being moved.
    #[must_use]
    pub fn rollups(&self, levels: RollupLevels) -> Option<MySqlRollups> {
        let have_some = self.table.layout.is_numbered() && self.leftover.is_none();
        have_some.then(|| {
            let (pool, indexes) = (self.connector.pool(ROLLUP_POOL), &self.indexes);
            let indexes = (indexes.time.clone(), indexes.ids.clone());
            MySqlRollups::new(pool, levels, indexes, &self.instance)
        })
    }

    /// Resolves when the readings are in tables of another kind than at the start.
    pub fn layout_changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let looked_at = (!self.table.names.are_given()).then_some(self.table.layout);
        let gone = self.leftover.as_ref().map(|(left, _)| left.gone.clone());
        leftover::changed(self.pool.clone(), looked_at, gone)
    }

    /// The ledger and the quarantine, to look at.
    #[must_use]
    pub fn ledger_reader(&self) -> Arc<MySqlLedgerReader> {
        Arc::new(MySqlLedgerReader::new(
            self.asking("ledger", LEDGER_CONNECTIONS),
        ))
    }

    /// The series and their tags; None where readings bring their names along.
    #[must_use]
    pub fn series(&self) -> Option<Arc<MySqlSeries>> {
        let is_numbered = self.table.layout.is_numbered();
        let asking = || self.asking("series", SERIES_CONNECTIONS);
        is_numbered.then(|| Arc::new(MySqlSeries::new(asking(), self.indexes.ids.clone())))
    }

    fn asking(&self, name: &'static str, connections: usize) -> Asking {
        Asking::new(&self.manage, name, connections, self.statement_limit)
    }

    /// The database's clock, and what is stored about the time.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn ClockStore> {
        Arc::new(MySqlClock::new(self.pool.clone()))
    }

    /// The quarantine, to be held to its limits, and to be worked off.
    #[must_use]
    pub fn quarantine(&self) -> Arc<MySqlQuarantine> {
        Arc::new(MySqlQuarantine::new(
            self.pool.clone(),
            self.connector.clone(),
            self.table.clone(),
            self.naming.clone(),
        ))
    }

    /// The table of series, to be kept up; None where readings bring their names along.
    #[must_use]
    pub fn series_upkeep(&self) -> Option<MySqlSeriesUpkeep> {
        let is_numbered = self.table.layout.is_numbered();
        is_numbered.then(|| {
            let (pool, index) = (self.pool.clone(), self.indexes.ids.clone());
            MySqlSeriesUpkeep::new(pool, index, self.series_metrics.clone())
        })
    }

    /// The table of long names.
    #[must_use]
    pub fn long_names(&self) -> MySqlLongNames {
        MySqlLongNames::new(self.pool.clone())
    }

    /// The lanes of all instances, to forget those that are gone.
    #[must_use]
    pub fn lanes(&self) -> Arc<MySqlLanes> {
        Arc::new(MySqlLanes::new(self.pool.clone()))
    }

    /// The partitions of the readings table; None for a layout that has none.
    #[must_use]
    pub fn partitions(&self) -> Option<Arc<MySqlPartitions>> {
        let has_some = match self.table.layout {
            _ if self.table.names.are_given() => self.table.is_partitioned,
            TableLayout::Seed => false,
            TableLayout::Partitioned | TableLayout::Hashed | TableLayout::Series => true,
        };
        has_some.then(|| {
            let (pool, by_time) = (self.pool.clone(), self.indexes.time.as_deref());
            Arc::new(MySqlPartitions::new(pool, &self.table, by_time))
        })
    }

    /// Closes idle connections.
    pub async fn close(self) {
        let _ = self.pool.disconnect().await;
    }

    pub(crate) fn facts(&self) -> &StorageFacts {
        &self.facts
    }

    pub(crate) fn ledger(&self) -> Arc<MySqlLedger> {
        Arc::new(MySqlLedger::new(self.pool.clone()))
    }

    /// Opens the loader of a lane and takes over its ledger row.
    pub(crate) async fn loader(&self, lane: usize) -> Result<Loader, RepositoryError> {
        let share = IdShare::of(lane, self.table.subpartitions);
        let lane = StreamId::of_lane(&self.instance, lane);
        let mut was_held = false;
        loop {
            let (connector, table, control) = (
                self.connector.clone(),
                self.table.clone(),
                self.control.clone(),
            );
            let known = (self.series_numbers.clone(), &self.marks);
            let opened = Loader::open(connector, table, lane.clone(), share, control, known).await;
            match opened {
                Err(held @ RepositoryError::LaneHeld { .. }) => {
                    if !was_held {
                        warn!(reason = %held, "waiting for the instance name");
                        was_held = true;
                    }
                    self.awaits.tell(Awaited::Others(held.to_string()));
                    tokio::time::sleep(HELD_PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    /// Tells the numbers of series that are known; None where readings bring their names along.
    pub(crate) fn known_series(&self) -> Option<KnownSeries> {
        self.series_numbers.clone().map(KnownSeries::new)
    }

    /// Whether the database answers now.
    pub(crate) async fn ping(&self) -> Result<(), RepositoryError> {
        self.probe.ask().await
    }
}

//! Wires the layers, and owns the order of start and stop.

mod copies;
mod database;
mod doors;
mod figures;
mod listeners;
#[cfg(target_os = "linux")]
mod process;
mod rollups;
mod service_manager;

use std::{
    convert::Infallible,
    io::ErrorKind,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sluicegate_transport::tls::{Tls, TlsError};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{copies::Copies, doors::Doors, listeners::Addresses};
pub use self::{
    database::{RunningDatabase, start_database},
    listeners::{Listeners, remove_old_ready_file},
    service_manager::tell_why,
};
use crate::{
    audit::{AuditError, AuditLog, AuditMetrics},
    auth::{AuthMetrics, Gate, TokenFileError},
    config::{Config, ConfigError},
    embedded_db::{Condition, EmbeddedDbError},
    model::rollup::RollupLevels,
    ready_file::ReadyFile,
    repository::{
        Awaits, RepositoryError,
        cache::CacheError,
        mysql::{DatabaseSettings, MySqlRollups, MySqlStorage, StorageMetrics},
    },
    router::Protection,
    shutdown::Shutdown,
    source::{self, Fetching},
    supervisor::TaskFailure,
    telemetry::metrics::Metrics,
    usecase::{
        UseCases,
        changes::ReadingChanges,
        clock::Clock,
        ingest::{CommitEvents, Figures, Ingest},
        live::WatcherRooms,
        manage::{
            Manage, QuarantineMetrics, SeriesKeeper, Stores, forget_lanes, keep_quarantine,
            partitions::PartitionManager,
        },
        readiness::Readiness,
    },
};

/// Why the service did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("{0} (auth.tokens)")]
    Tokens(#[from] TokenFileError),
    #[error("{0}")]
    Audit(#[from] AuditError),
    #[error("cannot listen on {addr} ({flag}): {reason}")]
    Listen {
        flag: &'static str,
        addr: SocketAddr,
        reason: std::io::Error,
    },
    #[error("{0}")]
    EmbeddedDb(#[from] EmbeddedDbError),
    #[error("{0}")]
    Repository(#[from] RepositoryError),
    #[error("cannot use the cache (cache.url): {0}")]
    Cache(#[from] CacheError),
    #[error("cannot write or remove {path} (--ready-file): {reason}")]
    ReadyFile {
        path: String,
        reason: std::io::Error,
    },
    #[error("{0}")]
    Task(#[from] TaskFailure),
    #[error(
        "the readings are in tables of another layout now (sluicegate migrate --to): the service has to start anew; producers \
         still hold what was not committed"
    )]
    TablesMoved,
    #[error("ended with {readings} readings not committed; their producers still hold them")]
    NotDrained { readings: u64 },
}

impl AppError {
    /// Whether a start will fail like this again until somebody has mended settings, files or the database.
    #[must_use]
    pub fn has_to_be_mended(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::Tls(_)
            | Self::Tokens(_)
            | Self::Audit(_)
            | Self::Cache(_)
            | Self::ReadyFile { .. } => true,
            // A port may become free, and an address come up.
            Self::Listen { reason, .. } => !matches!(
                reason.kind(),
                ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable
            ),
            Self::EmbeddedDb(error) => error.has_to_be_mended(),
            Self::Repository(error) => {
                matches!(error, RepositoryError::Setup(_) | RepositoryError::Table(_))
            }
            Self::Task(_) | Self::TablesMoved | Self::NotDrained { .. } => false,
        }
    }
}

/// Runs the service until it is told to stop. That may come while it still starts.
///
/// # Errors
/// When it cannot start, when a task is gone that should have gone on, or when it cannot drain within the deadline.
pub async fn run(listeners: Listeners, config: Config, shutdown: Shutdown) -> Result<(), AppError> {
    let addresses = Addresses::of(&listeners)?;
    let started = Arc::new(OnceLock::new());
    let readiness = Arc::new(Readiness::new(
        started.clone(),
        shutdown.tasks.clone(),
        shutdown.draining.clone(),
        config.ready.max_lag(),
    ));
    let metrics = Arc::new(Metrics::default());
    if let Some(warning) = config.warning_of_exposure() {
        warn!("{warning}");
    }
    let tls = config.tls.files().map(Tls::load).transpose()?.map(Arc::new);
    figures::register(
        &metrics,
        &config,
        &started,
        &readiness,
        &shutdown.draining,
        tls.as_ref(),
    );
    let gate = config.auth.gate();
    // Their figures are there whether they are or not.
    let (of_gate, of_audit) = (AuthMetrics::new(&metrics), AuditMetrics::new(&metrics));
    let gate = gate.map(|settings| Gate::open(settings, of_gate));
    let audit = config.audit.file.clone();
    let audit = audit.map(|target| AuditLog::open(target, of_audit));
    let protection = Protection {
        tls,
        audit: audit.transpose()?.map(Arc::new),
        gate: gate.transpose()?.map(Arc::new),
        max_open_calls: config.auth.max_open_calls(),
    };
    let doors = Doors::open(
        listeners, protection, &config, &shutdown, &started, &readiness, &metrics,
    );
    let telling = service_manager::start(&readiness, &addresses, &shutdown);
    let ended = between(
        doors, &addresses, &config, &shutdown, &started, &readiness, &metrics,
    )
    .await;
    shutdown.draining.cancel();
    service_manager::told(telling).await;
    ended
}

/// From the opening of the doors to the end.
async fn between(
    doors: Doors,
    addresses: &Addresses,
    config: &Config,
    shutdown: &Shutdown,
    started: &OnceLock<UseCases>,
    readiness: &Arc<Readiness>,
    metrics: &Metrics,
) -> Result<(), AppError> {
    let beginning = start_database(config, &shutdown.tasks);
    let Some(database) = unless_stopped(shutdown, beginning).await? else {
        return Ok(());
    };
    if let Some(condition) = database.condition() {
        readiness.also_asks(move || match &*condition.borrow() {
            Condition::Running => None,
            Condition::Restarting { reason } => Some(reason.clone()),
        });
    }
    let beginning = start(config, shutdown, database.url(), readiness, metrics);
    let ended = match Box::pin(unless_stopped(shutdown, beginning)).await {
        Ok(Some((use_cases, fetching))) => {
            let ingest = use_cases.ingest.clone();
            // There is one start.
            let _ = started.set(use_cases);
            serve(doors, fetching, addresses, config, shutdown, &ingest).await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    shutdown.draining.cancel();
    database.stop().await;
    ended
}

/// A step of the start, or None when the service is told to stop meanwhile.
async fn unless_stopped<T>(
    shutdown: &Shutdown,
    step: impl Future<Output = Result<T, AppError>>,
) -> Result<Option<T>, AppError> {
    tokio::select! {
        () = shutdown.draining.cancelled() => {
            info!("stopped before it was ready");
            Ok(None)
        }
        failure = shutdown.tasks.failure() => Err(failure.into()),
        done = step => done.map(Some),
    }
}

/// Makes what the doors work with. `readiness` is told what that waits for.
async fn start(
    config: &Config,
    shutdown: &Shutdown,
    url: String,
    readiness: &Arc<Readiness>,
    metrics: &Metrics,
) -> Result<(UseCases, Fetching), AppError> {
    // It reaches the use cases, which keep these settings: only weakly, or none of them would ever end.
    let told = Arc::downgrade(readiness);
    let settings = DatabaseSettings {
        awaits: Awaits::new(move |what| {
            if let Some(readiness) = told.upgrade() {
                readiness.awaits(what);
            }
        }),
        metrics: StorageMetrics::new(metrics),
        ..config.database_settings(url)
    };
    if config.migrate {
        for applied in MySqlStorage::migrate(&settings, config.layout).await? {
            info!(applied, "migrated");
        }
    }
    let storage = Arc::new(Box::pin(MySqlStorage::open(&settings)).await?);
    let events = CommitEvents::default();
    let copies = copies::of(config, &storage, metrics)?;
    let rollups = rollups::of(config, &storage, &events, metrics).await?;
    let store_of_rollups = rollups.as_ref().map(|rollups| rollups.store.clone());
    let told = ReadingChanges::new(
        storage.change_counts(),
        (
            copies.as_ref().map(|copies| copies.of_changes.clone()),
            store_of_rollups.clone(),
        ),
        events.clone(),
        settings.statement_limit,
    );
    let beside = (copies.as_ref(), store_of_rollups.clone());
    let stores = stores(config, &storage, beside, &told);
    let clock = Arc::new(Clock::new(config.time_settings(), storage.clock()));
    clock.look().await?;
    let (watched, draining) = (clock.clone(), shutdown.draining.clone());
    shutdown.tasks.start("clock", async move {
        watched.run(draining).await;
        Ok::<(), Infallible>(())
    });
    let (changed, anew) = (storage.layout_changed(), shutdown.start_anew.clone());
    let draining = shutdown.draining.clone();
    shutdown.tasks.start("layout watch", async move {
        tokio::select! {
            () = changed => anew.cancel(),
            () = draining.cancelled() => {}
        }
        draining.cancelled().await;
        Ok::<(), Infallible>(())
    });
    let told = (told, store_of_rollups);
    let partitions = partition_manager(config, &storage, clock.clone(), told)?;
    if let Some(manager) = &partitions {
        // So that a fresh table has its partitions before the first reading. It says itself what went wrong.
        let _ = manager.pass().await;
    }
    let of_quarantine = QuarantineMetrics::new(metrics);
    let keeping = keep_quarantine(
        storage.quarantine(),
        config.quarantine_limits(),
        of_quarantine.clone(),
        shutdown.draining.clone(),
    );
    shutdown.tasks.start("quarantine keeper", async move {
        keeping.await;
        Ok::<(), Infallible>(())
    });
    let series = storage.series_upkeep().map(SeriesKeeper::new);
    let forgetting = forget_lanes(storage.lanes(), shutdown.draining.clone());
    shutdown.tasks.start("lane keeper", async move {
        forgetting.await;
        Ok::<(), Infallible>(())
    });
    let ingest = Arc::new(
        Ingest::start(
            config.ingest_settings(),
            storage.clone(),
            (&clock, events),
            &shutdown.tasks,
            shutdown.draining.clone(),
            metrics,
        )
        .await?,
    );
    if let Some(manager) = &partitions {
        let (manager, events) = (manager.clone(), ingest.events().subscribe());
        let draining = shutdown.draining.clone();
        shutdown.tasks.start("partition manager", async move {
            manager.run(events, draining).await;
            Ok::<(), Infallible>(())
        });
    }
    if let Some(keeper) = &series {
        let keeping = keeper
            .clone()
            .run(ingest.events().subscribe(), shutdown.draining.clone());
        shutdown.tasks.start("series keeper", async move {
            keeping.await;
            Ok::<(), Infallible>(())
        });
    }
    if let Some(copies) = copies {
        copies.keep(&storage, &ingest, shutdown);
    }
    if let Some(rollups) = rollups {
        rollups.keep(&ingest, shutdown);
    }
    let (sources, fetching) = source::start(
        &config.sources,
        &ingest,
        &shutdown.tasks,
        &shutdown.draining,
        metrics,
    );
    {
        let sources = sources.clone();
        readiness.also_asks(move || sources.complaint());
    }
    let manage = Arc::new(Manage::new(
        stores,
        config.rest.manage_settings(),
        ingest.clone(),
        clock,
        config.known_mappings()?,
        of_quarantine,
    ));
    let use_cases = UseCases {
        ingest,
        manage,
        partitions,
        series,
        sources,
        watcher_rooms: WatcherRooms::new(config.rest.live_bytes),
    };
    Ok((use_cases, fetching))
}

async fn serve(
    doors: Doors,
    fetching: Fetching,
    addresses: &Addresses,
    config: &Config,
    shutdown: &Shutdown,
    ingest: &Ingest,
) -> Result<(), AppError> {
    info!(grpc = %addresses.grpc_addr, rest = %addresses.rest_addr, instance = config.instance, "ready");
    let ready_file = config.ready_file.as_deref();
    let ready_file = ready_file.map(|path| addresses.write(path)).transpose()?;
    tokio::select! {
        () = shutdown.draining.cancelled() => {}
        () = shutdown.tasks.failed().cancelled() => shutdown.draining.cancel(),
        () = shutdown.start_anew.cancelled() => {
            warn!("the readings are in tables of another layout now: starting anew");
            shutdown.draining.cancel();
        }
    }
    if let Some(Err(error)) = ready_file.map(ReadyFile::remove) {
        warn!(%error, "cannot remove the ready file");
    }
    let stopped = tokio::select! {
        () = doors.close(ingest, fetching) => true,
        () = tokio::time::sleep(shutdown.deadline) => false,
        () = shutdown.at_once.cancelled() => false,
        // Nothing that is in flight can be stored as it is.
        () = a_moment_after(&shutdown.start_anew) => false,
    };
    if shutdown.start_anew.is_cancelled() {
        return Err(AppError::TablesMoved);
    }
    let Figures {
        committed,
        rejected,
        duplicate,
        in_flight,
        ..
    } = ingest.figures();
    if let Some(failure) = shutdown.tasks.cause().await {
        error!(in_flight, committed, rejected, duplicate, "not drained");
        return Err(failure.into());
    }
    match stopped {
        true => {
            info!(committed, rejected, duplicate, "drained");
            Ok(())
        }
        false if in_flight == 0 => {
            warn!(
                committed,
                rejected, duplicate, "drained, although calls or requests were still open"
            );
            Ok(())
        }
        false => {
            error!(in_flight, committed, rejected, duplicate, "not drained");
            Err(AppError::NotDrained {
                readings: in_flight,
            })
        }
    }
}

/// For answers that are under way.
async fn a_moment_after(cancelled: &CancellationToken) {
    cancelled.cancelled().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Connections for pages, and for deletes and updates, of which each waits for one for every of its steps.
const PAGE_CONNECTIONS: usize = 6;
const CHANGE_CONNECTIONS: usize = 4;
/// Exports take turns between their pages.
const EXPORT_CONNECTIONS: usize = 4;

fn stores(
    config: &Config,
    storage: &MySqlStorage,
    (copies, rollups): (Option<&Copies>, Option<Arc<MySqlRollups>>),
    told: &Arc<ReadingChanges>,
) -> Stores {
    // Only aggregations are made from rollups.
    let none = &RollupLevels::default();
    Stores {
        latest: copies.map(|copies| copies.reader.clone()),
        told: told.clone(),
        rollups,
        pages: storage.readings("pages", PAGE_CONNECTIONS, none),
        heavy: storage.readings("heavy", config.rest.max_heavy_queries, &config.rollups),
        exports: storage.readings("exports", EXPORT_CONNECTIONS, none),
        changes: storage.readings("changes", CHANGE_CONNECTIONS, none),
        ledger: storage.ledger_reader(),
        quarantine: storage.quarantine(),
        series: storage.series(),
    }
}

/// The manager of the table's partitions, unless it has none or they are to be left alone.
fn partition_manager(
    config: &Config,
    storage: &MySqlStorage,
    clock: Arc<Clock>,
    (told, rollups): (Arc<ReadingChanges>, Option<Arc<MySqlRollups>>),
) -> Result<Option<Arc<PartitionManager>>, AppError> {
    let Some(settings) = config.partitions.settings() else {
        return Ok(None);
    };
    match storage.partitions() {
        Some(store) => {
            let manager = PartitionManager::new(store, clock, settings);
            Ok(Some(Arc::new(manager.telling(told, rollups))))
        }
        None if settings.retention.is_some() => Err(ConfigError::Value {
            key: "partitions.retention",
            value: config.partitions.retention.to_string(),
            must: "none for a table that has no partitions to drop, as on the layout seed",
        }
        .into()),
        None => Ok(None),
    }
}

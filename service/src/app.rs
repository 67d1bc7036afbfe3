//! Wires the layers, and owns the order of start and stop.

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc};

use serde::Serialize;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    config::{Config, ConfigError, Database},
    embedded_db::{Condition, EmbeddedDb, EmbeddedDbError, EmbeddedDbOptions},
    ready_file,
    repository::{RepositoryError, mysql::MySqlStorage},
    router::{grpc, rest},
    shutdown::Shutdown,
    supervisor::{Supervisor, TaskFailure},
    usecase::{
        clock::Clock,
        ingest::{Figures, Ingest},
        manage::{Manage, Stores, partitions::PartitionManager},
        readiness::Readiness,
    },
};

/// Why the service did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{0}")]
    Config(#[from] ConfigError),
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
    #[error("cannot write {path} (--ready-file): {reason}")]
    ReadyFile {
        path: String,
        reason: std::io::Error,
    },
    #[error("{0}")]
    Task(#[from] TaskFailure),
    #[error("ended with {readings} readings not committed; their producers still hold them")]
    NotDrained { readings: u64 },
}

/// Sockets that are bound before anything else, so that a port in use is known at once.
pub struct Listeners {
    pub grpc: TcpListener,
    pub rest: TcpListener,
}

impl Listeners {
    /// Binds both addresses.
    ///
    /// # Errors
    /// When an address is in use or not ours.
    pub async fn bind(config: &Config) -> Result<Self, AppError> {
        let bind = async |flag, addr| {
            TcpListener::bind(addr)
                .await
                .map_err(|reason| AppError::Listen { flag, addr, reason })
        };
        Ok(Self {
            grpc: bind("--grpc-addr", config.grpc_addr).await?,
            rest: bind("--rest-addr", config.rest_addr).await?,
        })
    }
}

/// The database in use. A child is kept running by a task, and stopped with the service.
pub struct RunningDatabase {
    url: String,
    child: Option<KeptChild>,
}

struct KeptChild {
    condition: watch::Receiver<Condition>,
    keeping: JoinHandle<()>,
    stop: CancellationToken,
}

impl RunningDatabase {
    fn remote(url: String) -> Self {
        Self { url, child: None }
    }

    fn embedded(database: EmbeddedDb, tasks: &Supervisor) -> Self {
        let (url, condition) = (database.url(), database.condition());
        let stop = CancellationToken::new();
        let keeping = database.keep_running(stop.clone());
        Self {
            url,
            child: Some(KeptChild {
                condition,
                keeping: tasks.start("embedded database", keeping),
                stop,
            }),
        }
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// How a child is.
    #[must_use]
    pub fn condition(&self) -> Option<watch::Receiver<Condition>> {
        self.child.as_ref().map(|child| child.condition.clone())
    }

    /// Stops a child, and waits until it is gone. Tasks may end by then.
    pub async fn stop(self) {
        if let Some(child) = self.child {
            child.stop.cancel();
            let _ = child.keeping.await;
        }
    }
}

/// Starts the embedded database, if that is what is configured.
///
/// # Errors
/// When no database is configured or the child does not start.
pub async fn start_database(
    config: &Config,
    tasks: &Supervisor,
) -> Result<RunningDatabase, AppError> {
    match config.database.clone() {
        None => Err(ConfigError::NoDatabase.into()),
        Some(Database::Url(url)) => Ok(RunningDatabase::remote(url)),
        Some(Database::Embedded { data_dir, binary }) => {
            let options = EmbeddedDbOptions {
                binary,
                ..EmbeddedDbOptions::new(data_dir)
            };
            let database = EmbeddedDb::start(options).await?;
            Ok(RunningDatabase::embedded(database, tasks))
        }
    }
}

/// Runs the service until it is told to stop. That may come while it still starts.
///
/// # Errors
/// When it cannot start, when a lane cannot go on, or when it cannot drain within the deadline.
pub async fn run(listeners: Listeners, config: Config, shutdown: Shutdown) -> Result<(), AppError> {
    let starting = start_database(&config, &shutdown.tasks);
    let Some(database) = unless_stopped(&shutdown, starting).await? else {
        return Ok(());
    };
    let readiness = Arc::new(Readiness::new(
        shutdown.tasks.clone(),
        shutdown.draining.clone(),
        config.ready.max_lag(),
    ));
    let starting = start(&config, &shutdown, database.url());
    let ended = match unless_stopped(&shutdown, starting).await {
        Ok(Some(started)) => serve(listeners, &config, &shutdown, started, readiness).await,
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

/// What is there before the first call is taken.
struct Started {
    ingest: Arc<Ingest>,
    manage: Arc<Manage>,
    partitions: Option<Arc<PartitionManager>>,
}

async fn start(config: &Config, shutdown: &Shutdown, url: String) -> Result<Started, AppError> {
    let settings = config.database_settings(url);
    if config.migrate {
        for applied in MySqlStorage::migrate(&settings, config.layout).await? {
            info!(applied, "migrated");
        }
    }
    let storage = Arc::new(MySqlStorage::open(&settings).await?);
    let stores = stores(config, &storage);
    let clock = Arc::new(Clock::new(config.time_settings(), storage.clock()));
    clock.look().await?;
    let (watched, draining) = (clock.clone(), shutdown.draining.clone());
    shutdown.tasks.start("clock", async move {
        watched.run(draining).await;
        Ok::<(), Infallible>(())
    });
    let partitions = partition_manager(config, &storage, clock.clone())?;
    if let Some(manager) = &partitions {
        // So that a fresh table has its partitions before the first reading. It says itself what went wrong.
        let _ = manager.pass().await;
    }
    let ingest =
        Arc::new(Ingest::start(config.ingest_settings(), storage, &clock, &shutdown.tasks).await?);
    if let Some(manager) = &partitions {
        let (manager, events) = (manager.clone(), ingest.events().subscribe());
        let draining = shutdown.draining.clone();
        shutdown.tasks.start("partition manager", async move {
            manager.run(events, draining).await;
            Ok::<(), Infallible>(())
        });
    }
    let manage = Arc::new(Manage::new(
        stores,
        config.rest.manage_settings(),
        ingest.clone(),
    ));
    Ok(Started {
        ingest,
        manage,
        partitions,
    })
}

async fn serve(
    listeners: Listeners,
    config: &Config,
    shutdown: &Shutdown,
    started: Started,
    readiness: Arc<Readiness>,
) -> Result<(), AppError> {
    let Started {
        ingest,
        manage,
        partitions,
    } = started;
    readiness.started(ingest.clone());
    let draining = &shutdown.draining;
    let addresses = Addresses::of(&listeners)?;
    let closing = CancellationToken::new();
    let grpc = shutdown.tasks.start("gRPC listener", {
        let (ingest, config, draining) = (ingest.clone(), config.grpc.clone(), draining.clone());
        let readiness = readiness.clone();
        async move { grpc::serve(listeners.grpc, ingest, readiness, &config, draining).await }
    });
    let rest = rest::serve(
        listeners.rest,
        manage,
        ingest.clone(),
        partitions,
        readiness,
        config.rest.clone(),
        draining.clone(),
        closing.clone(),
    );
    let rest = shutdown.tasks.start("REST listener", async move {
        rest.await;
        Ok::<(), Infallible>(())
    });
    info!(grpc = %addresses.grpc_addr, rest = %addresses.rest_addr, instance = config.instance, "ready");
    if let Some(path) = &config.ready_file {
        addresses.write(path)?;
    }

    tokio::select! {
        () = draining.cancelled() => {}
        () = shutdown.tasks.failed().cancelled() => draining.cancel(),
    }
    let stopped = tokio::select! {
        () = stop(&ingest, grpc, rest, closing) => true,
        () = tokio::time::sleep(shutdown.deadline) => false,
        () = shutdown.at_once.cancelled() => false,
    };
    let Figures {
        committed,
        rejected,
        duplicate,
        in_flight,
        ..
    } = ingest.figures();
    if let Some(failure) = shutdown.tasks.failures().into_iter().next() {
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

/// Connections for pages, and for deletes and updates, of which each waits for one for every of its steps.
const PAGE_CONNECTIONS: usize = 6;
const CHANGE_CONNECTIONS: usize = 4;
/// Exports take turns between their pages.
const EXPORT_CONNECTIONS: usize = 4;

fn stores(config: &Config, storage: &MySqlStorage) -> Stores {
    Stores {
        pages: storage.readings(PAGE_CONNECTIONS),
        heavy: storage.readings(config.rest.max_heavy_queries),
        exports: storage.readings(EXPORT_CONNECTIONS),
        changes: storage.readings(CHANGE_CONNECTIONS),
        ledger: storage.ledger_reader(),
    }
}

/// The manager of the table's partitions, unless it has none or they are to be left alone.
fn partition_manager(
    config: &Config,
    storage: &MySqlStorage,
    clock: Arc<Clock>,
) -> Result<Option<Arc<PartitionManager>>, AppError> {
    let Some(settings) = config.partitions.settings() else {
        return Ok(None);
    };
    match storage.partitions() {
        Some(store) => Ok(Some(Arc::new(PartitionManager::new(
            store, clock, settings,
        )))),
        None if settings.retention.is_some() => Err(ConfigError::Value {
            key: "partitions.retention",
            value: config.partitions.retention.to_string(),
            must: "none on the layout seed, which has no partitions to drop",
        }
        .into()),
        None => Ok(None),
    }
}

/// The order of stopping. Both routers see `draining`: gRPC accepts nothing, and REST says that the service is not ready.
/// Then the calls that are open end, with what they brought committed and acknowledged; then nothing is in flight, and
/// REST, which told of all that, closes as the last.
async fn stop(
    ingest: &Ingest,
    grpc: JoinHandle<()>,
    rest: JoinHandle<()>,
    closing: CancellationToken,
) {
    let _ = grpc.await;
    ingest.drained().await;
    closing.cancel();
    let _ = rest.await;
}

/// The addresses in use, for the ready file.
#[derive(Debug, Serialize)]
struct Addresses {
    grpc_addr: SocketAddr,
    rest_addr: SocketAddr,
    pid: u32,
}

impl Addresses {
    fn of(listeners: &Listeners) -> Result<Self, AppError> {
        let local = |flag, listener: &TcpListener| {
            listener.local_addr().map_err(|reason| AppError::Listen {
                flag,
                addr: SocketAddr::from(([0, 0, 0, 0], 0)),
                reason,
            })
        };
        Ok(Self {
            grpc_addr: local("--grpc-addr", &listeners.grpc)?,
            rest_addr: local("--rest-addr", &listeners.rest)?,
            pid: std::process::id(),
        })
    }

    fn write(&self, path: &Path) -> Result<(), AppError> {
        let failed = |reason| AppError::ReadyFile {
            path: path.display().to_string(),
            reason,
        };
        let text = serde_json::to_string(self).map_err(|error| failed(error.into()))?;
        ready_file::write(path, &(text + "\n")).map_err(failed)
    }
}

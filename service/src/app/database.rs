//! The database in use, which may be a child of ours.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::{
    config::{Config, ConfigError, Database},
    embedded_db::{Condition, EmbeddedDb, EmbeddedDbOptions},
    supervisor::Supervisor,
};

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
                // A server that stands still holds the end up for no longer than readings do; InnoDB is used to being
                // killed.
                stop_limit: Duration::from_secs(config.shutdown_deadline_s),
                ..EmbeddedDbOptions::new(data_dir)
            };
            let database = EmbeddedDb::start(options).await?;
            Ok(RunningDatabase::embedded(database, tasks))
        }
    }
}

//! Rollups, where they are set.

use std::{convert::Infallible, sync::Arc};

use tracing::warn;

use super::AppError;
use crate::{
    config::{Config, ConfigError},
    model::rollup::RollupLevels,
    repository::mysql::{MySqlRollups, MySqlStorage},
    shutdown::Shutdown,
    telemetry::metrics::Metrics,
    usecase::{
        ingest::{CommitEvents, Ingest, RollupInbox},
        rollups::{RollupKeeper, RollupMetrics, keep},
    },
};

pub(super) struct Rollups {
    pub(super) store: Arc<MySqlRollups>,
    inbox: Arc<RollupInbox>,
    metrics: RollupMetrics,
}

/// None where there are none. Those that another start had set are given up then, unless that loses anything.
pub(super) async fn of(
    config: &Config,
    storage: &MySqlStorage,
    events: &CommitEvents,
    metrics: &Metrics,
) -> Result<Option<Rollups>, AppError> {
    // Their figures are there whether they are or not.
    let metrics = RollupMetrics::new(metrics);
    let levels = &config.rollups;
    let Some(store) = storage.rollups(levels.clone()) else {
        return match levels.is_empty() {
            true => Ok(None),
            false if storage.facts().moving_from.is_some() => {
                warn!("there are no rollups (rollups) while readings are being moved");
                Ok(None)
            }
            false => Err(ConfigError::Value {
                key: "rollups",
                value: levels.to_string(),
                must: "none, for only the layout series has rollups",
            }
            .into()),
        };
    };
    keep(&store, events.rollups(), &metrics).await?;
    Ok((*levels != RollupLevels::default()).then(|| Rollups {
        store: Arc::new(store),
        inbox: events.rollups().clone(),
        metrics,
    }))
}

impl Rollups {
    /// Keeps them from now on.
    pub(super) fn keep(self, ingest: &Arc<Ingest>, shutdown: &Shutdown) {
        let keeper = RollupKeeper::new(self.store, self.inbox, ingest.clone(), self.metrics);
        let keeping = keeper.run(shutdown.draining.clone());
        shutdown.tasks.start("rollup keeper", async move {
            keeping.await;
            Ok::<(), Infallible>(())
        });
    }
}

//! Copies of the newest readings, where a cache is set: who writes them, who asks for them, and who has them forgotten, each with a
//! connection of its own.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    config::Config,
    repository::{
        cache::{CacheError, CacheSettings, LatestCache},
        mysql::MySqlStorage,
    },
    shutdown::Shutdown,
    telemetry::metrics::Metrics,
    usecase::{
        ingest::Ingest,
        latest::{CacheMetrics, Keeper, LatestReader, keep},
    },
};

/// Longest wait of somebody who asks for readings, or changes some.
const DEADLINE: Duration = Duration::from_millis(50);

pub(super) struct Copies {
    settings: CacheSettings,
    metrics: CacheMetrics,
    pub(super) reader: Arc<LatestReader>,
    pub(super) of_changes: Arc<LatestCache>,
    of_commits: Arc<LatestCache>,
}

/// None where no cache is set, or a copy would not say what the table does.
pub(super) fn of(
    config: &Config,
    storage: &MySqlStorage,
    metrics: &Metrics,
) -> Result<Option<Copies>, CacheError> {
    // Its figures are there whether it is or not.
    let metrics = CacheMetrics::new(metrics);
    let Some(settings) = config.cache.settings() else {
        return Ok(None);
    };
    let Some(place) = storage.place_to_copy() else {
        warn!(
            "the cache is not used (cache.url): it takes a table of a layout of ours with microseconds, and none that is being moved"
        );
        return Ok(None);
    };
    let of_each_type = storage.series().is_some();
    let cache = |deadline| {
        let cache = LatestCache::new(&settings, &place, of_each_type, deadline);
        cache.map(Arc::new)
    };
    let reader = LatestReader::new(
        cache(DEADLINE)?,
        storage.change_counts(),
        settings.max_staleness,
        metrics.clone(),
    );
    Ok(Some(Copies {
        reader: Arc::new(reader),
        of_changes: cache(DEADLINE)?,
        // It keeps nobody waiting.
        of_commits: cache(settings.max_staleness / 2)?,
        settings,
        metrics,
    }))
}

impl Copies {
    /// Keeps copies of what is committed from now on.
    pub(super) fn keep(self, storage: &MySqlStorage, ingest: &Arc<Ingest>, shutdown: &Shutdown) {
        let keeper = Keeper::new(
            self.of_commits,
            ingest.watches().clone(),
            self.settings.max_staleness,
            self.metrics,
        );
        let keeping = keep(
            keeper,
            storage.marks().clone(),
            ingest.clone(),
            shutdown.draining.clone(),
        );
        shutdown.tasks.start("cache keeper", async move {
            keeping.await;
            Ok::<(), Infallible>(())
        });
    }
}

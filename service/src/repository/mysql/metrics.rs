//! What storage measures as it goes.

use std::time::Duration;

use super::pools::Pools;
use crate::telemetry::metrics::{Counter, Histogram, Metrics, durations};

/// The figures of the connections to the database, and of what is done over those that load.
#[derive(Clone, Debug)]
pub struct StorageMetrics {
    load: Histogram,
    commit: Histogram,
    connected: Counter,
    not_connected: Counter,
    pools: Pools,
}

impl StorageMetrics {
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let pools = Pools::default();
        metrics.ask(pools.clone());
        Self {
            load: metrics.register_seconds(
                "load",
                "How long the LOAD statements of a batch take in one attempt that ends well",
                durations(),
            ),
            commit: metrics.register_seconds(
                "commit",
                "From the last LOAD of a batch to the answer to its COMMIT",
                durations(),
            ),
            connected: metrics.register(
                "database_connections_opened",
                "Connections that were opened outside of the pools",
                Counter::default(),
            ),
            not_connected: metrics.register(
                "database_connections_failed",
                "Attempts to open one that failed",
                Counter::default(),
            ),
            pools,
        }
    }

    pub(super) fn pools(&self) -> &Pools {
        &self.pools
    }

    pub(super) fn loaded(&self, took: Duration) {
        self.load.observe(took.as_secs_f64());
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    pub(super) fn connected(&self, well: bool) {
        match well {
            true => self.connected.inc(),
            false => self.not_connected.inc(),
        };
    }
}

impl Default for StorageMetrics {
    /// Nobody asks for them.
    fn default() -> Self {
        Self::new(&Metrics::default())
    }
}

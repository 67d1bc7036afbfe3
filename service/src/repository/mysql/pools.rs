//! The pools of connections, as those see them who ask for figures.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use mysql_async::Pool;

use crate::telemetry::metrics::{Answer, Collector, DescriptorEncoder};

/// A pool under its name.
struct Named {
    name: &'static str,
    most: usize,
    counts: Arc<mysql_async::Metrics>,
}

/// All pools that were made, with what their driver counts.
#[derive(Clone, Default)]
pub(super) struct Pools(Arc<Mutex<Vec<Named>>>);

impl Pools {
    /// Counts a pool from now on, of so many connections at the most.
    pub(super) fn add(&self, name: &'static str, most: usize, pool: &Pool) {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.push(Named {
            name,
            most,
            counts: pool.metrics(),
        });
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pools")
    }
}

impl Collector for Pools {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = Answer(encoder);
        let mut gauges = |name, help, of: fn(&Named) -> usize| {
            let labelled = pools
                .iter()
                .map(|pool| ([("pool", pool.name)], of(pool) as f64));
            answer.gauges(name, help, &labelled.collect::<Vec<_>>())
        };
        gauges(
            "database_pool_connections",
            "Connections of each pool, idle ones included",
            |pool| pool.counts.connection_count.load(Ordering::Relaxed),
        )?;
        gauges(
            "database_pool_idle_connections",
            "Connections that nobody uses",
            |pool| pool.counts.connections_in_pool.load(Ordering::Relaxed),
        )?;
        gauges(
            "database_pool_waiting",
            "Questions that wait for a connection of the pool",
            |pool| pool.counts.active_wait_requests.load(Ordering::Relaxed),
        )?;
        gauges(
            "database_pool_limit",
            "Connections that the pool may have",
            |pool| pool.most,
        )
    }
}

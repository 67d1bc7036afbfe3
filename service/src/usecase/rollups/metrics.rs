//! How far the rollups are.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use crate::{repository::RollupStanding, telemetry::metrics::Metrics};

#[derive(Clone, Debug)]
pub struct RollupMetrics {
    merged: Counter,
    lost: Counter,
    remade: Counter,
    lag: Gauge<f64, AtomicU64>,
    waiting: Gauge,
    dirty: Gauge,
}

impl RollupMetrics {
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let own = Self {
            merged: Counter::default(),
            lost: Counter::default(),
            remade: Counter::default(),
            lag: Gauge::default(),
            waiting: Gauge::default(),
            dirty: Gauge::default(),
        };
        metrics.register(
            "rollup_buckets_merged",
            "Shortest buckets that were merged into the rollups from what was committed",
            own.merged.clone(),
        );
        metrics.register(
            "rollup_batches_lost",
            "Batches whose buckets are made anew from readings, because they were not merged",
            own.lost.clone(),
        );
        metrics.register(
            "rollup_rows_read",
            "Readings and shorter buckets that were read to make buckets anew",
            own.remade.clone(),
        );
        metrics.register(
            "rollup_lag_seconds",
            "How long ago the oldest batch was committed that is not in the rollups, of all instances",
            own.lag.clone(),
        );
        metrics.register(
            "rollup_batches_waiting",
            "Batches that are committed and not in the rollups, of all instances",
            own.waiting.clone(),
        );
        metrics.register(
            "rollup_stretches_dirty",
            "Stretches of time whose buckets are to be made anew",
            own.dirty.clone(),
        );
        own
    }

    pub(super) fn merged(&self, buckets: usize) {
        self.merged.inc_by(buckets as u64);
    }

    pub(super) fn lost(&self, batches: u64) {
        self.lost.inc_by(batches);
    }

    pub(super) fn remade(&self, rows: u64) {
        self.remade.inc_by(rows);
    }

    pub(super) fn stands(&self, standing: RollupStanding) {
        self.lag.set(standing.oldest_s);
        self.waiting.set(standing.batches.cast_signed());
        self.dirty.set(standing.dirty.cast_signed());
    }
}

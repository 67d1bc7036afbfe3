//! What the cache brings.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::telemetry::metrics::Metrics;

/// Who answered.
pub(super) const CACHE: &str = "cache";
pub(super) const DATABASE: &str = "database";

#[derive(Clone, Debug)]
pub struct CacheMetrics {
    answers: Family<[(&'static str, &'static str); 1], Counter>,
    failures: Counter,
    forgotten: Counter,
    wanted: Gauge,
}

impl CacheMetrics {
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let own = Self {
            answers: Family::default(),
            failures: Counter::default(),
            forgotten: Counter::default(),
            wanted: Gauge::default(),
        };
        // There from the start.
        for from in [CACHE, DATABASE] {
            own.answered(from, 0);
        }
        metrics.register(
            "latest_pairs",
            "Pairs whose newest readings were asked for where a cache is set, by where they came from",
            own.answers.clone(),
        );
        metrics.register(
            "cache_failures",
            "Calls of the cache that failed or were late",
            own.failures.clone(),
        );
        metrics.register(
            "cache_forgotten",
            "How often this instance had everything forgotten that is in the cache",
            own.forgotten.clone(),
        );
        metrics.register(
            "cache_wanted_pairs",
            "Pairs of which this instance keeps the newest readings in the cache",
            own.wanted.clone(),
        );
        own
    }

    pub(super) fn answered(&self, from: &'static str, pairs: usize) {
        self.answers
            .get_or_create(&[("from", from)])
            .inc_by(pairs as u64);
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    pub(super) fn forgotten(&self) {
        self.forgotten.inc();
    }

    pub(super) fn wants(&self, pairs: usize) {
        self.wanted.set(i64::try_from(pairs).unwrap_or(i64::MAX));
    }
}

//! What storage measures as it goes.

use std::time::Duration;

use super::pools::Pools;
use crate::{
    model::SeriesBound,
    telemetry::metrics::{
        Counter, EncodeLabelSet, Family, Gauge, Histogram, Metrics, Word, durations,
    },
};

/// The figures of the connections to the database, and of what is done over those that load.
#[derive(Clone, Debug)]
pub struct StorageMetrics {
    load: Histogram,
    commit: Histogram,
    connected: Counter,
    not_connected: Counter,
    pools: Pools,
    series: SeriesMetrics,
}

/// The figures of series.
#[derive(Clone, Debug)]
pub(super) struct SeriesMetrics {
    given: Counter,
    refused: Family<OfSetting, Counter>,
    nameless: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSetting {
    setting: Word,
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
            series: SeriesMetrics::new(metrics),
        }
    }

    pub(super) fn series(&self) -> &SeriesMetrics {
        &self.series
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

impl SeriesMetrics {
    fn new(metrics: &Metrics) -> Self {
        let made = Self {
            given: metrics.register(
                "series_given",
                "New series that got their numbers",
                Counter::default(),
            ),
            refused: metrics.register(
                "series_refused",
                "New series that a bound did not let in, each time that it was asked for",
                Family::default(),
            ),
            nameless: metrics.register(
                "readings_without_series",
                "Stored readings whose series is missing, as they were counted last",
                Gauge::default(),
            ),
        };
        // So that they are there from the beginning.
        for bound in [
            SeriesBound::Max(0),
            SeriesBound::NewPerHour(0),
            SeriesBound::Numbers,
        ] {
            let setting = Word(bound.setting());
            let _ = made.refused.get_or_create(&OfSetting { setting });
        }
        made
    }

    /// So many readings have the number of no series.
    pub(super) fn nameless(&self, readings: u64) {
        self.nameless
            .set(i64::try_from(readings).unwrap_or(i64::MAX));
    }

    pub(super) fn given(&self, count: usize) {
        self.given.inc_by(count as u64);
    }

    pub(super) fn refused(&self, setting: &'static str) {
        let of = OfSetting {
            setting: Word(setting),
        };
        self.refused.get_or_create(&of).inc();
    }
}

#[cfg(test)]
impl Default for SeriesMetrics {
    /// Nobody asks for them.
    fn default() -> Self {
        Self::new(&Metrics::default())
    }
}

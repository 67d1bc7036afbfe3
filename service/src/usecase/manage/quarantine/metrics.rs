//! The figures of the quarantine.

use crate::telemetry::metrics::{Counter, Gauge, Metrics};

/// The figures of the quarantine.
#[derive(Clone, Debug)]
pub struct QuarantineMetrics {
    pub(super) readings: Gauge,
    pub(super) removed: Counter,
    pub(super) replayed: Counter,
    pub(super) dropped: Counter,
}

impl QuarantineMetrics {
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.register(name, help, Counter::default());
        Self {
            readings: metrics.register(
                "quarantine_readings",
                "Readings in quarantine, of all instances, as they were looked at last; from 100,000 at the most so many",
                Gauge::default(),
            ),
            removed: counter(
                "quarantine_removed",
                "Readings that this instance has removed from quarantine, because they were too old or too many",
            ),
            replayed: counter(
                "quarantine_replayed",
                "Rejections that this instance has taken out of quarantine and stored",
            ),
            dropped: counter(
                "quarantine_dropped",
                "Rejections that this instance has removed from quarantine because somebody asked for it",
            ),
        }
    }
}

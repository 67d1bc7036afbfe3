//! What the audit log counts.

use crate::telemetry::metrics::{Counter, Metrics};

/// The figures of the audit log.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    told: Counter,
    failed: Counter,
}

impl AuditMetrics {
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            told: metrics.register(
                "audit_entries",
                "Changes that were told in the audit log",
                Counter::default(),
            ),
            failed: metrics.register(
                "audit_failures",
                "Changes that could not be told there: refused, or told in the log alone",
                Counter::default(),
            ),
        }
    }

    pub(super) fn tell(&self) {
        self.told.inc();
    }

    pub(super) fn fail(&self) {
        self.failed.inc();
    }
}

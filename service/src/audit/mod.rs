//! The audit log: who changed what, how many rows, from where. A line of JSON for each change, written when it has ended.

mod entry;
mod file;
mod metrics;

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use serde_json::Value;

use self::{entry::Entry, file::Target};
pub use self::{
    entry::{Action, Actor, Outcome},
    file::{AuditError, AuditTarget},
    metrics::AuditMetrics,
};

/// Where changes are told.
#[derive(Debug)]
pub struct AuditLog {
    target: Target,
    metrics: AuditMetrics,
}

impl AuditLog {
    /// Opens it.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn open(target: AuditTarget, metrics: AuditMetrics) -> Result<Self, AuditError> {
        Ok(Self {
            target: Target::open(target)?,
            metrics,
        })
    }

    /// Begins a change, which has to be settled: what is dropped before is told as one that was left in the middle.
    ///
    /// # Errors
    /// When the file cannot be written to: then nothing may be changed.
    pub fn begin(
        self: &Arc<Self>,
        actor: Actor,
        action: Action,
        what: Value,
    ) -> Result<Pending, AuditError> {
        self.target.make_ready().inspect_err(|error| {
            self.metrics.fail();
            tracing::error!(%error, "a change is refused, for it could not be told in the audit log");
        })?;
        Ok(Pending(Some(Begun {
            log: self.clone(),
            actor,
            action,
            what,
        })))
    }

    fn write(&self, entry: &Entry<'_>) {
        let mut line = serde_json::to_vec(entry).unwrap_or_default();
        line.push(b'\n');
        match self.target.write(&line) {
            Ok(()) => self.metrics.tell(),
            Err(error) => {
                self.metrics.fail();
                let (action, outcome) = (entry.action.name(), entry.outcome.name());
                tracing::error!(
                    %error,
                    action,
                    outcome,
                    principal = entry.actor.principal,
                    rows = entry.rows,
                    request_id = entry.actor.request_id,
                    "a change cannot be told in the audit log, and is told here alone"
                );
            }
        }
    }
}

/// A change that has begun.
#[derive(Debug)]
pub struct Pending(Option<Begun>);

#[derive(Debug)]
struct Begun {
    log: Arc<AuditLog>,
    actor: Actor,
    action: Action,
    what: Value,
}

impl Pending {
    /// Where there is no audit log.
    #[must_use]
    pub fn untold() -> Self {
        Self(None)
    }

    /// Tells how it ended, and how many rows it took.
    pub fn settle(mut self, outcome: Outcome, rows: Option<u64>) {
        self.tell(outcome, rows);
    }

    fn tell(&mut self, outcome: Outcome, rows: Option<u64>) {
        let Some(begun) = self.0.take() else { return };
        begun.log.write(&Entry {
            time: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            actor: &begun.actor,
            action: begun.action,
            what: &begun.what,
            rows,
            outcome,
        });
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.tell(Outcome::Abandoned, None);
    }
}

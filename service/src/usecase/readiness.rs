//! Whether the service takes readings now, and if not, why: `/readyz` and the health of gRPC say the same, because both
//! ask here (P7).

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::ingest::Ingest;
use crate::supervisor::{Supervisor, TaskFailure};

/// How the service stands at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Whether readings flow: there is nothing in `reasons`.
    pub ready: bool,
    /// Why the service is not ready, a sentence each.
    pub reasons: Vec<String>,
    /// Whether the database answers.
    pub database: bool,
    /// Whether the service is on its way down.
    pub draining: bool,
    /// Long-lived tasks that are gone.
    pub failures: Vec<TaskFailure>,
}

/// Knows how the service stands, from its start on.
pub struct Readiness {
    /// None while the service starts.
    ingest: OnceLock<Arc<Ingest>>,
    /// What the start is waiting for.
    awaited: Mutex<String>,
    tasks: Supervisor,
    draining: CancellationToken,
    max_lag: Duration,
}

impl Readiness {
    /// Not ready before [`Readiness::started`]. `max_lag` is how long a reading may wait for its commit.
    #[must_use]
    pub fn new(tasks: Supervisor, draining: CancellationToken, max_lag: Duration) -> Self {
        Self {
            ingest: OnceLock::new(),
            awaited: Mutex::new("the service starts".to_owned()),
            tasks,
            draining,
            max_lag,
        }
    }

    /// Says what the start is waiting for.
    pub fn awaits(&self, what: String) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// From now on ingestion decides.
    pub fn started(&self, ingest: Arc<Ingest>) {
        // There is one start.
        let _ = self.ingest.set(ingest);
    }

    /// Looks at everything that keeps readings from flowing.
    pub async fn look(&self) -> Standing {
        let mut reasons = Vec::new();
        let draining = self.draining.is_cancelled();
        if draining {
            reasons.push("the service is shutting down".to_owned());
        }
        let failures = self.tasks.failures();
        reasons.extend(failures.iter().map(ToString::to_string));
        let database = match self.ingest.get() {
            None => {
                let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
                reasons.push(awaited.clone());
                false
            }
            Some(ingest) => self.look_at(ingest, &mut reasons).await,
        };
        Standing {
            ready: reasons.is_empty(),
            reasons,
            database,
            draining,
            failures,
        }
    }

    /// Whether the database answers.
    async fn look_at(&self, ingest: &Ingest, reasons: &mut Vec<String>) -> bool {
        let answer = ingest.ask_database().await;
        if let Err(reason) = &answer {
            reasons.push(reason.to_string());
        }
        for (lane, lag) in ingest.lags().into_iter().enumerate() {
            if lag > self.max_lag {
                reasons.push(format!(
                    "lane {lane} has not committed its oldest reading for {} s, and ready.max_lag is {} s",
                    lag.as_secs(),
                    self.max_lag.as_secs()
                ));
            }
        }
        answer.is_ok()
    }
}

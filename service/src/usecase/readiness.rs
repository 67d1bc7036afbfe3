//! Whether the service takes readings now, and if not, why: `/readyz` and the health of gRPC say the same, because both
//! ask here (P7).

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    UseCases,
    ingest::{Ingest, LaneActivity, LaneState},
};
use crate::{
    repository::{Awaited, Refusal},
    supervisor::{Supervisor, TaskFailure},
};

/// A deadlock or a failover is over sooner; what lasts longer has to be looked at.
const RETRY_GRACE: Duration = Duration::from_secs(5);

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
    /// Empty while the service starts.
    started: Arc<OnceLock<UseCases>>,
    /// What the start is waiting for.
    awaited: Mutex<Awaited>,
    /// Others who know why readings do not flow.
    others: Mutex<Vec<Other>>,
    tasks: Supervisor,
    draining: CancellationToken,
    max_lag: Duration,
    last: Mutex<Option<Standing>>,
}

/// Says why readings do not flow, if it knows.
type Other = Box<dyn Fn() -> Option<String> + Send + Sync>;

impl Readiness {
    /// Not ready before `started` is filled. `max_lag` is how long a reading may wait for its commit.
    #[must_use]
    pub fn new(
        started: Arc<OnceLock<UseCases>>,
        tasks: Supervisor,
        draining: CancellationToken,
        max_lag: Duration,
    ) -> Self {
        Self {
            started,
            awaited: Mutex::new(Awaited::Own("the service starts".to_owned())),
            others: Mutex::default(),
            tasks,
            draining,
            max_lag,
            last: Mutex::default(),
        }
    }

    /// What the last look saw, if there was one.
    #[must_use]
    pub fn last(&self) -> Option<Standing> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// From now on asks somebody else too.
    pub fn also_asks(&self, other: impl Fn() -> Option<String> + Send + Sync + 'static) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.push(Box::new(other));
    }

    /// Says what the start is waiting for.
    pub fn awaits(&self, what: Awaited) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// Whether the start is over, or can only wait for somebody else, such as a database that is away.
    #[must_use]
    pub fn has_done_its_part(&self) -> bool {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        self.started.get().is_some() || matches!(*awaited, Awaited::Others(_))
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
        {
            let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            reasons.extend(others.iter().filter_map(|other| other()));
        }
        let database = match self.started.get() {
            None => {
                let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
                let (Awaited::Own(what) | Awaited::Others(what)) = &*awaited;
                reasons.push(what.clone());
                false
            }
            Some(started) => self.look_at(&started.ingest, &mut reasons).await,
        };
        let standing = Standing {
            ready: reasons.is_empty(),
            reasons,
            database,
            draining,
            failures,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(standing.clone());
        standing
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
        let trouble = |state: &LaneState| trouble(state, self.max_lag);
        reasons.extend(ingest.lanes().iter().filter_map(trouble));
        answer.is_ok()
    }
}

/// What keeps a lane from committing, unless that passes by itself in a moment.
fn trouble(state: &LaneState, max_lag: Duration) -> Option<String> {
    let (kind, lane) = match state.is_slow {
        true => ("slow lane", state.lane),
        false => ("lane", state.lane),
    };
    match &state.activity {
        // How long readings wait in the others, their lag tells.
        LaneActivity::Loading { since } if state.is_slow && since.elapsed() > max_lag => {
            Some(format!(
                "{kind} {lane} has been loading its batch for {} s, and ready.max_lag is {} s",
                since.elapsed().as_secs(),
                max_lag.as_secs()
            ))
        }
        LaneActivity::Retrying {
            since,
            refusal,
            reason,
            ..
        } if *refusal == Refusal::OfTheTable || since.elapsed() >= RETRY_GRACE => Some(format!(
            "{kind} {lane} has tried for {} s to load its batch: {reason}",
            since.elapsed().as_secs()
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(30);

    fn state(is_slow: bool, activity: LaneActivity) -> LaneState {
        LaneState {
            lane: 1,
            is_slow,
            activity,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_lane_that_stands_still_is_told_as_well() {
        let loading = state(
            true,
            LaneActivity::Loading {
                since: Instant::now(),
            },
        );
        assert_eq!(trouble(&loading, MAX_LAG), None);
        advance(MAX_LAG + Duration::from_secs(1)).await;
        let told = trouble(&loading, MAX_LAG);
        assert_eq!(
            told.as_deref(),
            Some("slow lane 1 has been loading its batch for 31 s, and ready.max_lag is 30 s")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_tries_again_is_told_at_once_where_somebody_has_to_mend_the_table() {
        let retrying = |refusal| {
            state(
                false,
                LaneActivity::Retrying {
                    since: Instant::now(),
                    attempt: 1,
                    refusal,
                    reason: "why".to_owned(),
                },
            )
        };
        let (of_the_table, passing) = (retrying(Refusal::OfTheTable), retrying(Refusal::Passing));
        let told = trouble(&of_the_table, MAX_LAG);
        assert_eq!(
            told.as_deref(),
            Some("lane 1 has tried for 0 s to load its batch: why")
        );
        assert_eq!(trouble(&passing, MAX_LAG), None);
        advance(RETRY_GRACE).await;
        assert!(trouble(&passing, MAX_LAG).is_some());
    }
}

//! The places for open calls, over all connections.

use std::sync::Arc;

use sluicegate_transport::Complaint;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::status;

/// Whoever asks for the health is answered when all places are taken as well; but what has no bound is none.
const HEALTH_CHECKS: usize = 64;
/// These stay open, and must not keep the others from asking.
const HEALTH_WATCHES: usize = 64;

pub(super) struct Places {
    all: Arc<Semaphore>,
    health_checks: Arc<Semaphore>,
    health_watches: Arc<Semaphore>,
    /// Of all, for those who watch readings.
    watchers: Arc<Semaphore>,
    max_open: usize,
    turned_away: Complaint,
}

/// Half of them: watchers do not end by themselves, and must not keep out those who bring readings.
fn most_watchers(max_open: usize) -> usize {
    (max_open / 2).max(1)
}

impl Places {
    pub(super) fn new(max_open: usize) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            all: places(max_open),
            health_checks: places(HEALTH_CHECKS),
            health_watches: places(HEALTH_WATCHES),
            watchers: places(most_watchers(max_open)),
            max_open,
            turned_away: Complaint::default(),
        }
    }

    /// A place for the call at this path, or what it is answered.
    pub(super) fn take(&self, path: &str) -> Result<OwnedSemaphorePermit, Status> {
        let reserved = match path {
            "/grpc.health.v1.Health/Check" => Some(&self.health_checks),
            "/grpc.health.v1.Health/Watch" => Some(&self.health_watches),
            _ => None,
        };
        [Some(&self.all), reserved]
            .into_iter()
            .flatten()
            .find_map(|places| places.clone().try_acquire_owned().ok())
            .ok_or_else(|| self.none_left())
    }

    /// One of the places that those may have who watch readings, or what the call is answered.
    pub(super) fn watch(&self) -> Result<OwnedSemaphorePermit, Status> {
        let watchers = self.watchers.clone().try_acquire_owned();
        watchers.map_err(|_| status::too_many_watchers(most_watchers(self.max_open)))
    }

    fn none_left(&self) -> Status {
        if self.turned_away.is_due() {
            tracing::warn!(
                max_open_calls = self.max_open,
                "a call is turned away: grpc.max_open_calls are open"
            );
        }
        status::too_many_calls(self.max_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn health_has_a_few_places_of_its_own_when_all_are_taken() {
        let places = Places::new(2);
        let take = |path| -> Vec<_> { std::iter::from_fn(|| places.take(path).ok()).collect() };
        let calls = take("/sluicegate.v1.SensorService/StreamReadings");
        assert_eq!(calls.len(), 2);
        let watches = take("/grpc.health.v1.Health/Watch");
        assert_eq!(watches.len(), HEALTH_WATCHES);
        let checks = take("/grpc.health.v1.Health/Check");
        assert_eq!(checks.len(), HEALTH_CHECKS);
        let watcher = places.watch().unwrap();
        let refused = places.watch().unwrap_err();
        assert!(refused.message().starts_with("1 calls watch"));
        drop(watcher);
        assert!(places.watch().is_ok());
        drop(calls);
        assert!(places.take("/grpc.health.v1.Health/Check").is_ok());
    }
}

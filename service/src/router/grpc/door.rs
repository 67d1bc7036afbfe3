//! The places for connections, and who gets one when all are taken.

use std::{sync::Arc, time::Duration};

use sluicegate_transport::{Activity, Complaint, Crowd, IdleConnections};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    metrics::{self, GrpcMetrics, OpenConnection},
    windows::{Window, Windows},
};
use crate::config::GrpcConfig;

/// New connections that wait for others to leave. Nothing of theirs is read yet.
const MAX_WAITING: usize = 64;
/// How long they do; a connection that is told to leave is gone sooner.
const WAIT_DEADLINE: Duration = Duration::from_secs(3);

pub(super) struct Door {
    windows: Windows,
    idle: IdleConnections,
    waiting: Arc<Semaphore>,
    max_connections: usize,
    turned_away: Complaint,
    crowded: Complaint,
    made_place: Complaint,
    metrics: GrpcMetrics,
}

/// A connection that is let in.
pub(super) struct Entry {
    place: Place,
    idle: IdleConnections,
    metrics: GrpcMetrics,
}

enum Place {
    Free(Window),
    /// Another one was told to leave.
    Soon(Windows, OwnedSemaphorePermit),
}

/// A connection that has its place.
pub(super) struct Seat {
    pub(super) window: Window,
    pub(super) activity: Arc<Activity>,
    _open: OpenConnection,
}

impl Door {
    pub(super) fn new(config: &GrpcConfig, metrics: GrpcMetrics) -> Self {
        Self {
            windows: Windows::new(config.max_connections, config.window_bytes),
            idle: IdleConnections::default(),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            max_connections: config.max_connections,
            turned_away: Complaint::default(),
            crowded: Complaint::default(),
            made_place: Complaint::default(),
            metrics,
        }
    }

    /// None when there is no place, and none will be soon.
    pub(super) fn enter(&self) -> Option<Entry> {
        let place = self.windows.open().map(Place::Free);
        let place = place.or_else(|| self.make_place());
        if place.is_none() {
            self.metrics.turn_away(metrics::CONNECTION);
        }
        if place.is_none() && self.turned_away.is_due() {
            tracing::warn!(
                max_connections = self.max_connections,
                "a connection is turned away: grpc.max_connections are open, and none has been idle for long"
            );
        }
        Some(Entry {
            place: place?,
            idle: self.idle.clone(),
            metrics: self.metrics.clone(),
        })
    }

    /// A connection was closed because of where it comes from.
    pub(super) fn keep_out(&self, Crowd(address): Crowd) {
        self.metrics.turn_away(metrics::CONNECTION_OF_CROWD);
        if self.crowded.is_due() {
            tracing::warn!(
                %address,
                "a connection is turned away: its address has grpc.max_connections_per_address already"
            );
        }
    }

    fn make_place(&self) -> Option<Place> {
        let waiting = self.waiting.clone().try_acquire_owned().ok()?;
        if !self.idle.make_place() {
            return None;
        }
        self.metrics.turn_away(metrics::IDLE_CONNECTION);
        if self.made_place.is_due() {
            tracing::warn!(
                max_connections = self.max_connections,
                "a connection without a call is closed to make place for a new one: grpc.max_connections are open"
            );
        }
        Some(Place::Soon(self.windows.clone(), waiting))
    }
}

impl Entry {
    /// Waits for the place, if another one has to leave first. None when that one does not.
    pub(super) async fn seat(self) -> Option<Seat> {
        let window = match self.place {
            Place::Free(window) => window,
            Place::Soon(windows, _waiting) => {
                let freed = tokio::time::timeout(WAIT_DEADLINE, windows.freed()).await;
                freed.ok().flatten()?
            }
        };
        Some(Seat {
            window,
            activity: self.idle.connection(),
            _open: self.metrics.connection(),
        })
    }
}

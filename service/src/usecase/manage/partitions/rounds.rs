//! When the manager looks: at each interval, and early when many readings arrive where no partition was made for them.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use rand::Rng as _;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{FUTURE_US, PartitionManager, lock, plan};
use crate::usecase::ingest::CommitEvent;

/// Longest pause between passes when the table cannot be altered, in intervals.
const BACKOFF_MAX: u32 = 6;
/// Between passes that are made because readings arrive where no partition is.
const EARLY_PAUSE: Duration = Duration::from_secs(1);
/// Between two questions whether such a pass is due.
const CHECK_PAUSE: Duration = Duration::from_millis(100);

impl PartitionManager {
    /// Makes a pass at each interval until `draining`, and soon after many readings begin to arrive where no partition
    /// was made for them: a backlog, or a jump in time. While they are not too many, to make room for the others is cheap.
    pub async fn run(
        self: Arc<Self>,
        mut events: Receiver<Arc<CommitEvent>>,
        draining: CancellationToken,
    ) {
        let mut early_from = Instant::now();
        loop {
            let failures = lock(&self.gauge).failures;
            let intervals = 2_u32.saturating_pow(failures).min(BACKOFF_MAX);
            // Instances that started together do not stay together.
            let jitter = rand::rng().random_range(0.9..1.1);
            let pause = (self.settings.interval * intervals).mul_f64(jitter);
            let pass = async {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.surprise(&mut events, early_from) => {}
                }
                // It keeps its failure for the next one and for the figures.
                let _ = self.pass().await;
                self.see_to_places();
            };
            // A pass that is cut short does no harm: the database ends the statement, or has not begun it.
            tokio::select! {
                () = draining.cancelled() => return,
                () = pass => early_from = Instant::now() + EARLY_PAUSE,
            }
        }
    }

    /// Listens until many readings arrive in a place that is not prepared. Never ends when the last pass failed: the table
    /// is busy.
    async fn surprise(&self, events: &mut Receiver<Arc<CommitEvent>>, mut from: Instant) {
        let mut heard = false;
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => {
                        self.hear(&event);
                        heard = true;
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                () = tokio::time::sleep_until(from), if heard => {
                    if lock(&self.gauge).failures == 0 && self.is_surprised() {
                        return;
                    }
                    heard = false;
                    from = Instant::now() + CHECK_PAUSE;
                }
            }
        }
    }

    fn hear(&self, event: &CommitEvent) {
        let now = Instant::now();
        let mut gauge = lock(&self.gauge);
        match event {
            // Before it is loaded: a table is altered in no time while its readings wait, and in seconds once they are in it.
            CommitEvent::Sealed(batch) => gauge.volumes.take(batch, now),
            CommitEvent::Committed(_) => {}
            CommitEvent::Changed(_) => return,
        }
        gauge.live_at = Some(now);
    }

    fn is_surprised(&self) -> bool {
        if !self.may_alter() {
            return false;
        }
        let gauge = lock(&self.gauge);
        let end_us = Utc::now().timestamp_micros() + FUTURE_US;
        let places = gauge.volumes.places();
        places.into_iter().any(|at_us| {
            at_us < end_us
                && plan::is_unprepared(&gauge.partitions, at_us, gauge.width)
                && !gauge
                    .volumes
                    .is_seen_to(plan::bounds_at(&gauge.partitions, at_us))
        })
    }

    /// Places that the last pass left as they are need no early one.
    fn see_to_places(&self) {
        let mut gauge = lock(&self.gauge);
        let places = gauge.volumes.places();
        let bounds = |at_us| plan::bounds_at(&gauge.partitions, at_us);
        let seen = places.into_iter().map(|at_us| (at_us, bounds(at_us)));
        let seen = seen.collect();
        gauge.volumes.see_to(seen, Instant::now());
    }
}

//! When the manager looks: at each interval, and early when readings arrive where no partition was made for them.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use rand::Rng as _;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{FUTURE_US, PartitionManager, lock, plan};

/// Longest pause between passes when the table cannot be altered, in intervals.
const BACKOFF_MAX: u32 = 6;
/// Between passes that are made because readings arrive where no partition is.
const EARLY_PAUSE: Duration = Duration::from_secs(1);

impl PartitionManager {
    /// Makes a pass at each interval until `draining`, and soon after readings begin to arrive where no partition was
    /// made for them: a backlog, or a jump in time. While few are there, to make room for the others is cheap.
    pub async fn run(
        self: Arc<Self>,
        mut place: watch::Receiver<Option<i64>>,
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
                    () = self.surprise(&mut place, early_from) => {}
                }
                lock(&self.gauge).place_us = *place.borrow_and_update();
                // It keeps its failure for the next one and for the figures.
                let _ = self.pass().await;
                let mut gauge = lock(&self.gauge);
                let held = gauge
                    .place_us
                    .map(|at_us| plan::bounds_at(&gauge.partitions, at_us));
                gauge.seen_to = held;
            };
            // A pass that is cut short does no harm: the database ends the statement, or has not begun it.
            tokio::select! {
                () = draining.cancelled() => return,
                () = pass => early_from = Instant::now() + EARLY_PAUSE,
            }
        }
    }

    /// Waits for readings in a place that is not prepared. Never ends when the last pass failed: the table is busy.
    async fn surprise(&self, place: &mut watch::Receiver<Option<i64>>, from: Instant) {
        if lock(&self.gauge).failures == 0 {
            tokio::time::sleep_until(from).await;
            let unprepared =
                place.wait_for(|place| place.is_some_and(|at_us| self.surprises(at_us)));
            if unprepared.await.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }

    fn surprises(&self, at_us: i64) -> bool {
        let gauge = lock(&self.gauge);
        at_us < Utc::now().timestamp_micros() + FUTURE_US
            && plan::is_unprepared(&gauge.partitions, at_us, gauge.width)
            && gauge.seen_to != Some(plan::bounds_at(&gauge.partitions, at_us))
    }
}

//! Makes partitions: decides where, and divides what is there, in tune with ingestion.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    FUTURE_US, Newest, PartitionManager, count, front, lock,
    plan::{self, Front, PARTITIONS_MAX},
    width,
};
use crate::{
    model::TimeSpan,
    repository::{Partition, PartitionChange, RepositoryError, Split, mysql::PartitionPass},
};

/// Where no more of many readings came for so long, partitions for now are not made any more.
const IDLE_US: i64 = TimeSpan::minutes(60).us();
/// How long each attempt to alter waits for transactions that run, seconds. New ones queue behind it, and MariaDB waits
/// twice as long as it is told: once to alter, once to take back what it had begun.
const PATIENCE_S: [u32; 3] = [1, 1, 2];
/// Where a pass was in vain, a reader may hold the table for long: the next one tries once, with one of these in turn.
const SINGLE_PATIENCE_S: [u32; 3] = [1, 2, 3];
/// Between attempts, for the lanes to catch up.
const ATTEMPT_PAUSE_MS: std::ops::Range<u64> = 200..800;

impl PartitionManager {
    /// Makes partitions where many readings arrive.
    pub(super) async fn cover(
        &self,
        pass: &mut PartitionPass,
        partitions: &[Partition],
        newest: Newest,
        width: TimeSpan,
        now_us: i64,
    ) -> Result<(), RepositoryError> {
        let mut known = partitions.to_vec();
        let mut fronts = Vec::new();
        fronts.extend(newest.dense.map(|dense| (dense.at_us, width)));
        fronts.extend(self.at_now(partitions, newest, width, now_us));
        let places = lock(&self.gauge).volumes.places();
        let places = places
            .into_iter()
            .filter(|&at_us| at_us < now_us + FUTURE_US);
        fronts.extend(places.map(|at_us| (at_us, width)));
        fronts.sort_by_key(|&(at_us, _)| at_us);
        for (at_us, width) in fronts {
            let mut front = front(pass, &known, at_us).await?;
            front.ahead = lock(&self.gauge)
                .volumes
                .ahead(at_us, width, Instant::now());
            for split in plan::cover(&known, front, width) {
                known = self.make(pass, &known, split, width, now_us).await?;
            }
        }
        Ok(())
    }

    /// Whether now gets partitions, and how wide: on a fresh table, so that there are some before the first reading; while
    /// many readings arrive; and for retention, which drops no less than a partition.
    fn at_now(
        &self,
        partitions: &[Partition],
        newest: Newest,
        width: TimeSpan,
        now_us: i64,
    ) -> Option<(i64, TimeSpan)> {
        let live = |dense: Front| dense.at_us >= now_us - IDLE_US;
        if partitions.len() == 1 || newest.dense.is_some_and(live) {
            return Some((now_us, width));
        }
        let retention = self.settings.retention?;
        let kept = newest.at_us? >= now_us - retention.us();
        kept.then(|| {
            (
                now_us,
                width::within_retention(TimeSpan::DAY, Some(retention)),
            )
        })
    }

    /// Divides one partition, unless that would take too long or make too many.
    async fn make(
        &self,
        pass: &mut PartitionPass,
        known: &[Partition],
        mut split: Split,
        width: TimeSpan,
        now_us: i64,
    ) -> Result<Vec<Partition>, RepositoryError> {
        if known.len() + split.bounds_us.len() > PARTITIONS_MAX {
            return Err(RepositoryError::Setup(format!(
                "there are {} partitions and no more than {PARTITIONS_MAX} are made, so readings go into the catch-all: \
                 set partitions.retention, or a wider partitions.width",
                known.len()
            )));
        }
        let Some(whole) = known.iter().find(|each| each.name == split.name) else {
            return Ok(known.to_vec());
        };
        if !self.may_alter() {
            return Ok(known.to_vec());
        }
        let rows = count(pass, whole).await?;
        if plan::copies_too_much(known, &split.name, rows) {
            debug!(
                partition = split.name,
                rows, "too many readings to divide it"
            );
            return Ok(known.to_vec());
        }
        if whole.upper_us.is_none() {
            self.announce(pass, &mut split, rows, width, now_us).await?;
        }
        let began = Instant::now();
        self.alter(pass, &PartitionChange::Split(split.clone()))
            .await?;
        let left = count(pass, whole).await?;
        info!(
            partition = split.name,
            pieces = split.bounds_us.len(),
            %width,
            rows,
            rows_left = left,
            took_ms = began.elapsed().as_millis() as u64,
            "partitions made"
        );
        if whole.upper_us.is_none() {
            lock(&self.figures).rehomed_rows += rows.saturating_sub(left);
        }
        // The next front may fall into one of the pieces, and needs its name.
        pass.partitions().await
    }

    /// Before the catch-all is divided: says what is going to be moved, and fences off what would be in the way again.
    async fn announce(
        &self,
        pass: &mut PartitionPass,
        split: &mut Split,
        rows: u64,
        width: TimeSpan,
        now_us: i64,
    ) -> Result<(), RepositoryError> {
        if rows == 0 {
            return Ok(());
        }
        info!(
            rows,
            "the catch-all has readings: those that are not of a far future get partitions; ingestion waits meanwhile"
        );
        if rows > plan::COPY_ROWS_MAX
            && let Some(far_us) = pass.oldest_from(Some(now_us + FUTURE_US)).await?
        {
            plan::fence(split, far_us, width);
        }
        Ok(())
    }

    /// Tries to alter the table, with pauses in which the lanes catch up.
    pub(super) async fn alter(
        &self,
        pass: &mut PartitionPass,
        change: &PartitionChange,
    ) -> Result<(), RepositoryError> {
        let failures = lock(&self.gauge).failures as usize;
        let single = SINGLE_PATIENCE_S[failures.saturating_sub(1) % SINGLE_PATIENCE_S.len()];
        let attempts = if failures == 0 {
            PATIENCE_S.as_slice()
        } else {
            &[single]
        };
        let mut ended = Ok(());
        for (attempt, &patience_s) in attempts.iter().enumerate() {
            if attempt > 0 {
                let pause = rand::rng().random_range(ATTEMPT_PAUSE_MS);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            let began = Instant::now();
            ended = pass.alter(change, patience_s).await;
            // In vain or not, ingestion waited for it, if there was any.
            let mut gauge = lock(&self.gauge);
            if gauge.is_live(began) {
                gauge.budget.spend(began.elapsed());
            }
            drop(gauge);
            match &ended {
                Err(RepositoryError::Contention(reason)) => {
                    debug!(reason, patience_s, "the table is busy");
                }
                _ => break,
            }
        }
        ended
    }

    /// Whether the table may be altered now: beside live ingestion, a hundredth of the time.
    pub(super) fn may_alter(&self) -> bool {
        let now = Instant::now();
        let mut gauge = lock(&self.gauge);
        let allowed = gauge.budget.allows(now) || !gauge.is_live(now);
        drop(gauge);
        if !allowed {
            debug!("altering the table has taken its share of the time: the rest waits");
        }
        allowed
    }
}

//! The partition manager: makes partitions before their readings come, gives readings in the catch-all a partition of
//! their own, and drops what has outlived the retention.
//!
//! A pass looks at the table at each interval, and earlier when lanes say that readings arrive where no partition was
//! made for them: once a partition has many readings, to divide it would hold ingestion up for too long.
//!
//! To alter the table takes a lock that waits for the transactions that run, and new ones queue behind it. So an ALTER
//! is rare, mostly on empty partitions, and gives up soon: ingestion must not wait for it.

mod plan;
mod rate;
mod retention;
mod rounds;
mod width;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{SecondsFormat, Utc};
use rand::Rng as _;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{debug, info, warn};

pub use self::{retention::Retention, width::WidthSetting};
use self::{
    plan::{Front, PARTITIONS_MAX},
    rate::RateMeter,
};
use crate::{
    model::TimeSpan,
    repository::{
        Partition, PartitionChange, PartitionPass, PartitionStore, RepositoryError, Split,
    },
};

/// Readings further in the future stay in the catch-all: most such clocks are wrong.
const FUTURE_US: i64 = TimeSpan::DAY.us();
/// After so long without newer readings, partitions for now are made no narrower than [`IDLE_WIDTH`].
const IDLE_US: i64 = TimeSpan::minutes(60).us();
const IDLE_WIDTH: TimeSpan = TimeSpan::minutes(15);
/// How long each attempt to alter waits for transactions that run, seconds. New ones queue behind it, and MariaDB waits
/// twice as long as it is told: once to alter, once to take back what it had begun.
const PATIENCE_S: [u32; 3] = [1, 1, 2];
/// Where a pass was in vain, a reader may hold the table for long: the next one tries once, with one of these in turn.
const SINGLE_PATIENCE_S: [u32; 3] = [1, 2, 3];
/// Between attempts, for the lanes to catch up.
const ATTEMPT_PAUSE_MS: std::ops::Range<u64> = 200..800;
/// Up to here readings in a partition are counted one by one, beyond they are estimated.
const COUNTED_ROWS: u64 = plan::COPY_ROWS_MAX + 1;

/// What the manager does. Defaults and meaning stand with the configuration.
#[derive(Clone, Copy, Debug)]
pub struct PartitionSettings {
    pub width: WidthSetting,
    /// Share of the buffer pool that the newest partition may take.
    pub buffer_pool_share: f64,
    pub retention: Option<TimeSpan>,
    pub interval: Duration,
}

/// What the last pass of this instance found and all of its passes did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionFigures {
    pub partitions: u64,
    /// Partitions after the one that receives.
    pub ahead: u64,
    /// Width of new partitions, seconds.
    pub width_s: u64,
    /// Readings in the catch-all; estimated beyond 500,000.
    pub catch_all_rows: u64,
    /// Readings moved out of the catch-all since start; estimated beyond 500,000.
    pub rehomed_rows: u64,
    /// Partitions dropped by retention since start.
    pub dropped: u64,
    /// Readings in them, counted up to 500,000 in each and estimated beyond.
    pub dropped_rows: u64,
    /// When the last pass of this instance ended well, RFC 3339.
    pub last_pass: Option<String>,
    /// Why the last pass did not end well.
    pub failure: Option<String>,
}

/// What became of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassOutcome {
    Done,
    /// Another instance is at it.
    Skipped,
}

/// Keeps the partitions of one database. Several instances may do so at once.
pub struct PartitionManager {
    store: Arc<dyn PartitionStore>,
    settings: PartitionSettings,
    figures: Mutex<PartitionFigures>,
    gauge: Mutex<Gauge>,
}

/// What a pass remembers for the next one.
struct Gauge {
    meter: RateMeter,
    width: TimeSpan,
    /// As the last pass left them.
    partitions: Vec<Partition>,
    /// Where readings arrive, as the lanes tell.
    place_us: Option<i64>,
    /// Bounds of the partition that held the place after the last pass: to look at it again would change nothing.
    seen_to: Option<plan::Bounds>,
    /// Passes in a row that could not alter the table or reach it.
    failures: u32,
}

impl PartitionManager {
    #[must_use]
    pub fn new(store: Arc<dyn PartitionStore>, settings: PartitionSettings) -> Self {
        let gauge = Gauge {
            meter: RateMeter::default(),
            width: TimeSpan::MINUTE,
            partitions: Vec::new(),
            place_us: None,
            seen_to: None,
            failures: 0,
        };
        Self {
            store,
            settings,
            figures: Mutex::default(),
            gauge: Mutex::new(gauge),
        }
    }

    #[must_use]
    pub fn figures(&self) -> PartitionFigures {
        lock(&self.figures).clone()
    }

    /// Looks once and does what is due. Errors are logged and kept in the figures as well.
    ///
    /// # Errors
    /// When the database does not answer, refuses, or is too busy to be altered; the next pass tries again.
    pub async fn pass(&self) -> Result<PassOutcome, RepositoryError> {
        self.pass_at(Utc::now().timestamp_micros()).await
    }

    /// A pass as if it were `now_us`, microseconds since the Unix epoch.
    ///
    /// # Errors
    /// As for [`PartitionManager::pass`].
    pub async fn pass_at(&self, now_us: i64) -> Result<PassOutcome, RepositoryError> {
        let ended = self.locked_pass(now_us).await;
        let failure = ended.as_ref().err().map(ToString::to_string);
        let mut gauge = lock(&self.gauge);
        gauge.failures = match &failure {
            None => 0,
            Some(reason) => {
                warn!(reason, "the partitions could not be seen to");
                gauge.failures.saturating_add(1)
            }
        };
        lock(&self.figures).failure = failure;
        ended
    }

    async fn locked_pass(&self, now_us: i64) -> Result<PassOutcome, RepositoryError> {
        let Some(mut pass) = self.store.begin().await? else {
            debug!("another instance sees to the partitions");
            return Ok(PassOutcome::Skipped);
        };
        let ended = self.work(pass.as_mut(), now_us).await;
        pass.end().await;
        ended.map(|()| PassOutcome::Done)
    }

    async fn work(&self, pass: &mut dyn PartitionPass, now_us: i64) -> Result<(), RepositoryError> {
        let partitions = pass.partitions().await?;
        let newest = match pass.newest_before(now_us + FUTURE_US).await? {
            Some(at_us) => Some(front(pass, &partitions, at_us).await?),
            None => None,
        };
        let width = self.width(pass, &partitions, newest).await?;
        let made = self.cover(pass, &partitions, newest, width, now_us).await;
        // Retention frees space even when nothing can be made.
        let dropped = self.retain(pass, newest, now_us).await;
        let at_us = newest.map_or(now_us, |newest| newest.at_us);
        self.report(pass, at_us, width).await?;
        made.and(dropped)
    }

    async fn width(
        &self,
        pass: &mut dyn PartitionPass,
        partitions: &[Partition],
        newest: Option<Front>,
    ) -> Result<TimeSpan, RepositoryError> {
        let pool_bytes = pass.buffer_pool_bytes().await?;
        let mut gauge = lock(&self.gauge);
        let rate = newest.and_then(|newest| gauge.meter.observe(partitions, newest));
        let fitting = match self.settings.width {
            WidthSetting::Fixed(width) => width,
            WidthSetting::Auto => width::fitting(
                rate,
                width::bytes_per_row(partitions),
                pool_bytes as f64 * self.settings.buffer_pool_share,
                gauge.width,
            ),
        };
        if fitting != gauge.width {
            let rows_per_s = rate.map(f64::round);
            info!(width = %fitting, before = %gauge.width, rows_per_s, "partitions get another width");
            gauge.width = fitting;
        }
        let width = width::within_limit(fitting, partitions.len());
        if width != fitting {
            warn!(partitions = partitions.len(), limit = PARTITIONS_MAX, asked = %fitting, %width,
                "there are many partitions, so new ones are wider: set partitions.retention or partitions.width");
        }
        Ok(width)
    }

    /// Makes partitions where readings arrive: at the newest reading, at now, and where the lanes say.
    async fn cover(
        &self,
        pass: &mut dyn PartitionPass,
        partitions: &[Partition],
        newest: Option<Front>,
        width: TimeSpan,
        now_us: i64,
    ) -> Result<(), RepositoryError> {
        let mut known = partitions.to_vec();
        let idle = newest.is_none_or(|newest| newest.at_us < now_us - IDLE_US);
        let had_readings = newest.is_some();
        let width_now = match self.settings.width {
            WidthSetting::Auto if idle && had_readings => width.max(IDLE_WIDTH),
            _ => width,
        };
        let mut fronts = vec![(now_us, width_now)];
        fronts.extend(newest.map(|newest| (newest.at_us, width)));
        let place = lock(&self.gauge).place_us;
        let place = place.filter(|&at_us| at_us < now_us + FUTURE_US);
        fronts.extend(place.map(|at_us| (at_us, width)));
        fronts.sort_by_key(|&(at_us, _)| at_us);
        for (at_us, width) in fronts {
            let front = front(pass, &known, at_us).await?;
            for split in plan::cover(&known, front, width) {
                known = self.make(pass, &known, split, width, now_us).await?;
            }
        }
        Ok(())
    }

    /// Divides one partition, unless that would take too long or make too many.
    async fn make(
        &self,
        pass: &mut dyn PartitionPass,
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
        pass: &mut dyn PartitionPass,
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
    async fn alter(
        &self,
        pass: &mut dyn PartitionPass,
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
            ended = pass.alter(change, patience_s).await;
            match &ended {
                Err(RepositoryError::Contention(reason)) => {
                    debug!(reason, patience_s, "the table is busy");
                }
                _ => break,
            }
        }
        ended
    }

    async fn retain(
        &self,
        pass: &mut dyn PartitionPass,
        newest: Option<Front>,
        now_us: i64,
    ) -> Result<(), RepositoryError> {
        let Some(retention) = self.settings.retention else {
            return Ok(());
        };
        let cutoff_us = now_us - retention.us();
        let mut partitions = pass.partitions().await?;
        for old in partitions
            .iter_mut()
            .filter(|each| retention::ends_by(each, cutoff_us))
        {
            // What was divided lately has no estimate yet.
            old.rows = old
                .rows
                .max(pass.count_up_to(&old.name, COUNTED_ROWS).await?);
        }
        let newest_us = newest.map(|newest| newest.at_us);
        for lot in retention::outdated(&partitions, cutoff_us, newest_us) {
            let names: Vec<String> = lot.iter().map(|each| each.name.clone()).collect();
            let rows: u64 = lot.iter().map(|each| each.rows).sum();
            let began = Instant::now();
            self.alter(pass, &PartitionChange::Drop(names.clone()))
                .await?;
            info!(
                partitions = names.len(),
                first = names.first(),
                last = names.last(),
                rows_about = rows,
                %retention,
                took_ms = began.elapsed().as_millis() as u64,
                "partitions dropped"
            );
            let mut figures = lock(&self.figures);
            figures.dropped += names.len() as u64;
            figures.dropped_rows += rows;
        }
        Ok(())
    }

    async fn report(
        &self,
        pass: &mut dyn PartitionPass,
        at_us: i64,
        width: TimeSpan,
    ) -> Result<(), RepositoryError> {
        let partitions = pass.partitions().await?;
        let catch_all_rows = match partitions.last() {
            Some(catch_all) => count(pass, catch_all).await?,
            None => 0,
        };
        // The catch-all is not one that was made ahead.
        let ahead = partitions.len() - 1;
        let ahead = ahead.saturating_sub(plan::holder(&partitions, at_us) + 1);
        let mut figures = lock(&self.figures);
        if catch_all_rows > figures.catch_all_rows {
            let before = figures.catch_all_rows;
            warn!(
                rows = catch_all_rows,
                before, "readings of a far future stay in the catch-all"
            );
        }
        figures.partitions = partitions.len() as u64;
        figures.ahead = ahead as u64;
        figures.width_s = width.seconds();
        figures.catch_all_rows = catch_all_rows;
        figures.last_pass = Some(Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true));
        lock(&self.gauge).partitions = partitions;
        Ok(())
    }
}

async fn front(
    pass: &mut dyn PartitionPass,
    partitions: &[Partition],
    at_us: i64,
) -> Result<Front, RepositoryError> {
    let receiving = plan::holder(partitions, at_us);
    let oldest_us = pass
        .oldest_from(plan::lower_us(partitions, receiving))
        .await?;
    Ok(Front { at_us, oldest_us })
}

/// The readings in a partition: counted as long as that is quick, estimated beyond. Right after a partition was divided
/// the estimate may be nothing, so the count is the least.
async fn count(
    pass: &mut dyn PartitionPass,
    partition: &Partition,
) -> Result<u64, RepositoryError> {
    let counted = pass.count_up_to(&partition.name, COUNTED_ROWS).await?;
    if counted < COUNTED_ROWS {
        return Ok(counted);
    }
    let partitions = pass.partitions().await?;
    let now = partitions.iter().find(|each| each.name == partition.name);
    Ok(now.map_or(counted, |each| each.rows.max(counted)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

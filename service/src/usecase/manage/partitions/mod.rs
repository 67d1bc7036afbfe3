//! The partition manager: makes partitions before their readings come, gives readings in the catch-all a partition of
//! their own, and drops what has outlived the retention.
//!
//! Partitions follow volume: a place in time gets its own when many readings arrive there, and all others lie in wide
//! ones. A pass looks at the table at each interval, and earlier when committed batches tell that many readings arrive
//! where no partition was made for them: once a partition has many readings, to divide it would hold ingestion up for
//! too long.
//!
//! To alter the table takes a lock that waits for the transactions that run, and new ones queue behind it. So an ALTER
//! is rare, mostly on empty partitions, and gives up soon: ingestion must not wait for it. All of them together get a
//! share of the time, a hundredth.

mod budget;
mod making;
mod plan;
mod rate;
mod retention;
mod rounds;
mod volumes;
mod width;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::{
    budget::Budget,
    plan::{Front, PARTITIONS_MAX},
    rate::RateMeter,
    volumes::Volumes,
};
pub use self::{retention::Retention, width::WidthSetting};
use crate::{
    model::TimeSpan,
    repository::{
        Partition, PartitionChange, RepositoryError,
        mysql::{MySqlPartitions, MySqlRollups, PartitionPass},
    },
    usecase::{
        changes::{Extent, ReadingChanges},
        clock::{Clock, Hold, Now},
    },
};

/// Readings further in the future stay in the catch-all: most such clocks are wrong.
const FUTURE_US: i64 = TimeSpan::DAY.us();
/// Ingestion is live for so long after a batch.
const LIVE: Duration = Duration::from_secs(10);
/// A place where many readings arrive has at least so many...
const DENSE_ROWS: u64 = 1_000;
/// ... within so much of their time...
const DENSE_US: i64 = TimeSpan::DAY.us();
/// ... not counting the newest of all: those may be of a clock that is wrong.
const STRAY_ROWS: u64 = 10;
/// Up to here readings in a partition are counted one by one, beyond they are estimated.
const COUNTED_ROWS: u64 = plan::COPY_ROWS_MAX + 1;

/// What the manager does. Defaults and meaning stand with the configuration.
#[derive(Clone, Copy, Debug)]
pub struct PartitionSettings {
    pub width: WidthSetting,
    /// Share of the buffer pool that the newest partition may take.
    pub buffer_pool_share: f64,
    pub retention: Option<TimeSpan>,
    /// Share of the time that altering the table may take beside live ingestion.
    pub alter_share: f64,
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
    /// Why retention drops nothing, if it is to.
    pub retention_waits: Option<String>,
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
    store: Arc<MySqlPartitions>,
    clock: Arc<Clock>,
    settings: PartitionSettings,
    /// Who is told of what retention drops.
    told: Option<Arc<ReadingChanges>>,
    /// Made of what retention drops, before it does.
    rollups: Option<Arc<MySqlRollups>>,
    figures: Mutex<PartitionFigures>,
    gauge: Mutex<Gauge>,
}

/// What a pass remembers for the next one.
struct Gauge {
    meter: RateMeter,
    width: TimeSpan,
    /// As the last pass left them.
    partitions: Vec<Partition>,
    /// Where readings arrive, as committed batches tell.
    volumes: Volumes,
    /// When the last batch was committed, as far as this instance knows.
    live_at: Option<Instant>,
    budget: Budget,
    /// Passes in a row that could not alter the table or reach it.
    failures: u32,
}

impl Gauge {
    /// Whether a batch was committed just before.
    fn is_live(&self, now: Instant) -> bool {
        self.live_at
            .is_some_and(|at| now.saturating_duration_since(at) < LIVE)
    }
}

impl PartitionManager {
    #[must_use]
    pub fn new(
        store: Arc<MySqlPartitions>,
        clock: Arc<Clock>,
        settings: PartitionSettings,
    ) -> Self {
        let gauge = Gauge {
            meter: RateMeter::default(),
            width: TimeSpan::MINUTE,
            partitions: Vec::new(),
            volumes: Volumes::default(),
            live_at: None,
            budget: Budget::full(settings.alter_share, Instant::now()),
            failures: 0,
        };
        Self {
            store,
            clock,
            settings,
            told: None,
            rollups: None,
            figures: Mutex::default(),
            gauge: Mutex::new(gauge),
        }
    }

    /// Tells these of what retention drops.
    #[must_use]
    pub fn telling(self, told: Arc<ReadingChanges>, rollups: Option<Arc<MySqlRollups>>) -> Self {
        Self {
            told: Some(told),
            rollups,
            ..self
        }
    }

    #[must_use]
    pub fn figures(&self) -> PartitionFigures {
        PartitionFigures {
            retention_waits: self.clock.hold().map(|hold| hold.to_string()),
            ..lock(&self.figures).clone()
        }
    }

    /// An operator's word that the clock is right, although it has jumped ahead. The next pass drops what is outdated.
    ///
    /// # Errors
    /// When the database does not answer, or cannot keep it.
    pub async fn confirm_clock(&self) -> Result<Now, RepositoryError> {
        self.clock.confirm().await
    }

    /// Looks once and does what is due. Errors are logged and kept in the figures as well.
    ///
    /// # Errors
    /// When the database does not answer, refuses, or is too busy to be altered; the next pass tries again.
    pub async fn pass(&self) -> Result<PassOutcome, RepositoryError> {
        self.settle(async { self.locked_pass(self.clock.look().await?).await })
            .await
    }

    /// A pass as if all clocks said `now_us`, microseconds since the Unix epoch, and could be believed.
    ///
    /// # Errors
    /// As for [`PartitionManager::pass`].
    pub async fn pass_at(&self, now_us: i64) -> Result<PassOutcome, RepositoryError> {
        self.settle(self.locked_pass(Now::at(now_us))).await
    }

    /// Takes note of how a pass ends.
    async fn settle(
        &self,
        pass: impl Future<Output = Result<PassOutcome, RepositoryError>>,
    ) -> Result<PassOutcome, RepositoryError> {
        let ended = pass.await;
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

    async fn locked_pass(&self, now: Now) -> Result<PassOutcome, RepositoryError> {
        let Some(mut pass) = self.store.begin().await? else {
            debug!("another instance sees to the partitions");
            return Ok(PassOutcome::Skipped);
        };
        let ended = self.work(&mut pass, now).await;
        pass.end().await;
        ended.map(|()| PassOutcome::Done)
    }

    async fn work(&self, pass: &mut PartitionPass, now: Now) -> Result<(), RepositoryError> {
        let now_us = now.now_us;
        let partitions = pass.partitions().await?;
        let newest = newest(pass, &partitions, now_us + FUTURE_US).await?;
        let width = self.width(pass, &partitions, newest.dense).await?;
        let made = self.cover(pass, &partitions, newest, width, now_us).await;
        // Retention frees space even when nothing can be made.
        let dropped = self.retain(pass, now.retention_us).await;
        let at_us = newest.dense.map_or(now_us, |dense| dense.at_us);
        self.report(pass, at_us, width).await?;
        made.and(dropped)
    }

    async fn width(
        &self,
        pass: &mut PartitionPass,
        partitions: &[Partition],
        dense: Option<Front>,
    ) -> Result<TimeSpan, RepositoryError> {
        let pool_bytes = pass.buffer_pool_bytes().await?;
        let mut gauge = lock(&self.gauge);
        let rate = dense.and_then(|dense| gauge.meter.observe(partitions, dense, DENSE_ROWS - 1));
        let fitting = match self.settings.width {
            WidthSetting::Fixed(width) => width::worthwhile(width, rate),
            WidthSetting::Auto => width::fitting(
                rate,
                width::bytes_per_row(partitions),
                pool_bytes as f64 * self.settings.buffer_pool_share,
                gauge.width,
            ),
        };
        let fitting = match self.settings.width {
            WidthSetting::Fixed(width) if width == fitting => width,
            _ => width::within_retention(fitting, self.settings.retention),
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

    async fn retain(
        &self,
        pass: &mut PartitionPass,
        now_us: Result<i64, Hold>,
    ) -> Result<(), RepositoryError> {
        // Why it waits, the clock says.
        let (Some(retention), Ok(now_us)) = (self.settings.retention, now_us) else {
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
        for lot in retention::outdated(&partitions, cutoff_us) {
            if !self.may_alter() {
                return Ok(());
            }
            if !self.rollups_are_made(&lot).await? {
                return Ok(());
            }
            let names: Vec<String> = lot.iter().map(|each| each.name.clone()).collect();
            let rows: u64 = lot.iter().map(|each| each.rows).sum();
            let began = Instant::now();
            let told = match &self.told {
                Some(told) => Some(told.begin(Extent::Outdated).await?),
                None => None,
            };
            let change = PartitionChange::Drop(names.clone());
            let dropped = self.alter(pass, &change).await;
            if let Some(told) = told {
                told.end().await;
            }
            dropped?;
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

    /// Whether what is about to be dropped is in the rollups, as far as there are any.
    async fn rollups_are_made(&self, lot: &[&Partition]) -> Result<bool, RepositoryError> {
        let before_us = lot.iter().filter_map(|each| each.upper_us).max();
        let (Some(rollups), Some(before_us)) = (&self.rollups, before_us) else {
            return Ok(true);
        };
        let are_made = rollups.may_drop(before_us).await?;
        if !are_made {
            info!("retention waits for the rollups of what it is about to drop");
        }
        Ok(are_made)
    }

    async fn report(
        &self,
        pass: &mut PartitionPass,
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

/// The newest readings of the table.
#[derive(Clone, Copy, Debug)]
struct Newest {
    /// Of all.
    at_us: Option<i64>,
    /// Where many arrive.
    dense: Option<Front>,
}

async fn newest(
    pass: &mut PartitionPass,
    partitions: &[Partition],
    end_us: i64,
) -> Result<Newest, RepositoryError> {
    let at_us = pass.newest_before(end_us, 0).await?;
    let dense_us = pass.newest_before(end_us, DENSE_ROWS - 1).await?;
    let stray_us = pass.newest_before(end_us, STRAY_ROWS).await?;
    let dense = match (dense_us, stray_us) {
        (Some(dense_us), Some(stray_us)) if stray_us - dense_us <= DENSE_US => {
            Some(front(pass, partitions, dense_us).await?)
        }
        _ => None,
    };
    Ok(Newest { at_us, dense })
}

async fn front(
    pass: &mut PartitionPass,
    partitions: &[Partition],
    at_us: i64,
) -> Result<Front, RepositoryError> {
    let receiving = plan::holder(partitions, at_us);
    let oldest_us = pass
        .oldest_from(plan::lower_us(partitions, receiving))
        .await?;
    Ok(Front {
        at_us,
        oldest_us,
        ahead: plan::AHEAD,
    })
}

/// The readings in a partition: counted as long as that is quick, estimated beyond. Right after a partition was divided
/// the estimate may be nothing, so the count is the least.
async fn count(pass: &mut PartitionPass, partition: &Partition) -> Result<u64, RepositoryError> {
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

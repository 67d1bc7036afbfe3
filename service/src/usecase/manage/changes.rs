//! Deletes and updates, in small transactions along the key, so that ingestion never waits for long. Dropping the
//! future stops the change between two of them, or behind the one that is under way.

use tokio::time::Instant;

use super::{Manage, QueryError, pace};
use crate::{
    model::{Change, Fault, Limits, Order, Selection},
    repository::{RepositoryError, Stretch, mysql::Outdated},
    usecase::changes::{Extent, ReadingChange},
};

/// Rows of one transaction.
const STRETCH_ROWS: usize = 5_000;
/// How often a transaction that meets others is tried.
const ATTEMPTS: u32 = 10;

/// Why a change did not go to its end.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the change holds neither sensor_value nor sensor_type")]
    Nothing,
    #[error("{0}")]
    Invalid(Fault),
    /// A delete would leave half of a bucket whose readings are gone.
    #[error("{0}")]
    WithinBucket(String),
    #[error("{source}; {done} readings were changed before that")]
    Storage { done: u64, source: RepositoryError },
}

/// What is done to each stretch.
enum Work<'a> {
    Delete,
    Update(&'a Change),
}

impl Manage {
    /// How many readings are selected now.
    ///
    /// # Errors
    /// When the database does not answer, or is busy with other heavy queries.
    pub async fn count(&self, selection: &Selection) -> Result<u64, QueryError> {
        let _turn = self.heavy.take().await?;
        let mut count = 0;
        for leg in 0..selection.legs() {
            count += self.stores.heavy.count(selection, leg).await?;
        }
        Ok(count)
    }

    /// Deletes what is selected and returns how many readings that were.
    ///
    /// # Errors
    /// When the database does not answer; what was deleted before stays deleted.
    pub async fn delete(&self, selection: &Selection) -> Result<u64, ChangeError> {
        self.change(selection, &Work::Delete).await
    }

    /// Checks a change by the same limits as readings that come in.
    ///
    /// # Errors
    /// When the change holds nothing or what the table cannot hold.
    pub fn check(&self, change: &Change) -> Result<(), ChangeError> {
        check(change, self.limits())
    }

    /// Changes what is selected and returns how many readings that were.
    ///
    /// # Errors
    /// When the change is not valid, and when the database does not answer; what was changed before stays changed.
    pub async fn update(&self, selection: &Selection, change: &Change) -> Result<u64, ChangeError> {
        self.check(change)?;
        self.change(selection, &Work::Update(change)).await
    }

    /// What rollups have of readings that a delete would be of, were they still there.
    async fn outdated(
        &self,
        selection: &Selection,
        work: &Work<'_>,
    ) -> Result<Outdated, ChangeError> {
        let (Work::Delete, Some(rollups)) = (work, &self.stores.rollups) else {
            return Ok(Outdated::default());
        };
        let range = selection
            .time
            .map_or(i64::MIN..i64::MAX, |time| time.from_us..time.to_us);
        rollups.outdated(&range).await.map_err(|error| match error {
            RepositoryError::Data(reason) => ChangeError::WithinBucket(reason),
            source => ChangeError::Storage { done: 0, source },
        })
    }

    async fn change(&self, selection: &Selection, work: &Work<'_>) -> Result<u64, ChangeError> {
        let mut done = 0;
        let outdated = self.outdated(selection, work).await?;
        let extent = Extent::Of {
            pairs: selection.pairs.as_deref(),
            time: selection.time,
        };
        let begun = self.stores.told.begin(extent).await;
        let mut told = begun.map_err(|source| ChangeError::Storage { done, source })?;
        let mut walked = Ok(());
        for leg in 0..selection.legs() {
            walked = self
                .walk((selection, leg), work, &mut told, &mut done)
                .await;
            if walked.is_err() {
                break;
            }
        }
        if let (Ok(()), Some(rollups)) = (&walked, &self.stores.rollups) {
            let (pairs, sensor_type) =
                (selection.pairs.as_deref(), selection.sensor_type.as_deref());
            walked = rollups.remove_outdated(&outdated, pairs, sensor_type).await;
        }
        told.end().await;
        match walked {
            Ok(()) => Ok(done),
            Err(source) => Err(ChangeError::Storage { done, source }),
        }
    }

    /// Walks a leg up to what is its last reading now: it ends, whatever comes in and whatever the change selects.
    async fn walk(
        &self,
        (selection, leg): (&Selection, u32),
        work: &Work<'_>,
        told: &mut ReadingChange,
        done: &mut u64,
    ) -> Result<(), RepositoryError> {
        let newest = self
            .stores
            .changes
            .page(selection, leg, Order::Descending, None, 1)
            .await?;
        let Some(last) = newest.first().map(|reading| reading.key()) else {
            return Ok(());
        };
        let mut after = None;
        loop {
            let begun = Instant::now();
            let rest_of_leg = Stretch { after, last };
            let end = self
                .stores
                .changes
                .stretch(selection, leg, rest_of_leg, STRETCH_ROWS)
                .await?;
            let Some(end) = end else {
                return Ok(());
            };
            let stretch = Stretch { after, last: end };
            told.goes_on().await?;
            *done += self.step(selection, leg, stretch, work).await?;
            after = Some(end);
            let readings_come_in = self.ingest.figures().in_flight > 0;
            tokio::time::sleep(pace::rest(begun.elapsed(), readings_come_in)).await;
        }
    }

    /// One transaction. A deadlock rolls it back whole, so it may be tried again.
    async fn step(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
        work: &Work<'_>,
    ) -> Result<u64, RepositoryError> {
        let store = &self.stores.changes;
        let mut attempt = 1;
        loop {
            let changed = match work {
                Work::Delete => store.delete(selection, leg, stretch).await,
                Work::Update(change) => store.update(selection, leg, stretch, change).await,
            };
            match changed {
                Err(RepositoryError::Contention(reason)) if attempt < ATTEMPTS => {
                    tracing::debug!(reason, attempt, "a change met another transaction");
                    tokio::time::sleep(pace::back_off(attempt)).await;
                    attempt += 1;
                }
                settled => return settled,
            }
        }
    }
}

fn check(change: &Change, limits: &Limits) -> Result<(), ChangeError> {
    if change.sensor_value.is_none() && change.sensor_type.is_none() {
        return Err(ChangeError::Nothing);
    }
    let of_value = change
        .sensor_value
        .and_then(|value| Fault::of_measurement(value, limits.timestamp.min_us, limits));
    let of_type = change
        .sensor_type
        .as_deref()
        .and_then(|sensor_type| Fault::of_series("-", sensor_type, limits));
    match of_value.or(of_type) {
        Some(fault) => Err(ChangeError::Invalid(fault)),
        None => Ok(()),
    }
}

//! Lists series, tags them, and removes those that have no readings.

use std::{collections::BTreeSet, time::Instant};

use crate::{
    model::{
        IdPair, Selection, Series, SeriesFilter, SeriesInfo, SeriesPlace, TAGS_MAX, TagChanges,
    },
    repository::{
        RepositoryError,
        mysql::{MySqlSeries, Retagged},
    },
    usecase::manage::{
        ChangeError, Manage, Page, QueryError,
        pace::{back_off, rest},
        turns::{Busy, Turn},
    },
};

/// Series that are tagged in one transaction.
const TAGGED_AT_ONCE: usize = 500;
/// Series that are removed in one transaction, for which ingestion waits: whoever remembers numbers learns them anew after it.
const REMOVED_AT_ONCE: usize = 10_000;
/// Attempts of a transaction that meets others.
const ATTEMPTS: u32 = 10;
/// Series that tags may select for a query over readings.
const SELECTED_MAX: usize = 1_000;

/// Why nothing can be said or done about series.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    #[error("readings bring their names along in this layout")]
    NoSeries,
    #[error("there is no series of this number")]
    NotFound,
    #[error("every series has to be looked at for {field}, and {most} are the most")]
    TooMany { field: &'static str, most: u64 },
    #[error("{0}")]
    Busy(Busy),
    #[error("a series may have {TAGS_MAX} tags")]
    TooManyTags,
    #[error("{0}")]
    Storage(#[from] RepositoryError),
}

/// A series that is to be tagged, by its number or its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaggedSeries {
    Number(u32),
    Names(Series),
}

/// What is to become of the tags of a series.
#[derive(Clone, Debug)]
pub struct Tagging {
    pub series: TaggedSeries,
    pub changes: TagChanges,
}

/// Why one of them was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaggingFault {
    NotFound,
    TooManyTags,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tagged {
    /// How many were done.
    pub done: u64,
    /// The others, by their places, ascending.
    pub faults: Vec<(usize, TaggingFault)>,
}

impl Manage {
    fn series_store(&self) -> Result<&MySqlSeries, SeriesError> {
        self.stores.series.as_deref().ok_or(SeriesError::NoSeries)
    }

    /// Series in an order that follows from the filter, from behind a place.
    ///
    /// # Errors
    /// When there are none in this layout, and when the database does not answer.
    pub async fn list_series(
        &self,
        filter: &SeriesFilter,
        after: Option<&SeriesPlace>,
        limit: usize,
    ) -> Result<Page<SeriesInfo, SeriesPlace>, SeriesError> {
        let _turn = self.turn_for(filter).await?;
        // One more than fits tells whether there is a next page.
        let found = self.series_store()?.list(filter, after, limit + 1).await?;
        Ok(Page::cut(found, limit, SeriesInfo::place))
    }

    /// How many series there are.
    ///
    /// # Errors
    /// As for a list.
    pub async fn count_series(&self, filter: &SeriesFilter) -> Result<u64, SeriesError> {
        let _turn = self.turn_for(filter).await?;
        Ok(self.series_store()?.count(filter).await?)
    }

    /// What no key answers is a heavy query, and has its bound.
    async fn turn_for(&self, filter: &SeriesFilter) -> Result<Option<Turn>, SeriesError> {
        let Some(field) = filter.without_key() else {
            return Ok(None);
        };
        let (highest, most) = (
            self.series_store()?.highest().await?,
            self.settings.max_scanned_rows,
        );
        if u64::from(highest) > most {
            return Err(SeriesError::TooMany { field, most });
        }
        let turn = self.heavy.take().await.map_err(SeriesError::Busy)?;
        Ok(Some(turn))
    }

    /// One series.
    ///
    /// # Errors
    /// When it is not there, and as for a list.
    pub async fn one_series(&self, number: u32) -> Result<SeriesInfo, SeriesError> {
        let found = self.series_store()?.one(number).await?;
        found.ok_or(SeriesError::NotFound)
    }

    /// Changes the tags of a series: those that are named, or, with `instead`, all of them.
    ///
    /// # Errors
    /// When it is not there or would have too many, and as for a list: nothing has changed then.
    pub async fn tag_series(
        &self,
        number: u32,
        changes: TagChanges,
        instead: bool,
    ) -> Result<SeriesInfo, SeriesError> {
        let store = self.series_store()?;
        match tag(store, vec![(number, changes)], instead).await? {
            Retagged::Done { missing } if missing.is_empty() => self.one_series(number).await,
            Retagged::Done { .. } => Err(SeriesError::NotFound),
            Retagged::TooMany(_) => Err(SeriesError::TooManyTags),
        }
    }

    /// Changes the tags of many series. One that is not there, or would have too many, keeps no other from its own.
    ///
    /// # Errors
    /// As for a list; what was done before stays done, and doing it all again changes nothing more.
    pub async fn tag_many(&self, taggings: Vec<Tagging>) -> Result<Tagged, SeriesError> {
        let store = self.series_store()?;
        let mut tagged = Tagged::default();
        let mut place = 0;
        let mut taggings = taggings.into_iter();
        loop {
            let some: Vec<Tagging> = taggings.by_ref().take(TAGGED_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let count = some.len();
            Self::tag_some(store, some, place, &mut tagged).await?;
            place += count;
        }
        tagged.faults.sort_unstable_by_key(|(place, _)| *place);
        Ok(tagged)
    }

    async fn tag_some(
        store: &MySqlSeries,
        taggings: Vec<Tagging>,
        first: usize,
        tagged: &mut Tagged,
    ) -> Result<(), SeriesError> {
        let numbers = numbers(store, &taggings).await?;
        let mut wanted = Vec::<Wanted>::with_capacity(taggings.len());
        for (index, (tagging, number)) in taggings.into_iter().zip(numbers).enumerate() {
            let place = first + index;
            let Some(number) = number else {
                tagged.faults.push((place, TaggingFault::NotFound));
                continue;
            };
            // One after the other, as they came: what comes twice is done before it is done again.
            if wanted.iter().any(|other| other.number == number) {
                Self::tag_each(store, std::mem::take(&mut wanted), tagged).await?;
            }
            wanted.push(Wanted {
                place,
                number,
                changes: tagging.changes,
            });
        }
        Self::tag_each(store, wanted, tagged).await
    }

    /// Of each of them once, in one transaction, without those that it cannot be done for.
    async fn tag_each(
        store: &MySqlSeries,
        mut wanted: Vec<Wanted>,
        tagged: &mut Tagged,
    ) -> Result<(), SeriesError> {
        while !wanted.is_empty() {
            let changes = wanted
                .iter()
                .map(|wanted| (wanted.number, wanted.changes.clone()));
            let beyond = match tag(store, changes.collect(), false).await? {
                Retagged::Done { missing } => {
                    for Wanted { place, number, .. } in wanted {
                        match missing.contains(&number) {
                            true => tagged.faults.push((place, TaggingFault::NotFound)),
                            false => tagged.done += 1,
                        }
                    }
                    break;
                }
                Retagged::TooMany(beyond) => beyond,
            };
            wanted.retain(|wanted| {
                let is_beyond = beyond.contains(&wanted.number);
                if is_beyond {
                    let fault = TaggingFault::TooManyTags;
                    tagged.faults.push((wanted.place, fault));
                }
                !is_beyond
            });
        }
        Ok(())
    }

    /// How many series got their numbers before an instant and have no readings.
    ///
    /// # Errors
    /// As for a list.
    pub async fn count_unused_series(&self, before_us: i64) -> Result<u64, SeriesError> {
        let store = self.series_store()?;
        let (mut count, mut next) = (0, Some(0));
        while let Some(first) = next {
            let looked_at = store.unused(first, before_us).await?;
            count += looked_at.unused.len() as u64;
            next = looked_at.next;
        }
        Ok(count)
    }

    /// Whether there are series in this layout.
    ///
    /// # Errors
    /// When there are none.
    pub fn expect_series(&self) -> Result<(), SeriesError> {
        self.series_store().map(drop)
    }

    /// Removes those, and returns how many; none where there are none in this layout.
    ///
    /// # Errors
    /// When the database does not answer; what was removed before stays removed.
    pub async fn remove_unused_series(&self, before_us: i64) -> Result<u64, ChangeError> {
        let mut done = 0;
        self.remove_unused(before_us, &mut done)
            .await
            .map_err(|source| ChangeError::Storage { done, source })?;
        Ok(done)
    }

    async fn remove_unused(&self, before_us: i64, done: &mut u64) -> Result<(), RepositoryError> {
        let Some(store) = self.stores.series.as_deref() else {
            return Ok(());
        };
        let (mut unused, mut next) = (Vec::new(), Some(0));
        while let Some(first) = next {
            let looked_at = store.unused(first, before_us).await?;
            next = looked_at.next;
            unused.extend(looked_at.unused);
            if unused.is_empty() || (next.is_some() && unused.len() < REMOVED_AT_ONCE) {
                continue;
            }
            let began = Instant::now();
            let mut attempt = 0;
            *done += loop {
                match store.remove(&unused).await {
                    Err(RepositoryError::Contention(_)) if attempt < ATTEMPTS => {
                        attempt += 1;
                        tokio::time::sleep(back_off(attempt)).await;
                    }
                    removed => break removed?,
                }
            };
            unused.clear();
            tokio::time::sleep(rest(began.elapsed(), self.ingest.figures().in_flight > 0)).await;
        }
        Ok(())
    }

    /// The same selection by the pairs of the series that have its tags.
    ///
    /// # Errors
    /// When tags select more series than a query may have, when there are none in this layout, and when the database does not
    /// answer.
    pub async fn resolve_tags(&self, mut selection: Selection) -> Result<Selection, QueryError> {
        if selection.tags.is_empty() {
            return Ok(selection);
        }
        if self.stores.series.is_none() {
            return Err(QueryError::NoSeries);
        }
        if selection.pairs.is_some() {
            return Ok(selection);
        }
        let found = self.tagged_series(&selection).await?;
        let names: BTreeSet<(i32, String)> =
            found.into_iter().map(|one| (one.id1, one.id2)).collect();
        let pairs = names.into_iter().map(|(id1, id2)| IdPair { id1, id2 });
        selection.pairs = Some(pairs.collect());
        Ok(selection)
    }

    /// The series that have the tags of a selection, and its type, whatever its pairs.
    ///
    /// # Errors
    /// When these are more series than a query may have, when there are none in this layout, and when the database does not answer.
    pub async fn tagged_series(&self, selection: &Selection) -> Result<Vec<Series>, QueryError> {
        let Some(store) = &self.stores.series else {
            return Err(QueryError::NoSeries);
        };
        let filter = SeriesFilter {
            sensor_type: selection.sensor_type.clone(),
            tags: selection.tags.clone(),
            ..SeriesFilter::default()
        };
        let found = store.list(&filter, None, SELECTED_MAX + 1).await?;
        if found.len() > SELECTED_MAX {
            return Err(QueryError::TooManySeries { most: SELECTED_MAX });
        }
        Ok(found.into_iter().map(|one| one.series).collect())
    }
}

/// The tags of a series, and from which place they came.
struct Wanted {
    place: usize,
    number: u32,
    changes: TagChanges,
}

/// A transaction that met others is rolled back whole, so it may be tried again.
async fn tag(
    store: &MySqlSeries,
    changes: Vec<(u32, TagChanges)>,
    instead: bool,
) -> Result<Retagged, RepositoryError> {
    let mut attempt = 1;
    loop {
        match store.tag(changes.clone(), instead).await {
            Err(RepositoryError::Contention(_)) if attempt < ATTEMPTS => {
                tokio::time::sleep(back_off(attempt)).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

async fn numbers(
    store: &MySqlSeries,
    taggings: &[Tagging],
) -> Result<Vec<Option<u32>>, RepositoryError> {
    let named = taggings.iter().filter_map(|tagging| match &tagging.series {
        TaggedSeries::Names(series) => Some(series.clone()),
        TaggedSeries::Number(_) => None,
    });
    let named: Vec<Series> = named.collect();
    let mut found = store.numbers(&named).await?.into_iter();
    let numbers = taggings.iter().map(|tagging| match tagging.series {
        TaggedSeries::Number(number) => Some(number),
        TaggedSeries::Names(_) => found.next().flatten(),
    });
    Ok(numbers.collect())
}

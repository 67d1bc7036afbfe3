//! Pages, exports, newest readings, aggregates and the ledger. Each step is one short statement, so whoever
//! reads slowly holds no lock and no snapshot.

use std::sync::Arc;

use futures::Stream;

use super::{Manage, QueryError, turns::Turn};
use crate::{
    model::{
        Bucket, BucketKey, IdPair, Latest, Order, Place, Selection, StoredReading, StreamStanding,
    },
    repository::{AggregateQuery, MadeFrom, RepositoryError, mysql::MySqlReadings},
    usecase::latest::Bypass,
};

/// Rows of one statement of an export.
pub const EXPORT_PAGE_ROWS: usize = 2_000;

/// A page, and where the next one begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, P> {
    pub items: Vec<T>,
    /// None when there is nothing behind this page.
    pub next: Option<P>,
}

/// What the cache had to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// There is none.
    Absent,
    Bypassed(Bypass),
    /// Of so many pairs it had so many.
    Asked {
        kept: usize,
        pairs: usize,
    },
}

impl<T, P> Page<T, P> {
    /// A page of at most `limit` items, from a query for one more than that.
    pub(super) fn cut(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> P) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(place);
        Self { items, next }
    }
}

impl Manage {
    /// Readings of a selection, from a place on: leg by leg, each in order of (timestamp, id). A filtered one is a
    /// heavy query.
    ///
    /// # Errors
    /// When the database does not answer, or is busy with other heavy queries.
    pub async fn page(
        &self,
        selection: &Selection,
        order: Order,
        from: Place,
        limit: usize,
    ) -> Result<Page<StoredReading, Place>, QueryError> {
        let (store, _turn) = match selection.is_filtered() {
            true => (&self.stores.heavy, Some(self.heavy.take().await?)),
            false => (&self.stores.pages, None),
        };
        Ok(page(store.as_ref(), selection, order, from, limit).await?)
    }

    /// All of a selection, or its first `limit` readings, page by page, each read when it is asked for.
    ///
    /// # Errors
    /// When too many exports are under way, and when the database does not answer to the first page; later errors end
    /// the stream.
    pub async fn export(
        self: Arc<Self>,
        selection: Selection,
        order: Order,
        from: Place,
        limit: Option<u64>,
    ) -> Result<
        impl Stream<Item = Result<Vec<StoredReading>, RepositoryError>> + Send + use<>,
        QueryError,
    > {
        let mut export = Export {
            _turn: self.exports.take().await?,
            manage: self,
            selection,
            order,
            left: limit.unwrap_or(u64::MAX),
            next: Some(from),
        };
        let first = export.page().await?;
        let rest = futures::stream::try_unfold(export, |mut export: Export| async move {
            let page = export.page().await?;
            Ok(page.map(|page| (page, export)))
        });
        let first = futures::stream::iter(first.map(Ok));
        Ok(futures::StreamExt::chain(first, rest))
    }

    /// The newest reading of each pair: one of each sensor type, where series are known. Copies of them may be as old as they may be.
    ///
    /// # Errors
    /// When the database has to be asked, and does not answer.
    pub async fn latest(
        &self,
        selection: Selection,
    ) -> Result<(Vec<Latest>, CacheUse), RepositoryError> {
        let Some(reader) = &self.stores.latest else {
            return Ok((self.latest_stored(selection).await?, CacheUse::Absent));
        };
        let is_kept =
            selection.tags.is_empty() && (reader.of_each_type() || selection.sensor_type.is_none());
        let asked = match &selection.pairs {
            Some(pairs) if is_kept => reader.ask(pairs).await,
            _ => Err(Bypass::NotKept),
        };
        let mut asked = match asked {
            Ok(asked) => asked,
            Err(bypass) => {
                let latest = self.latest_stored(selection).await?;
                return Ok((latest, CacheUse::Bypassed(bypass)));
            }
        };
        let pairs = selection.pairs.unwrap_or_default();
        let kept: Vec<Option<Vec<StoredReading>>> = asked.kept().collect();
        let missing = pairs.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let missing: Vec<IdPair> = missing.map(|(pair, _)| pair.clone()).collect();
        let used = CacheUse::Asked {
            kept: pairs.len() - missing.len(),
            pairs: pairs.len(),
        };
        reader.answered(pairs.len() - missing.len(), missing.len());
        let found = match missing.is_empty() {
            true => Vec::new(),
            false => self.stores.pages.latest(&missing, None, &[]).await?,
        };
        reader.fill(&asked, &pairs, &found);
        let mut found = found.into_iter();
        let newest = kept
            .into_iter()
            .map(|kept| kept.unwrap_or_else(|| found.next().unwrap_or_default()));
        let of_type = |mut readings: Vec<StoredReading>| {
            if let Some(sensor_type) = &selection.sensor_type {
                readings.retain(|one| one.reading.series.sensor_type == *sensor_type);
            }
            readings
        };
        let newest = newest.map(of_type).collect();
        Ok((of_pairs(pairs, newest), used))
    }

    /// The same, as it stands in the table.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn latest_stored(
        &self,
        selection: Selection,
    ) -> Result<Vec<Latest>, RepositoryError> {
        let Selection {
            pairs,
            sensor_type,
            tags,
            ..
        } = selection;
        let pairs = pairs.unwrap_or_default();
        let pages = &self.stores.pages;
        let newest = pages.latest(&pairs, sensor_type.as_deref(), &tags).await?;
        Ok(of_pairs(pairs, newest))
    }

    /// Figures per time bucket and series; `query.limit` is that of the page.
    ///
    /// # Errors
    /// When the range has too many buckets or readings, when the database does not answer, or is busy with other heavy
    /// queries.
    pub async fn aggregate(
        &self,
        mut query: AggregateQuery,
    ) -> Result<(Page<Bucket, BucketKey>, MadeFrom), QueryError> {
        let limits = &self.settings;
        let buckets = query.buckets(&self.limits().timestamp);
        if buckets > limits.max_buckets {
            let most = limits.max_buckets;
            return Err(QueryError::TooManyBuckets { buckets, most });
        }
        let limit = query.limit;
        query.limit += 1;
        let _turn = self.heavy.take().await?;
        let expected = self.stores.heavy.expected_rows(&query).await?;
        if expected > limits.max_scanned_rows {
            let most = limits.max_scanned_rows;
            return Err(QueryError::TooManyReadings { expected, most });
        }
        let (buckets, made_from) = self.stores.heavy.aggregate(&query).await?;
        Ok((Page::cut(buckets, limit, Bucket::key), made_from))
    }

    /// Rows of the ledger, in order of their names.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<StreamStanding, String>, RepositoryError> {
        let streams = self.stores.ledger.streams(after, limit + 1).await?;
        Ok(Page::cut(streams, limit, |stream| stream.stream_id.clone()))
    }

    /// The ledger's row of a stream or lane.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stream(&self, stream_id: &str) -> Result<Option<StreamStanding>, RepositoryError> {
        self.stores.ledger.stream(stream_id).await
    }
}

/// One for each reading, and one for each pair without any.
fn of_pairs(pairs: Vec<IdPair>, newest: Vec<Vec<StoredReading>>) -> Vec<Latest> {
    let mut latest = Vec::with_capacity(pairs.len());
    for (pair, readings) in pairs.into_iter().zip(newest) {
        if readings.is_empty() {
            let pair = pair.clone();
            latest.push(Latest {
                pair,
                reading: None,
            });
        }
        latest.extend(readings.into_iter().map(|reading| Latest {
            pair: pair.clone(),
            reading: Some(reading),
        }));
    }
    latest
}

/// An export under way.
struct Export {
    manage: Arc<Manage>,
    selection: Selection,
    order: Order,
    /// Readings that it may still bring.
    left: u64,
    /// None at the end.
    next: Option<Place>,
    _turn: Turn,
}

impl Export {
    async fn page(&mut self) -> Result<Option<Vec<StoredReading>>, RepositoryError> {
        let Some(from) = self.next.take().filter(|_| self.left > 0) else {
            return Ok(None);
        };
        let rows = EXPORT_PAGE_ROWS.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let store = self.manage.stores.exports.as_ref();
        let page = page(store, &self.selection, self.order, from, rows).await?;
        self.left -= page.items.len() as u64;
        self.next = page.next;
        Ok(Some(page.items))
    }
}

async fn page(
    store: &MySqlReadings,
    selection: &Selection,
    order: Order,
    from: Place,
    limit: usize,
) -> Result<Page<StoredReading, Place>, RepositoryError> {
    let mut items = Vec::new();
    let mut place = from;
    while place.leg < selection.legs() {
        // One more than fits tells whether there is a next page.
        let wanted = limit + 1 - items.len();
        let found = store
            .page(selection, place.leg, order, place.key, wanted)
            .await?;
        items.extend(found.into_iter().map(|reading| (place.leg, reading)));
        if items.len() > limit {
            break;
        }
        place = Place {
            leg: place.leg + 1,
            key: None,
        };
    }
    let page = Page::cut(items, limit, |(leg, reading)| Place {
        leg: *leg,
        key: Some(reading.key()),
    });
    Ok(Page {
        items: page.items.into_iter().map(|(_, reading)| reading).collect(),
        next: page.next,
    })
}

//! Pages, exports, newest readings, aggregates, ledger and quarantine. Each step is one short statement, so whoever
//! reads slowly holds no lock and no snapshot.

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Manage;
use crate::{
    model::{
        Bucket, BucketKey, IdPair, Latest, Order, Place, QuarantineKey, QuarantineOf, Quarantined,
        Selection, StoredReading, StreamStanding,
    },
    repository::{AggregateQuery, RepositoryError},
};

/// Rows of one statement of an export.
pub const EXPORT_PAGE_ROWS: usize = 5_000;
/// Pages that an export reads ahead of its client: its memory is this many pages, and two more in hand.
const EXPORT_PAGES_AHEAD: usize = 1;

/// A page, and where the next one begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, P> {
    pub items: Vec<T>,
    /// None when there is nothing behind this page.
    pub next: Option<P>,
}

impl<T, P> Page<T, P> {
    /// A page of at most `limit` items, from a query for one more than that.
    fn cut(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> P) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(place);
        Self { items, next }
    }
}

impl Manage {
    /// Readings of a selection, from a place on: leg by leg, each in order of (timestamp, id).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn page(
        &self,
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
            let found = self
                .store
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

    /// All of a selection, or its first `limit` readings, page by page. Memory stays flat: a task reads one page
    /// ahead, and ends when the stream is dropped.
    ///
    /// # Errors
    /// When the database does not answer to the first page; later errors end the stream.
    pub async fn export(
        self: std::sync::Arc<Self>,
        selection: Selection,
        order: Order,
        from: Place,
        limit: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Vec<StoredReading>, RepositoryError>>, RepositoryError>
    {
        let mut left = limit.unwrap_or(u64::MAX);
        let rows = |left: u64| EXPORT_PAGE_ROWS.min(usize::try_from(left).unwrap_or(usize::MAX));
        let first = self.page(&selection, order, from, rows(left)).await?;
        let (send, receive) = mpsc::channel(EXPORT_PAGES_AHEAD);
        tokio::spawn(async move {
            let mut page = first;
            loop {
                left -= page.items.len() as u64;
                let next = page.next.filter(|_| left > 0);
                if send.send(Ok(page.items)).await.is_err() {
                    return;
                }
                let Some(from) = next else {
                    return;
                };
                page = match self.page(&selection, order, from, rows(left)).await {
                    Ok(page) => page,
                    Err(error) => {
                        let _ = send.send(Err(error)).await;
                        return;
                    }
                };
            }
        });
        Ok(ReceiverStream::new(receive))
    }

    /// The newest reading of each pair.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn latest(
        &self,
        pairs: Vec<IdPair>,
        sensor_type: Option<&str>,
    ) -> Result<Vec<Latest>, RepositoryError> {
        let newest = self.store.latest(&pairs, sensor_type).await?;
        let latest = pairs.into_iter().zip(newest);
        Ok(latest
            .map(|(pair, reading)| Latest { pair, reading })
            .collect())
    }

    /// Figures per time bucket and series; `query.limit` is that of the page.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn aggregate(
        &self,
        mut query: AggregateQuery,
    ) -> Result<Page<Bucket, BucketKey>, RepositoryError> {
        let limit = query.limit;
        query.limit += 1;
        let buckets = self.store.aggregate(&query).await?;
        Ok(Page::cut(buckets, limit, Bucket::key))
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
        let streams = self.ledger.streams(after, limit + 1).await?;
        Ok(Page::cut(streams, limit, |stream| stream.stream_id.clone()))
    }

    /// The ledger's row of a stream or lane.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stream(&self, stream_id: &str) -> Result<Option<StreamStanding>, RepositoryError> {
        self.ledger.stream(stream_id).await
    }

    /// Readings in quarantine.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn quarantine(
        &self,
        of: &QuarantineOf,
        after: Option<QuarantineKey>,
        limit: usize,
    ) -> Result<Page<Quarantined, QuarantineKey>, RepositoryError> {
        let found = self.ledger.quarantine(of, after, limit + 1).await?;
        Ok(Page::cut(found, limit, |reading| QuarantineKey {
            seq: reading.seq.0,
            id: reading.id,
        }))
    }
}

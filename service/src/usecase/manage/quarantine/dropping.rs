//! Removes what somebody does not want any longer, and shows what is there.

use std::sync::Arc;

use futures::Stream;
use tokio::time::Instant;

use super::super::{ChangeError, Manage, Page, QueryError, pace, turns::Turn};
use crate::{
    model::{QuarantineFilter, QuarantineKey, QuarantineStretch, Quarantined},
    repository::RepositoryError,
};

/// Rows of one transaction.
const STEP_ROWS: usize = 2_000;
/// Rows of one statement of an export, each of which may have kilobytes.
const EXPORT_PAGE_ROWS: usize = 500;

impl Manage {
    /// Readings in quarantine.
    ///
    /// # Errors
    /// When the database does not answer, or is busy with other heavy queries.
    pub async fn quarantine(
        &self,
        filter: &QuarantineFilter,
        after: Option<QuarantineKey>,
        limit: usize,
    ) -> Result<Page<Quarantined, QuarantineKey>, QueryError> {
        let _turn = match filter.is_filtered() {
            true => Some(self.heavy.take().await?),
            false => None,
        };
        let ledger = &self.stores.ledger;
        let found = ledger.quarantine(filter, after, limit + 1).await?;
        Ok(Page::cut(found, limit, |reading| QuarantineKey {
            seq: reading.seq.0,
            id: reading.id,
        }))
    }

    /// All that are meant and there now, by their ids, page by page, each read when it is asked for.
    ///
    /// # Errors
    /// When too many exports are under way, and when the database does not answer at first; later errors end the stream.
    pub async fn export_quarantine(
        self: Arc<Self>,
        filter: QuarantineFilter,
    ) -> Result<
        impl Stream<Item = Result<Vec<Quarantined>, RepositoryError>> + Send + use<>,
        QueryError,
    > {
        let turn = self.exports.take().await?;
        let ids = self.stores.quarantine.ids().await?;
        let export = Export {
            manage: self,
            filter,
            // Ids begin with 1.
            left: QuarantineStretch {
                after: 0,
                last: ids.map_or(0, |(_, newest)| newest),
            },
            _turn: turn,
        };
        Ok(futures::stream::try_unfold(
            export,
            |mut export: Export| async move {
                let page = export.page().await?;
                Ok(page.map(|page| (page, export)))
            },
        ))
    }

    /// How many are meant.
    ///
    /// # Errors
    /// When the database does not answer, or is busy with other heavy queries.
    pub async fn count_quarantine(&self, filter: &QuarantineFilter) -> Result<u64, QueryError> {
        let _turn = self.heavy.take().await?;
        Ok(self.stores.ledger.count_quarantine(filter).await?)
    }

    /// Removes those that are meant and there now, and says how many that were.
    ///
    /// # Errors
    /// When the database does not answer; what was removed before stays removed.
    pub async fn drop_quarantined(&self, filter: &QuarantineFilter) -> Result<u64, ChangeError> {
        let mut done = 0;
        let dropped = self.drop_some(filter, &mut done).await;
        self.quarantine_metrics.dropped.inc_by(done);
        match dropped {
            Ok(()) => Ok(done),
            Err(source) => Err(ChangeError::Storage { done, source }),
        }
    }

    async fn drop_some(
        &self,
        filter: &QuarantineFilter,
        done: &mut u64,
    ) -> Result<(), RepositoryError> {
        let Some((_, last)) = self.stores.quarantine.ids().await? else {
            return Ok(());
        };
        let mut stretch = QuarantineStretch { after: 0, last };
        loop {
            let begun = Instant::now();
            let ledger = &self.stores.ledger;
            let ids = ledger.quarantine_ids(filter, stretch, STEP_ROWS).await?;
            let Some(&after) = ids.last() else {
                return Ok(());
            };
            *done += self.stores.quarantine.remove_ids(&ids).await?;
            stretch.after = after;
            let readings_come_in = self.ingest.figures().in_flight > 0;
            tokio::time::sleep(pace::rest(begun.elapsed(), readings_come_in)).await;
        }
    }
}

/// An export under way.
struct Export {
    manage: Arc<Manage>,
    filter: QuarantineFilter,
    left: QuarantineStretch,
    _turn: Turn,
}

impl Export {
    async fn page(&mut self) -> Result<Option<Vec<Quarantined>>, RepositoryError> {
        let ledger = &self.manage.stores.ledger;
        let page = ledger
            .quarantine_stretch(&self.filter, self.left, EXPORT_PAGE_ROWS)
            .await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.left.after = last.id;
        Ok(Some(page))
    }
}

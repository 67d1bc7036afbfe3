//! Management of what is stored: queries, exports, changes, the ledger, the quarantine, partitions and retention.

mod changes;
mod pace;
pub mod partitions;
mod queries;
mod retention;

use std::sync::Arc;

pub use self::{
    changes::ChangeError,
    queries::{EXPORT_PAGE_ROWS, Page},
};
use crate::{
    model::Limits,
    repository::{LedgerReader, ReadingStore},
    usecase::ingest::Ingest,
};

/// Queries and changes stored readings.
pub struct Manage {
    store: Arc<dyn ReadingStore>,
    ledger: Arc<dyn LedgerReader>,
    /// Asked how busy it is: changes give way to readings that come in.
    ingest: Arc<Ingest>,
}

impl Manage {
    #[must_use]
    pub fn new(
        store: Arc<dyn ReadingStore>,
        ledger: Arc<dyn LedgerReader>,
        ingest: Arc<Ingest>,
    ) -> Self {
        Self {
            store,
            ledger,
            ingest,
        }
    }

    /// What the table can hold.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.store.limits()
    }
}

//! The quarantine: readings that were not stored.

mod insert;
mod limits;
mod looking;
mod restoring;

use std::sync::Arc;

use mysql_async::Pool;
use tokio::sync::Mutex;

pub(super) use self::insert::{insert, of_batch, report};
use super::{
    connection::Connector,
    ids::{IdBlock, IdShare},
    series::Naming,
    table::Table,
};

/// The quarantine, to be held to its limits, and to be worked off.
pub struct MySqlQuarantine {
    pool: Pool,
    connector: Connector,
    table: Arc<Table>,
    /// For readings that are stored after all.
    ids: Mutex<IdBlock>,
    /// None where readings bring their names along.
    naming: Option<Arc<Naming>>,
}

impl MySqlQuarantine {
    pub(super) fn new(
        pool: Pool,
        connector: Connector,
        table: Arc<Table>,
        naming: Option<Arc<Naming>>,
    ) -> Self {
        Self {
            pool,
            connector,
            table,
            ids: Mutex::default(),
            naming,
        }
    }

    /// Ids of readings that are stored after all: those of the first lane's share are as good as any.
    fn share(&self) -> IdShare {
        IdShare::of(0, self.table.subpartitions)
    }
}

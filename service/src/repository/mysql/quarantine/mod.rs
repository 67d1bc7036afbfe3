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
    table::Table,
};

/// The quarantine, to be held to its limits, and to be worked off.
pub struct MySqlQuarantine {
    pool: Pool,
    connector: Connector,
    table: Arc<Table>,
    /// For readings that are stored after all.
    ids: Mutex<IdBlock>,
}

impl MySqlQuarantine {
    pub(super) fn new(pool: Pool, connector: Connector, table: Arc<Table>) -> Self {
        Self {
            pool,
            connector,
            table,
            ids: Mutex::default(),
        }
    }

    /// Ids of readings that are stored after all: those of the first lane's share are as good as any.
    fn share(&self) -> IdShare {
        IdShare::of(0, self.table.subpartitions)
    }
}

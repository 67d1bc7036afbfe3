//! The rows of the table, through the service or directly.

use super::{VerifyOptions, row::Row, rows_mysql::MySqlTable, rows_rest::RestTable};
use crate::error::Error;

/// Where the rows come from.
#[derive(Debug)]
pub(super) enum Table {
    Rest(RestTable),
    MySql(Box<MySqlTable>),
}

impl Table {
    pub(super) async fn open(options: &VerifyOptions) -> Result<Self, Error> {
        Ok(match &options.database_url {
            Some(url) => {
                let table = MySqlTable::open(url, options.database_insecure).await?;
                Self::MySql(Box::new(table))
            }
            None => Self::Rest(RestTable::open(&options.rest, &options.access).await?),
        })
    }

    /// The smallest difference of times that the table can hold.
    pub(super) fn unit_us(&self) -> i64 {
        let decimals = match self {
            Self::Rest(table) => table.decimals,
            Self::MySql(table) => table.decimals,
        };
        10_i64.pow(6_u32.saturating_sub(decimals))
    }

    /// Calls `take` with every row from `from_us` up to and without `to_us`.
    pub(super) async fn each(
        &mut self,
        from_us: i64,
        to_us: i64,
        take: impl FnMut(Row<'_>),
    ) -> Result<(), Error> {
        match self {
            Self::Rest(table) => table.each(from_us, to_us, take).await,
            Self::MySql(table) => table.each(from_us, to_us, take).await,
        }
    }
}

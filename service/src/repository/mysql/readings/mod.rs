//! The stored readings: pages, stretches, the newest of a pair. Each step is a few short statements, each in a transaction of
//! its own.

mod aggregate;
mod numbered;
mod plain;

use std::sync::Arc;

use mysql_async::{Row, Value};

use self::{numbered::NumberedReadings, plain::PlainReadings};
use super::{
    answers::unexpected, asking::Asking, indexes::Indexes, instant, series::Naming,
    statement::Statement, table::Table,
};
use crate::{
    model::{
        Bucket, Change, IdPair, Limits, Order, Reading, ReadingKey, Selection, Series,
        StoredReading,
    },
    repository::{AggregateQuery, RepositoryError, Stretch},
};

/// The stored readings.
pub struct MySqlReadings {
    limits: Limits,
    kind: Kind,
}

enum Kind {
    Plain(PlainReadings),
    Numbered(NumberedReadings),
}

/// Calls the method of either kind.
macro_rules! of_kind {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match &$self.kind {
            Kind::Plain(readings) => readings.$method($($argument),*).await,
            Kind::Numbered(readings) => readings.$method($($argument),*).await,
        }
    };
}

impl MySqlReadings {
    /// `naming` gives numbers to series, where readings have them.
    pub(super) fn new(
        asking: Asking,
        table: &Table,
        indexes: Indexes,
        naming: Option<Arc<Naming>>,
    ) -> Self {
        let limits = table.limits;
        let kind = match naming {
            Some(naming) => Kind::Numbered(NumberedReadings {
                asking,
                limits,
                indexes,
                naming,
            }),
            None => Kind::Plain(PlainReadings {
                asking,
                limits,
                touches_ts: table.touches_ts,
                indexes,
            }),
        };
        Self { limits, kind }
    }

    /// What the table can hold.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Readings of a leg, at most `limit`, in order of (timestamp, id), from behind `after`.
    pub(crate) async fn page(
        &self,
        selection: &Selection,
        leg: u32,
        order: Order,
        after: Option<ReadingKey>,
        limit: usize,
    ) -> Result<Vec<StoredReading>, RepositoryError> {
        of_kind!(self.page(selection, leg, order, after, limit))
    }

    /// The last key of the next stretch of at most `rows` readings behind `after` and up to `last`; None at the end.
    pub(crate) async fn stretch(
        &self,
        selection: &Selection,
        leg: u32,
        within: Stretch,
        rows: usize,
    ) -> Result<Option<ReadingKey>, RepositoryError> {
        of_kind!(self.stretch(selection, leg, within, rows))
    }

    pub(crate) async fn count(
        &self,
        selection: &Selection,
        leg: u32,
    ) -> Result<u64, RepositoryError> {
        of_kind!(self.count(selection, leg))
    }

    /// Deletes the readings of a stretch in one transaction and returns how many.
    pub(crate) async fn delete(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
    ) -> Result<u64, RepositoryError> {
        of_kind!(self.delete(selection, leg, stretch))
    }

    /// Changes the readings of a stretch in one transaction and returns how many were selected.
    pub(crate) async fn update(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
        change: &Change,
    ) -> Result<u64, RepositoryError> {
        of_kind!(self.update(selection, leg, stretch, change))
    }

    /// The newest readings of each pair, in the order of the pairs: that of each sensor type where series are known, at most
    /// one otherwise.
    pub(crate) async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<Vec<Vec<StoredReading>>, RepositoryError> {
        match &self.kind {
            Kind::Plain(readings) => readings.latest(pairs, sensor_type).await,
            Kind::Numbered(readings) => readings.latest(pairs, sensor_type, tags).await,
        }
    }

    /// Groups ordered by their key, at most `limit`.
    pub(crate) async fn aggregate(
        &self,
        query: &AggregateQuery,
    ) -> Result<Vec<Bucket>, RepositoryError> {
        of_kind!(self.aggregate(query))
    }

    /// How many readings the database expects to read for these groups, which it does not do yet.
    pub(crate) async fn expected_rows(
        &self,
        query: &AggregateQuery,
    ) -> Result<u64, RepositoryError> {
        of_kind!(self.expected_rows(query))
    }
}

/// How many rows the database expects to read for a statement.
async fn expected_rows(asking: &Asking, mut statement: Statement) -> Result<u64, RepositoryError> {
    statement.sql.insert_str(0, "EXPLAIN FORMAT=TRADITIONAL ");
    let plan = asking.rows(statement).await?;
    // Without a figure there is nothing to read.
    let rows = |row: &Row| row.get::<Option<u64>, _>("rows").flatten().unwrap_or(0);
    Ok(plan.iter().map(rows).sum())
}

fn stored(row: Row) -> Result<StoredReading, RepositoryError> {
    type Columns = (i64, Value, i32, String, String, f64);
    let columns = mysql_async::from_row_opt::<Columns>(row).map_err(|_| unexpected())?;
    let (id, ts, id1, id2, sensor_type, sensor_value) = columns;
    let series = Series {
        id1,
        id2,
        sensor_type,
    };
    Ok(StoredReading {
        id,
        reading: Reading {
            series,
            sensor_value,
            timestamp_us: instant::from_value(&ts).ok_or_else(unexpected)?,
        },
    })
}

fn key(row: Row) -> Result<ReadingKey, RepositoryError> {
    let (ts, id) = mysql_async::from_row_opt::<(Value, i64)>(row).map_err(|_| unexpected())?;
    Ok(ReadingKey {
        timestamp_us: instant::from_value(&ts).ok_or_else(unexpected)?,
        id,
    })
}

//! The stored readings: pages, stretches, the newest of a pair. One statement each, in a transaction of its own.

use mysql_async::{Row, Value};

use super::{
    aggregate,
    asking::Asking,
    indexes::Indexes,
    instant,
    statement::{READING_COLUMNS, Shape, Statement},
    table::Table,
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
    asking: Asking,
    limits: Limits,
    touches_ts: bool,
    indexes: Indexes,
}

impl MySqlReadings {
    pub(super) fn new(asking: Asking, table: &Table, indexes: Indexes) -> Self {
        Self {
            asking,
            limits: table.limits,
            touches_ts: table.touches_ts,
            indexes,
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape {
            limits: &self.limits,
            indexes: &self.indexes,
        }
    }

    /// The columns of a leg's rows.
    fn select(&self, columns: &str, selection: &Selection, leg: u32) -> Statement {
        let mut statement = Statement::new(&format!("SELECT {columns} FROM sensor_readings"));
        statement
            .force_index(self.shape(), selection)
            .of_leg(self.shape(), selection, leg);
        statement
    }

    async fn newest(
        &self,
        pair: &IdPair,
        sensor_type: Option<&str>,
    ) -> Result<Option<StoredReading>, RepositoryError> {
        let selection = Selection {
            pairs: Some(vec![pair.clone()]),
            sensor_type: sensor_type.map(str::to_owned),
            ..Selection::default()
        };
        let mut statement = self.select(READING_COLUMNS, &selection, 0);
        statement.ordered(Order::Descending, 1);
        let row = self.asking.rows(statement).await?.pop();
        row.map(stored).transpose()
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
        let mut statement = self.select(READING_COLUMNS, selection, leg);
        statement.behind(after, order).ordered(order, limit);
        let rows = self.asking.rows(statement).await?;
        rows.into_iter().map(stored).collect()
    }

    /// The last key of the next stretch of at most `rows` readings behind `after` and up to `last`; None at the end.
    pub(crate) async fn stretch(
        &self,
        selection: &Selection,
        leg: u32,
        within: Stretch,
        rows: usize,
    ) -> Result<Option<ReadingKey>, RepositoryError> {
        let mut statement = self.select("ts, id", selection, leg);
        statement.within(within).ordered(Order::Ascending, rows);
        let last = self.asking.rows(statement).await?.pop();
        last.map(key).transpose()
    }

    pub(crate) async fn count(
        &self,
        selection: &Selection,
        leg: u32,
    ) -> Result<u64, RepositoryError> {
        let statement = self.select("COUNT(*)", selection, leg);
        let row = self.asking.rows(statement).await?.pop();
        row.and_then(|row| row.get(0)).ok_or_else(unexpected)
    }

    /// Deletes the readings of a stretch in one transaction and returns how many.
    pub(crate) async fn delete(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
    ) -> Result<u64, RepositoryError> {
        // Of the forms of DELETE, only the one for several tables takes an index hint.
        let mut statement = Statement::new("DELETE sensor_readings FROM sensor_readings");
        statement
            .force_index(self.shape(), selection)
            .of_leg(self.shape(), selection, leg)
            .within(stretch);
        self.asking.affected(statement).await
    }

    /// Changes the readings of a stretch in one transaction and returns how many were selected.
    pub(crate) async fn update(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
        change: &Change,
    ) -> Result<u64, RepositoryError> {
        let mut statement = Statement::new("UPDATE sensor_readings");
        statement.force_index(self.shape(), selection);
        let value = change
            .sensor_value
            .map(|value| ("sensor_value", Value::from(value)));
        let sensor_type = change.sensor_type.as_deref();
        let sensor_type = sensor_type.map(|sensor_type| ("sensor_type", Value::from(sensor_type)));
        for (index, (column, value)) in value.into_iter().chain(sensor_type).enumerate() {
            let before = if index == 0 { " SET" } else { "," };
            statement.push(&format!("{before} {column} = ?"), [value]);
        }
        if self.touches_ts {
            statement.push(", ts = ts", []);
        }
        statement
            .of_leg(self.shape(), selection, leg)
            .within(stretch);
        self.asking.affected(statement).await
    }

    /// The newest reading of each pair, in the order of the pairs.
    pub(crate) async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
    ) -> Result<Vec<Option<StoredReading>>, RepositoryError> {
        let mut newest = Vec::with_capacity(pairs.len());
        for pair in pairs {
            newest.push(self.newest(pair, sensor_type).await?);
        }
        Ok(newest)
    }

    /// Groups ordered by their key, at most `limit`.
    pub(crate) async fn aggregate(
        &self,
        query: &AggregateQuery,
    ) -> Result<Vec<Bucket>, RepositoryError> {
        let statement = aggregate::statement(self.shape(), query);
        let rows = self.asking.rows(statement).await?;
        let decimals = self.limits.timestamp.decimals;
        rows.into_iter()
            .map(|row| aggregate::bucket(row, decimals).ok_or_else(unexpected))
            .collect()
    }

    /// How many readings the database expects to read for these groups, which it does not do yet.
    pub(crate) async fn expected_rows(
        &self,
        query: &AggregateQuery,
    ) -> Result<u64, RepositoryError> {
        let mut statement = aggregate::statement(self.shape(), query);
        statement.sql.insert_str(0, "EXPLAIN FORMAT=TRADITIONAL ");
        let plan = self.asking.rows(statement).await?;
        // Without a figure there is nothing to read.
        let rows = |row: &Row| row.get::<Option<u64>, _>("rows").flatten().unwrap_or(0);
        Ok(plan.iter().map(rows).sum())
    }
}

pub(super) fn unexpected() -> RepositoryError {
    RepositoryError::Other("a row does not look as expected".to_owned())
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

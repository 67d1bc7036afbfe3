//! The stored readings: pages, stretches, the newest of a pair. One statement each, in a transaction of its own.

use std::time::Duration;

use async_trait::async_trait;
use mysql_async::{Conn, Pool, Row, Value, prelude::Queryable as _};

use super::{
    aggregate,
    error::explain,
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
    repository::{AggregateQuery, ReadingStore, RepositoryError, Stretch},
};

/// Longest wait for a connection.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);

pub(super) struct MySqlReadings {
    pool: Pool,
    limits: Limits,
    touches_ts: bool,
    indexes: Indexes,
}

impl MySqlReadings {
    pub(super) fn new(pool: Pool, table: &Table, indexes: Indexes) -> Self {
        Self {
            pool,
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

    async fn rows(&self, statement: Statement) -> Result<Vec<Row>, RepositoryError> {
        let mut conn = connection(&self.pool).await?;
        to_its_end(async move { conn.exec(statement.sql, statement.params).await }).await
    }

    /// Runs a change. The driver reports the rows that were found, not those that became different.
    async fn affected(&self, statement: Statement) -> Result<u64, RepositoryError> {
        let mut conn = connection(&self.pool).await?;
        to_its_end(async move {
            conn.exec_drop(statement.sql, statement.params).await?;
            Ok(conn.affected_rows())
        })
        .await
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
        conn: &mut Conn,
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
        let row: Option<Row> = conn
            .exec_first(statement.sql, statement.params)
            .await
            .map_err(explain)?;
        row.map(stored).transpose()
    }
}

/// A connection from the pool, or the news that there is none.
pub(super) async fn connection(pool: &Pool) -> Result<Conn, RepositoryError> {
    tokio::time::timeout(CONNECTION_DEADLINE, pool.get_conn())
        .await
        .map_err(|_| RepositoryError::Unreachable("no connection became free".to_owned()))?
        .map_err(explain)
}

/// Goes on when the one who asked is gone, because the server does, too: the connection stays taken until it answers,
/// so that no more statements run than the pool has connections.
pub(super) async fn to_its_end<T: Send + 'static>(
    statement: impl Future<Output = Result<T, mysql_async::Error>> + Send + 'static,
) -> Result<T, RepositoryError> {
    match tokio::spawn(statement).await {
        Ok(answer) => answer.map_err(explain),
        Err(lost) => Err(RepositoryError::Other(lost.to_string())),
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

#[async_trait]
impl ReadingStore for MySqlReadings {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn page(
        &self,
        selection: &Selection,
        leg: u32,
        order: Order,
        after: Option<ReadingKey>,
        limit: usize,
    ) -> Result<Vec<StoredReading>, RepositoryError> {
        let mut statement = self.select(READING_COLUMNS, selection, leg);
        statement.behind(after, order).ordered(order, limit);
        let rows = self.rows(statement).await?;
        rows.into_iter().map(stored).collect()
    }

    async fn stretch(
        &self,
        selection: &Selection,
        leg: u32,
        within: Stretch,
        rows: usize,
    ) -> Result<Option<ReadingKey>, RepositoryError> {
        let mut statement = self.select("ts, id", selection, leg);
        statement.within(within).ordered(Order::Ascending, rows);
        let last = self.rows(statement).await?.pop();
        last.map(key).transpose()
    }

    async fn count(&self, selection: &Selection, leg: u32) -> Result<u64, RepositoryError> {
        let statement = self.select("COUNT(*)", selection, leg);
        let row = self.rows(statement).await?.pop();
        row.and_then(|row| row.get(0)).ok_or_else(unexpected)
    }

    async fn delete(
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
        self.affected(statement).await
    }

    async fn update(
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
        self.affected(statement).await
    }

    async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
    ) -> Result<Vec<Option<StoredReading>>, RepositoryError> {
        let mut conn = connection(&self.pool).await?;
        let mut newest = Vec::with_capacity(pairs.len());
        for pair in pairs {
            newest.push(self.newest(&mut conn, pair, sensor_type).await?);
        }
        Ok(newest)
    }

    async fn aggregate(&self, query: &AggregateQuery) -> Result<Vec<Bucket>, RepositoryError> {
        let statement = aggregate::statement(self.shape(), query);
        let rows = self.rows(statement).await?;
        let decimals = self.limits.timestamp.decimals;
        rows.into_iter()
            .map(|row| aggregate::bucket(row, decimals).ok_or_else(unexpected))
            .collect()
    }
}

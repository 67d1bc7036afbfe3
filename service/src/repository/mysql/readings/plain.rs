//! Readings that bring the names of their series along.

use mysql_async::{Row, Value};

use super::{
    super::{
        asking::Asking,
        indexes::Indexes,
        names::Names,
        statement::{READING_COLUMNS, Shape, Statement},
    },
    aggregate, expected_rows, key, stored,
};
use crate::{
    model::{Change, IdPair, Limits, Order, ReadingKey, Selection, StoredReading},
    repository::{AggregateQuery, RepositoryError, Stretch},
};

/// Names them, whatever the table is called: columns are those of `sensor_readings`.
pub(super) const OWN: &str = "sensor_readings";
/// While they are moved into another layout.
pub(super) const MOVING: &str = "sensor_readings_moving AS sensor_readings";

pub(super) struct PlainReadings {
    pub(super) asking: Asking,
    /// What stands behind FROM.
    pub(super) table: &'static str,
    /// What the table and its columns are called.
    pub(super) names: Names,
    pub(super) limits: Limits,
    pub(super) touches_ts: bool,
    pub(super) indexes: Indexes,
}

impl PlainReadings {
    fn shape(&self) -> Shape<'_> {
        Shape {
            limits: &self.limits,
            indexes: &self.indexes,
        }
    }

    /// With the names that the table has.
    fn said(&self, statement: Statement) -> Statement {
        let Statement { sql, params } = statement;
        Statement {
            sql: self.names.said(&sql).into_owned(),
            params,
        }
    }

    async fn rows(&self, statement: Statement) -> Result<Vec<Row>, RepositoryError> {
        self.asking.rows(self.said(statement)).await
    }

    /// The columns of a leg's rows.
    fn select(&self, columns: &str, selection: &Selection, leg: u32) -> Statement {
        let mut statement = Statement::new(&format!("SELECT {columns} FROM {}", self.table));
        statement
            .force_index(self.shape(), selection)
            .of_leg(self.shape(), selection, leg);
        statement
    }

    async fn newest(
        &self,
        pair: &IdPair,
        sensor_type: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<Option<StoredReading>, RepositoryError> {
        let selection = Selection {
            pairs: Some(vec![pair.clone()]),
            sensor_type: sensor_type.map(str::to_owned),
            tags: tags.to_vec(),
            time: None,
        };
        let mut statement = self.select(READING_COLUMNS, &selection, 0);
        statement.ordered(Order::Descending, 1);
        let row = self.rows(statement).await?.pop();
        row.map(stored).transpose()
    }

    pub(super) async fn page(
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

    pub(super) async fn stretch(
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

    /// Asks how many readings there are.
    pub(super) fn count(&self, selection: &Selection, leg: u32) -> Statement {
        self.said(self.select("COUNT(*)", selection, leg))
    }

    pub(super) async fn delete(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
    ) -> Result<u64, RepositoryError> {
        // Of the forms of DELETE, only the one for several tables takes an index hint.
        let mut statement = Statement::new(&format!("DELETE sensor_readings FROM {}", self.table));
        statement
            .force_index(self.shape(), selection)
            .of_leg(self.shape(), selection, leg)
            .within(stretch);
        self.asking.affected(self.said(statement)).await
    }

    pub(super) async fn update(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
        change: &Change,
    ) -> Result<u64, RepositoryError> {
        let mut statement = Statement::new(&format!("UPDATE {}", self.table));
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
        self.asking.affected(self.said(statement)).await
    }

    pub(super) async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<Vec<Vec<StoredReading>>, RepositoryError> {
        let mut newest = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let reading = self.newest(pair, sensor_type, tags).await?;
            newest.push(reading.into_iter().collect());
        }
        Ok(newest)
    }

    /// Asks for groups.
    pub(super) fn aggregate(&self, query: &AggregateQuery) -> Statement {
        self.said(aggregate::statement(self.table, self.shape(), query))
    }

    pub(super) async fn expected_rows(
        &self,
        query: &AggregateQuery,
    ) -> Result<u64, RepositoryError> {
        expected_rows(&self.asking, self.aggregate(query)).await
    }
}

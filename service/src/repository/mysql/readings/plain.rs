//! Readings that bring the names of their series along.

use mysql_async::Value;

use super::{
    super::{
        answers::unexpected,
        asking::Asking,
        indexes::Indexes,
        statement::{READING_COLUMNS, Shape, Statement},
    },
    aggregate, expected_rows, key, stored,
};
use crate::{
    model::{Bucket, Change, IdPair, Limits, Order, ReadingKey, Selection, StoredReading},
    repository::{AggregateQuery, RepositoryError, Stretch},
};

pub(super) struct PlainReadings {
    pub(super) asking: Asking,
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
        let rows = self.asking.rows(statement).await?;
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
        let last = self.asking.rows(statement).await?.pop();
        last.map(key).transpose()
    }

    pub(super) async fn count(
        &self,
        selection: &Selection,
        leg: u32,
    ) -> Result<u64, RepositoryError> {
        let statement = self.select("COUNT(*)", selection, leg);
        let row = self.asking.rows(statement).await?.pop();
        row.and_then(|row| row.get(0)).ok_or_else(unexpected)
    }

    pub(super) async fn delete(
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

    pub(super) async fn update(
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

    pub(super) async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
    ) -> Result<Vec<Vec<StoredReading>>, RepositoryError> {
        let mut newest = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let reading = self.newest(pair, sensor_type).await?;
            newest.push(reading.into_iter().collect());
        }
        Ok(newest)
    }

    pub(super) async fn aggregate(
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

    pub(super) async fn expected_rows(
        &self,
        query: &AggregateQuery,
    ) -> Result<u64, RepositoryError> {
        expected_rows(&self.asking, aggregate::statement(self.shape(), query)).await
    }
}

//! Readings that have the numbers of their series. A pair of ids has a series for each of its sensor types: what is asked of a
//! pair is asked of each of its series, and merged.

mod changing;
mod names;
mod rolled;

use std::sync::Arc;

use mysql_async::{Row, Value};

pub(super) use self::names::NameMemory;
use super::{
    super::{
        answers::unexpected,
        asking::Asking,
        indexes::Indexes,
        instant,
        series::Naming,
        statement::{Shape, Statement, force, listed},
    },
    aggregate, expected_rows, key, stored,
};
use crate::{
    model::{IdPair, Limits, Order, Reading, ReadingKey, Selection, Series, StoredReading},
    repository::{AggregateQuery, RepositoryError, Stretch},
};

/// So many series are walked by one statement, each by its own range of the key.
const LEGS: usize = 64;
/// So many pairs are looked for by one statement.
const PAIRS: usize = 256;

/// Names the readings, whatever the table is called.
pub(super) const OWN: &str = "readings";
/// While they are moved into another layout.
pub(super) const MOVING: &str = "readings_moving AS readings";

const NUMBERED_COLUMNS: &str = "id, ts, series_id, sensor_value";
const NAMED_COLUMNS: &str = "id, ts, id1, id2, sensor_type, sensor_value";
const WITH_NAMES: &str = " STRAIGHT_JOIN series ON series.series_id = readings.series_id";

pub(super) struct NumberedReadings {
    pub(super) asking: Asking,
    /// What stands behind FROM.
    pub(super) table: &'static str,
    pub(super) limits: Limits,
    pub(super) indexes: Indexes,
    pub(super) naming: Arc<Naming>,
    /// Whether statements look for numbers themselves: while readings are moved, a series may get its number, and lose its
    /// readings to the other table, between a look and the statement that rests on it.
    pub(super) looks_inside: bool,
    pub(super) names: NameMemory,
}

/// A series that has a number.
#[derive(Clone, Debug)]
struct Known {
    number: u32,
    series: Series,
}

/// What a leg of a selection walks.
enum Leg {
    /// The series of its pair, of the sensor type if one is given.
    Of(Vec<Known>),
    /// All readings, or those of one sensor type.
    All,
}

impl NumberedReadings {
    fn shape(&self) -> Shape<'_> {
        Shape {
            limits: &self.limits,
            indexes: &self.indexes,
        }
    }

    async fn leg(&self, selection: &Selection, leg: u32) -> Result<Leg, RepositoryError> {
        let Some(pair) = selection.pair(leg) else {
            return Ok(Leg::All);
        };
        let sensor_type = selection.sensor_type.as_deref();
        let pairs = std::slice::from_ref(pair);
        let known = self.known(pairs, sensor_type, &selection.tags).await?;
        Ok(Leg::Of(known))
    }

    /// The series of some pairs, those of a pair in the order of their sensor types.
    async fn known(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<Vec<Known>, RepositoryError> {
        let mut known = Vec::new();
        for pairs in pairs.chunks(PAIRS) {
            let mut statement =
                Statement::new("SELECT series_id, id1, id2, sensor_type FROM series");
            named(&mut statement, pairs, sensor_type, tags);
            for row in self.asking.rows(statement).await? {
                let (number, id1, id2, sensor_type) =
                    mysql_async::from_row_opt(row).map_err(|_| unexpected())?;
                let series = Series {
                    id1,
                    id2,
                    sensor_type,
                };
                known.push(Known { number, series });
            }
        }
        known.sort_unstable_by(|one, other| one.series.sensor_type.cmp(&other.series.sensor_type));
        Ok(known)
    }

    /// A walk through one series, or some of them in no order.
    fn of_series(&self, columns: &str, numbers: &[u32], selection: &Selection) -> Statement {
        let mut statement = Statement::new(&format!("SELECT {columns} FROM {}", self.table));
        self.within_series(&mut statement, numbers, selection);
        statement
    }

    fn within_series(&self, statement: &mut Statement, numbers: &[u32], selection: &Selection) {
        statement
            .push(&force(self.indexes.ids.as_ref()), [])
            .push(&format!(" WHERE series_id IN ({})", listed(numbers)), [])
            .of_time(self.shape(), selection.time);
    }

    /// As `within_series`, of those that there are when the statement runs.
    fn within_named(&self, statement: &mut Statement, pairs: &[IdPair], selection: &Selection) {
        statement
            .push(&force(self.indexes.ids.as_ref()), [])
            .push(" WHERE series_id IN (SELECT series_id FROM series", []);
        let sensor_type = selection.sensor_type.as_deref();
        named(statement, pairs, sensor_type, &selection.tags);
        statement
            .push(")", [])
            .of_time(self.shape(), selection.time);
    }

    /// A walk through time. The names are looked at where they are asked for.
    fn through_time(&self, columns: &str, selection: &Selection, named: bool) -> Statement {
        let mut statement = Statement::new(&format!("SELECT {columns} FROM {}", self.table));
        self.within_time(&mut statement, selection, named);
        statement
    }

    /// Readings whose series has no name are of no sensor type, and have nothing to be shown.
    fn within_time(&self, statement: &mut Statement, selection: &Selection, named: bool) {
        statement.push(&force(self.indexes.time.as_ref()), []);
        if named || selection.sensor_type.is_some() {
            statement.push(WITH_NAMES, []);
        }
        statement
            .push(" WHERE TRUE", [])
            .of_time(self.shape(), selection.time)
            .of_sensor_type(selection.sensor_type.as_deref());
    }

    /// The walks through each of these series as one statement, in order, at most `limit` rows; `each` bounds a walk.
    fn merged(
        &self,
        known: &[Known],
        selection: &Selection,
        order: Order,
        limit: usize,
        each: impl Fn(&mut Statement),
    ) -> Statement {
        // In brackets, MariaDB would sort them once more.
        if let [only] = known {
            let mut walk = self.of_series(NUMBERED_COLUMNS, &[only.number], selection);
            each(&mut walk);
            walk.ordered(order, limit);
            return walk;
        }
        let mut merged = Statement::new("");
        for (index, series) in known.iter().enumerate() {
            let mut walk = self.of_series(NUMBERED_COLUMNS, &[series.number], selection);
            each(&mut walk);
            walk.ordered(order, limit);
            let before = if index == 0 { "(" } else { " UNION ALL (" };
            merged
                .push(before, [])
                .push(&walk.sql, walk.params)
                .push(")", []);
        }
        merged.ordered(order, limit);
        merged
    }

    /// Rows of the series' walks, in order, at most `limit`.
    async fn walk(
        &self,
        known: &[Known],
        selection: &Selection,
        order: Order,
        limit: usize,
        each: impl Fn(&mut Statement) + Copy,
    ) -> Result<Vec<StoredReading>, RepositoryError> {
        let mut found = Vec::new();
        for known in known.chunks(LEGS) {
            let statement = self.merged(known, selection, order, limit, each);
            let is_first = found.is_empty();
            for row in self.asking.rows(statement).await? {
                found.push(numbered(row, known)?);
            }
            if !is_first {
                found.sort_unstable_by_key(|reading| (reading.reading.timestamp_us, reading.id));
                if order == Order::Descending {
                    found.reverse();
                }
                found.truncate(limit);
            }
        }
        Ok(found)
    }

    pub(super) async fn page(
        &self,
        selection: &Selection,
        leg: u32,
        order: Order,
        after: Option<ReadingKey>,
        limit: usize,
    ) -> Result<Vec<StoredReading>, RepositoryError> {
        match self.leg(selection, leg).await? {
            Leg::Of(known) => {
                let behind = |walk: &mut Statement| {
                    walk.behind(after, order);
                };
                self.walk(&known, selection, order, limit, behind).await
            }
            Leg::All if selection.sensor_type.is_none() && !self.looks_inside => {
                self.page_through_time(selection, order, after, limit).await
            }
            Leg::All => {
                let mut statement = self.through_time(NAMED_COLUMNS, selection, true);
                statement.behind(after, order).ordered(order, limit);
                let rows = self.asking.rows(statement).await?;
                rows.into_iter().map(stored).collect()
            }
        }
    }

    pub(super) async fn stretch(
        &self,
        selection: &Selection,
        leg: u32,
        within: Stretch,
        rows: usize,
    ) -> Result<Option<ReadingKey>, RepositoryError> {
        match self.leg(selection, leg).await? {
            Leg::Of(known) => {
                let bound = |walk: &mut Statement| {
                    walk.within(within);
                };
                let found = self
                    .walk(&known, selection, Order::Ascending, rows, bound)
                    .await?;
                Ok(found.last().map(StoredReading::key))
            }
            Leg::All => {
                let mut statement = self.through_time("ts, id", selection, false);
                statement.within(within).ordered(Order::Ascending, rows);
                let last = self.asking.rows(statement).await?.pop();
                last.map(key).transpose()
            }
        }
    }

    /// Asks how many readings there are; None where there are none.
    pub(super) async fn count(
        &self,
        selection: &Selection,
        leg: u32,
    ) -> Result<Option<Statement>, RepositoryError> {
        if let (true, Some(pair)) = (self.looks_inside, selection.pair(leg)) {
            let mut statement = Statement::new(&format!("SELECT COUNT(*) FROM {}", self.table));
            let pairs = std::slice::from_ref(pair);
            self.within_named(&mut statement, pairs, selection);
            return Ok(Some(statement));
        }
        Ok(match self.leg(selection, leg).await? {
            Leg::Of(known) if known.is_empty() => None,
            Leg::Of(known) => Some(self.of_series("COUNT(*)", &numbers(&known), selection)),
            Leg::All => Some(self.through_time("COUNT(*)", selection, false)),
        })
    }

    pub(super) async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<Vec<Vec<StoredReading>>, RepositoryError> {
        let known = self.known(pairs, sensor_type, tags).await?;
        let mut newest = vec![Vec::new(); pairs.len()];
        for known in known.chunks(LEGS) {
            let mut statement = Statement::new("");
            for (index, series) in known.iter().enumerate() {
                let mut walk =
                    self.of_series(NUMBERED_COLUMNS, &[series.number], &Selection::default());
                walk.ordered(Order::Descending, 1);
                let before = if index == 0 { "(" } else { " UNION ALL (" };
                statement
                    .push(before, [])
                    .push(&walk.sql, walk.params)
                    .push(")", []);
            }
            for row in self.asking.rows(statement).await? {
                let reading = numbered(row, known)?;
                let series = &reading.reading.series;
                let of_pair = pairs
                    .iter()
                    .position(|pair| pair.id1 == series.id1 && pair.id2 == series.id2);
                newest[of_pair.ok_or_else(unexpected)?].push(reading);
            }
        }
        for of_pair in &mut newest {
            of_pair.sort_unstable_by(|one, other| {
                let sensor_type =
                    |stored: &StoredReading| stored.reading.series.sensor_type.clone();
                sensor_type(one).cmp(&sensor_type(other))
            });
        }
        Ok(newest)
    }

    /// Which series an aggregation is over; None for all.
    async fn series_of(&self, query: &AggregateQuery) -> Result<Option<Vec<u32>>, RepositoryError> {
        let selection = &query.selection;
        let Some(pairs) = &selection.pairs else {
            return Ok(None);
        };
        let sensor_type = selection.sensor_type.as_deref();
        let known = self.known(pairs, sensor_type, &selection.tags).await?;
        Ok(Some(numbers(&known)))
    }

    fn groups(&self, query: &AggregateQuery, of: Option<&[u32]>) -> Statement {
        let selection = &query.selection;
        let mut groups = Statement::new(&aggregate::numbered_groups(
            self.table,
            self.shape(),
            query.width,
        ));
        match of {
            Some(numbers) => self.within_series(&mut groups, numbers, selection),
            None => self.within_time(&mut groups, selection, false),
        }
        aggregate::end_numbered_groups(&mut groups, query);
        groups
    }

    /// Asks for groups; None where there are none.
    pub(super) async fn aggregate(
        &self,
        query: &AggregateQuery,
    ) -> Result<Option<Statement>, RepositoryError> {
        let selection = &query.selection;
        if let (true, Some(pairs)) = (self.looks_inside, &selection.pairs) {
            let groups = aggregate::numbered_groups(self.table, self.shape(), query.width);
            let mut groups = Statement::new(&groups);
            self.within_named(&mut groups, pairs, selection);
            aggregate::end_numbered_groups(&mut groups, query);
            return Ok(Some(aggregate::named(groups, query)));
        }
        let of = self.series_of(query).await?;
        if of.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let groups = self.groups(query, of.as_deref());
        Ok(Some(aggregate::named(groups, query)))
    }

    pub(super) async fn expected_rows(
        &self,
        query: &AggregateQuery,
    ) -> Result<u64, RepositoryError> {
        let of = self.series_of(query).await?;
        if of.as_ref().is_some_and(Vec::is_empty) {
            return Ok(0);
        }
        expected_rows(&self.asking, self.groups(query, of.as_deref())).await
    }
}

/// Only series of these pairs, behind `FROM series`.
fn named(
    statement: &mut Statement,
    pairs: &[IdPair],
    sensor_type: Option<&str>,
    tags: &[(String, String)],
) {
    statement.push(" FORCE INDEX (by_names) WHERE (FALSE", []);
    for pair in pairs {
        statement.push(
            " OR (id1 = ? AND id2 = ? AND LENGTH(id2) = ?)",
            [
                pair.id1.into(),
                pair.id2.as_str().into(),
                pair.id2.len().into(),
            ],
        );
    }
    statement.push(")", []).of_sensor_type(sensor_type);
    for (tag, value) in tags {
        statement.push(
            " AND EXISTS (SELECT 1 FROM series_tags WHERE series_tags.series_id = series.series_id \
             AND tag = ? AND value = ?)",
            [tag.as_str().into(), value.as_str().into()],
        );
    }
}

fn numbers(known: &[Known]) -> Vec<u32> {
    known.iter().map(|known| known.number).collect()
}

fn numbered(row: Row, known: &[Known]) -> Result<StoredReading, RepositoryError> {
    let (id, ts, number, sensor_value) =
        mysql_async::from_row_opt::<(i64, Value, u32, f64)>(row).map_err(|_| unexpected())?;
    let found = known.iter().find(|known| known.number == number);
    Ok(StoredReading {
        id,
        reading: Reading {
            series: found.ok_or_else(unexpected)?.series.clone(),
            sensor_value,
            timestamp_us: instant::from_value(&ts).ok_or_else(unexpected)?,
        },
    })
}

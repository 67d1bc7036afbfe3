//! The stored readings: pages, stretches, the newest of a pair. Each step is a few short statements, each in a transaction of
//! its own.

mod aggregate;
mod numbered;
mod plain;
mod together;

use std::{sync::Arc, time::Duration};

use mysql_async::{Row, Value};

use self::{numbered::NumberedReadings, plain::PlainReadings, together::Moving};
use super::{
    answers::unexpected,
    asking::Asking,
    indexes::Indexes,
    instant,
    leftover::Leftover,
    rollups::Answering,
    series::Naming,
    statement::Statement,
    table::{IS_VIEW, Table},
};
use crate::{
    model::{
        Bucket, Change, IdPair, Limits, Order, Reading, ReadingKey, Selection, Series,
        StoredReading,
    },
    repository::{AggregateQuery, MadeFrom, RepositoryError, Stretch},
};

/// So often two tables are asked, of which one is about to go.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// The stored readings.
pub struct MySqlReadings {
    limits: Limits,
    asking: Asking,
    kind: Kind,
    /// Readings that are not yet moved out of another layout.
    ///
    /// They are always asked first: one that is moved meanwhile is met twice then, and never missed.
    moving: Option<Moving>,
    /// None where there are no rollups.
    answering: Option<Answering>,
}

enum Kind {
    Plain(PlainReadings),
    Numbered(NumberedReadings),
}

/// Calls the method of either kind.
macro_rules! of_kind {
    ($kind:expr, $method:ident($($argument:expr),*)) => {
        match $kind {
            Kind::Plain(readings) => readings.$method($($argument),*).await,
            Kind::Numbered(readings) => readings.$method($($argument),*).await,
        }
    };
}
use of_kind;

/// What is asked of both tables at once.
enum Asked<'a> {
    Count(&'a Selection, u32),
    Groups(&'a AggregateQuery),
}

impl Asked<'_> {
    async fn of(&self, kind: &Kind) -> Result<Option<Statement>, RepositoryError> {
        match self {
            Self::Count(selection, leg) => kind.count(selection, *leg).await,
            Self::Groups(query) => kind.aggregate(query).await,
        }
    }

    fn of_both(&self, one: Option<&Statement>, other: Option<&Statement>) -> Statement {
        match self {
            Self::Count(..) => together::sum(one, other),
            Self::Groups(_) => together::both(one, other),
        }
    }
}

impl Kind {
    /// Asks how many readings there are; None where there are none.
    async fn count(
        &self,
        selection: &Selection,
        leg: u32,
    ) -> Result<Option<Statement>, RepositoryError> {
        match self {
            Self::Plain(readings) => Ok(Some(readings.count(selection, leg))),
            Self::Numbered(readings) => readings.count(selection, leg).await,
        }
    }

    /// Asks for groups; None where there are none.
    async fn aggregate(
        &self,
        query: &AggregateQuery,
    ) -> Result<Option<Statement>, RepositoryError> {
        match self {
            Self::Plain(readings) => Ok(Some(readings.aggregate(query))),
            Self::Numbered(readings) => readings.aggregate(query).await,
        }
    }
}

impl MySqlReadings {
    /// `naming` gives numbers to series, where readings have them.
    pub(super) fn new(
        asking: Asking,
        table: &Table,
        indexes: Indexes,
        naming: Option<Arc<Naming>>,
        moving: Option<(&Leftover, Arc<Naming>)>,
        answering: Option<Answering>,
    ) -> Self {
        let limits = table.limits;
        let kind = match naming {
            Some(naming) => Kind::Numbered(NumberedReadings {
                asking: asking.clone(),
                table: numbered::OWN,
                limits,
                indexes,
                naming,
                looks_inside: moving.is_some(),
                names: numbered::NameMemory::default(),
            }),
            None => Kind::Plain(PlainReadings {
                asking: asking.clone(),
                table: plain::OWN,
                names: table.names.clone(),
                limits,
                touches_ts: table.touches_ts,
                indexes,
            }),
        };
        let moving = moving.map(|(left, naming)| Moving::new(&asking, left, naming));
        Self {
            limits,
            asking,
            kind,
            moving,
            answering,
        }
    }

    /// What answers from rollups, if there is anything that does.
    fn rolled(&self) -> Option<(&NumberedReadings, &Answering)> {
        match (&self.kind, &self.moving, &self.answering) {
            (Kind::Numbered(readings), None, Some(answering)) => Some((readings, answering)),
            _ => None,
        }
    }

    /// What the table can hold.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where tables of another layout have taken the place of these there is nothing to be asked any more: this process is about
    /// to start anew, and whoever asks does well to ask again.
    async fn unless_exchanged<T>(
        &self,
        asked: impl Future<Output = Result<T, RepositoryError>>,
    ) -> Result<T, RepositoryError> {
        match asked.await {
            Err(error @ (RepositoryError::Table(_) | RepositoryError::Other(_)))
                if self.are_exchanged().await =>
            {
                Err(RepositoryError::NotWritable(format!(
                    "the readings are in tables of another layout now: {error}"
                )))
            }
            answer => answer,
        }
    }

    async fn are_exchanged(&self) -> bool {
        let is_view = match &self.kind {
            Kind::Plain(readings) if readings.names.are_given() => return false,
            Kind::Plain(_) => false,
            Kind::Numbered(_) => true,
        };
        let looked = self.asking.rows(Statement::new(IS_VIEW)).await;
        let found = looked
            .ok()
            .and_then(|mut rows| rows.pop()?.get::<bool, _>(0));
        found.is_some_and(|found| found != is_view)
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
        self.unless_exchanged(async {
            let not_moved = match &self.moving {
                Some(moving) => moving.page(selection, leg, order, after, limit).await?,
                None => Vec::new(),
            };
            let found = of_kind!(&self.kind, page(selection, leg, order, after, limit))?;
            Ok(together::in_order(not_moved, found, order, limit))
        })
        .await
    }

    /// The last key of the next stretch of at most `rows` readings behind `after` and up to `last`; None at the end.
    pub(crate) async fn stretch(
        &self,
        selection: &Selection,
        leg: u32,
        within: Stretch,
        rows: usize,
    ) -> Result<Option<ReadingKey>, RepositoryError> {
        self.unless_exchanged(async {
            let not_moved = match &self.moving {
                Some(moving) => moving.stretch(selection, leg, within, rows).await?,
                None => None,
            };
            let found = of_kind!(&self.kind, stretch(selection, leg, within, rows))?;
            let ends = [not_moved, found].into_iter().flatten();
            Ok(ends.min_by_key(|key| (key.timestamp_us, key.id)))
        })
        .await
    }

    /// Those of a moment, whatever is moved meanwhile.
    pub(crate) async fn count(
        &self,
        selection: &Selection,
        leg: u32,
    ) -> Result<u64, RepositoryError> {
        self.unless_exchanged(async {
            if let Some(moving) = &self.moving {
                let asked = Asked::Count(selection, leg);
                if let Some(rows) = self.of_a_moment(moving, &asked).await? {
                    return count(rows);
                }
            }
            match self.kind.count(selection, leg).await? {
                Some(statement) => count(self.asking.rows(statement).await?),
                None => Ok(0),
            }
        })
        .await
    }

    /// Asks both tables by one statement; None when nothing is left to be moved.
    async fn of_a_moment(
        &self,
        moving: &Moving,
        asked: &Asked<'_>,
    ) -> Result<Option<Vec<Row>>, RepositoryError> {
        let mut attempt = 1;
        loop {
            let not_moved = asked.of(moving.kind()).await?;
            let own = asked.of(&self.kind).await?;
            let both = asked.of_both(not_moved.as_ref(), own.as_ref());
            match moving.unless_gone(self.asking.rows(both)).await {
                // Partitions, and at the end the table, go while it is asked.
                Err(error) if attempt < ATTEMPTS => {
                    tracing::debug!(%error, "two tables are asked again");
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Deletes the readings of a stretch in one transaction, or two while readings are moved, and returns how many.
    pub(crate) async fn delete(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
    ) -> Result<u64, RepositoryError> {
        self.unless_exchanged(async {
            let not_moved = match &self.moving {
                Some(moving) => moving.delete(selection, leg, stretch).await?,
                None => 0,
            };
            Ok(not_moved + of_kind!(&self.kind, delete(selection, leg, stretch))?)
        })
        .await
    }

    /// Changes the readings of a stretch in one transaction, or two while readings are moved, and returns how many were
    /// selected. One that is moved between the two is changed, and counted, twice.
    pub(crate) async fn update(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
        change: &Change,
    ) -> Result<u64, RepositoryError> {
        self.unless_exchanged(async {
            let not_moved = match &self.moving {
                Some(moving) => moving.update(selection, leg, stretch, change).await?,
                None => 0,
            };
            Ok(not_moved + of_kind!(&self.kind, update(selection, leg, stretch, change))?)
        })
        .await
    }

    /// The newest readings of each pair, in the order of the pairs: that of each sensor type where series are known, at most
    /// one otherwise. Of what is not yet moved out of a layout without series it is one.
    pub(crate) async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<Vec<Vec<StoredReading>>, RepositoryError> {
        self.unless_exchanged(async {
            let not_moved = match &self.moving {
                Some(moving) => moving.latest(pairs, sensor_type, tags).await?,
                None => None,
            };
            let found = of_kind!(&self.kind, latest(pairs, sensor_type, tags))?;
            let Some(not_moved) = not_moved else {
                return Ok(found);
            };
            let of_each_type = matches!(self.kind, Kind::Numbered(_));
            let both = not_moved.into_iter().zip(found);
            let newest = both.map(|(one, two)| together::newest(one, two, of_each_type));
            Ok(newest.collect())
        })
        .await
    }

    /// Groups ordered by their key, at most `limit`: those of a moment, whatever is moved meanwhile.
    pub(crate) async fn aggregate(
        &self,
        query: &AggregateQuery,
    ) -> Result<(Vec<Bucket>, MadeFrom), RepositoryError> {
        let of_readings = |rows| {
            let made_from = MadeFrom {
                readings: true,
                ..MadeFrom::default()
            };
            Ok((together::groups(rows, query.limit)?, made_from))
        };
        self.unless_exchanged(async {
            if let Some(moving) = &self.moving {
                let asked = Asked::Groups(query);
                if let Some(rows) = self.of_a_moment(moving, &asked).await? {
                    return of_readings(rows);
                }
            }
            if let Some((readings, answering)) = self.rolled()
                && let Some((rows, made_from)) = readings.rolled(query, answering).await?
            {
                return Ok((together::groups(rows, query.limit)?, made_from));
            }
            of_readings(match self.kind.aggregate(query).await? {
                Some(statement) => self.asking.rows(statement).await?,
                None => Vec::new(),
            })
        })
        .await
    }

    /// How many readings the database expects to read for these groups, which it does not do yet.
    pub(crate) async fn expected_rows(
        &self,
        query: &AggregateQuery,
    ) -> Result<u64, RepositoryError> {
        self.unless_exchanged(async {
            let not_moved = match &self.moving {
                Some(moving) => moving.expected_rows(query).await?,
                None => 0,
            };
            if let Some((readings, answering)) = self.rolled()
                && let Some(expected) = readings.expected_rolled(query, answering).await?
            {
                return Ok(expected);
            }
            Ok(not_moved + of_kind!(&self.kind, expected_rows(query))?)
        })
        .await
    }
}

fn count(mut rows: Vec<Row>) -> Result<u64, RepositoryError> {
    rows.pop().and_then(|row| row.get(0)).ok_or_else(unexpected)
}

/// How many rows the database expects to read for a statement.
async fn expected_rows(asking: &Asking, mut statement: Statement) -> Result<u64, RepositoryError> {
    statement.sql.insert_str(0, "EXPLAIN FORMAT=TRADITIONAL ");
    let plan = asking.rows(statement).await?;
    Ok(expected_rows_of(&plan))
}

/// What a plan says of it. What is read of tables that the statement makes itself was read before.
fn expected_rows_of(plan: &[Row]) -> u64 {
    // Without a figure there is nothing to read.
    let rows = |row: &Row| row.get::<Option<u64>, _>("rows").flatten().unwrap_or(0);
    let is_made = |row: &&Row| {
        let table = row.get::<Option<String>, _>("table").flatten();
        table.is_some_and(|table| table.starts_with('<'))
    };
    plan.iter().filter(|row| !is_made(row)).map(rows).sum()
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

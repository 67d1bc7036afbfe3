//! Aggregations that are made from rollups as far as those are sure, and from readings for the rest, in one snapshot.

use std::ops::Range;

use mysql_async::{Conn, Row};

use super::{
    super::super::{
        indexes::Indexes,
        instant,
        rollups::{Answering, Sources, together, within},
        statement::{Shape, Statement, force, listed},
    },
    super::{aggregate, expected_rows_of},
    NumberedReadings, WITH_NAMES,
};
use crate::{
    model::{Limits, rollup::Cover},
    repository::{AggregateQuery, MadeFrom, RepositoryError},
};

/// All that a statement is made of, once it is known what is sure.
#[derive(Clone)]
struct Rolling {
    answering: Answering,
    query: AggregateQuery,
    range_us: Range<i64>,
    /// None for all series.
    series: Option<Vec<u32>>,
    table: &'static str,
    limits: Limits,
    indexes: Indexes,
}

impl Rolling {
    async fn cover(&self, conn: &mut Conn) -> Result<Cover, RepositoryError> {
        let pairs = self.query.selection.pairs.as_deref();
        let (range_us, width) = (&self.range_us, self.query.width);
        self.answering.cover(conn, range_us, width, pairs).await
    }

    fn statement(&self, cover: &Cover) -> Statement {
        let sources = Sources {
            width: self.query.width,
            series: self.series.as_deref(),
            sensor_type: self.query.selection.sensor_type.as_deref(),
            from_us: self.query.after.as_ref().map(|after| after.start_us),
        };
        let levels = cover.levels.iter().map(|level| sources.of_level(level));
        let readings = (!cover.readings.is_empty()).then(|| self.readings(&cover.readings));
        together(levels.chain(readings))
    }

    /// What the readings of these stretches come to.
    fn readings(&self, stretches: &[Range<i64>]) -> Statement {
        let shape = Shape {
            limits: &self.limits,
            indexes: &self.indexes,
        };
        let parts = aggregate::numbered_parts(self.table, shape, self.query.width);
        let mut statement = Statement::new(&parts);
        let sensor_type = self.query.selection.sensor_type.as_deref();
        match &self.series {
            Some(series) => statement.push(&force(self.indexes.ids.as_ref()), []).push(
                &format!(" WHERE readings.series_id IN ({})", listed(series)),
                [],
            ),
            None => statement
                .push(&force(self.indexes.time.as_ref()), [])
                .push(sensor_type.map_or("", |_| WITH_NAMES), [])
                .push(" WHERE TRUE", []),
        };
        statement.of_sensor_type(sensor_type);
        let values = |it: &Range<i64>| instant::to_value(it.start)..instant::to_value(it.end);
        within(&mut statement, "ts", stretches.iter().map(values));
        aggregate::end_numbered_groups(&mut statement, &self.query);
        statement
    }
}

impl NumberedReadings {
    /// What to ask; None where rollups are of no use.
    async fn rolling(
        &self,
        query: &AggregateQuery,
        answering: &Answering,
    ) -> Result<Option<Rolling>, RepositoryError> {
        let held = &self.limits.timestamp;
        let time = query
            .selection
            .time
            .filter(|time| time.to_us <= held.max_us);
        let Some(time) = time.filter(|_| answering.is_for(query.width)) else {
            return Ok(None);
        };
        let from_us = time.from_us.max(held.min_us);
        Ok(Some(Rolling {
            answering: answering.clone(),
            query: query.clone(),
            range_us: from_us..time.to_us.max(from_us),
            series: self.series_of(query).await?,
            table: self.table,
            limits: self.limits,
            indexes: self.indexes.clone(),
        }))
    }

    /// Groups, and what they are made from; None where rollups are of no use.
    pub(in super::super) async fn rolled(
        &self,
        query: &AggregateQuery,
        answering: &Answering,
    ) -> Result<Option<(Vec<Row>, MadeFrom)>, RepositoryError> {
        let Some(rolling) = self.rolling(query, answering).await? else {
            return Ok(None);
        };
        if rolling.series.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Some((Vec::new(), MadeFrom::default())));
        }
        let asked = self.asking.rows_of_a_moment(move |conn| {
            Box::pin(async move {
                let cover = rolling.cover(conn).await?;
                let statement = aggregate::named(rolling.statement(&cover), &rolling.query);
                let made_from = MadeFrom {
                    levels_s: cover.levels.iter().map(|level| level.every_s).collect(),
                    readings: !cover.readings.is_empty(),
                };
                Ok((statement, made_from))
            })
        });
        asked.await.map(Some)
    }

    /// How many rows the database expects to read for them; None where rollups are of no use.
    pub(in super::super) async fn expected_rolled(
        &self,
        query: &AggregateQuery,
        answering: &Answering,
    ) -> Result<Option<u64>, RepositoryError> {
        let Some(rolling) = self.rolling(query, answering).await? else {
            return Ok(None);
        };
        if rolling.series.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Some(0));
        }
        let asked = self.asking.rows_of_a_moment(move |conn| {
            Box::pin(async move {
                let cover = rolling.cover(conn).await?;
                let mut statement = rolling.statement(&cover);
                statement.sql.insert_str(0, "EXPLAIN FORMAT=TRADITIONAL ");
                Ok((statement, ()))
            })
        });
        let (rows, ()) = asked.await?;
        Ok(Some(expected_rows_of(&rows)))
    }
}

//! The control: readings that the table took once. When they are refused as well, it is the table that is to blame.
//!
//! The start proves with such a reading what everything rests on: a transaction shows nothing to others before it is
//! committed, a rollback leaves nothing behind, and a bad value is an error.

use std::time::{SystemTime, UNIX_EPOCH};

use mysql_async::{Conn, prelude::Queryable as _};
use tracing::warn;

use super::{
    connection::Connector,
    error::explain,
    ledger::quote,
    load,
    series::{NO_NUMBER, Numbers},
    table::Table,
    tsv::is_dropped,
};
use crate::{
    ledger::DroppedRows,
    model::{Limits, Reading, Rejection, Series},
    repository::{LoadBatch, RepositoryError},
};

/// Beside the row that is loaded; ids of readings begin above.
const PROBE_ID: u64 = 0;
/// In a table of somebody's own, where 0 may be a reading's.
const FAR_PROBE_ID: u64 = i64::MAX as u64 - 1;

fn probe_id(table: &Table) -> u64 {
    match table.names.are_given() {
        true => FAR_PROBE_ID,
        false => PROBE_ID,
    }
}
const PROBE: &str = "sluicegate probe ";

/// What a refusal is held against.
#[derive(Debug)]
pub(super) struct Control {
    /// The last reading that this lane committed.
    pub(super) last: Option<Taken>,
    /// The one that the table took at start.
    pub(super) probe: Option<Taken>,
}

/// A reading that the table took.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) reading: Reading,
    /// Of its series, where readings have it.
    pub(super) number: u32,
}

impl Control {
    /// What a refusal is held against: the table is to blame when all of them are refused as well. The probe's texts are
    /// as long as its columns were at start.
    pub(super) fn readings_for(&self, is_too_long: bool) -> impl Iterator<Item = &Taken> {
        let last = self.last.as_ref();
        let last = last.filter(|_| !is_too_long || self.probe.is_none());
        last.into_iter().chain(&self.probe)
    }
}

/// The last row of a batch, unless it was left out or refused.
pub(super) fn last_taken(
    batch: &dyn LoadBatch,
    numbers: &Numbers,
    dropped: &DroppedRows,
    refused: &[(u32, Rejection)],
) -> Option<Taken> {
    let (arrival, reading) = batch.row(batch.rows().checked_sub(1)?);
    let is_refused = refused.iter().any(|&(row, _)| row == arrival);
    let number = numbers.at(batch.columns().series[arrival as usize]);
    (!is_refused && !is_dropped(dropped, arrival)).then_some(Taken { reading, number })
}

/// A reading of now with the longest texts that the table was found to hold.
fn probe(limits: &Limits) -> Reading {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_us = now.map_or(0, |since| since.as_micros() as i64);
    let text = |chars: usize| PROBE.chars().chain(std::iter::repeat('.')).take(chars);
    Reading {
        series: Series {
            id1: 0,
            id2: text(limits.id2_max_chars).collect(),
            sensor_type: text(limits.sensor_type_max_chars).collect(),
        },
        sensor_value: 0.0,
        timestamp_us: now_us.clamp(limits.timestamp.min_us, limits.timestamp.max_us),
    }
}

/// Proves what ingestion rests on, and returns the reading that was taken; None when constraints or triggers of the table
/// refuse it, so that nothing can be proved.
///
/// # Errors
/// One sentence when the table's engine does not keep transactions, when it stores bad values, and when the table takes
/// no reading at all.
pub(super) async fn prove(
    connector: &Connector,
    conn: &mut Conn,
    table: &Table,
) -> Result<Option<Taken>, RepositoryError> {
    let probe = Taken {
        reading: probe(&table.limits),
        number: NO_NUMBER,
    };
    let reading = &probe.reading;
    let series = match table.format.numbered {
        true => format!("series_id = {}", probe.number),
        false => format!("id1 = 0 AND id2 = {}", quote(&reading.series.id2)),
    };
    let found = format!(
        "FROM {} WHERE ts = {} AND {series}",
        table.layout.table(),
        quote(&table.format.timestamp(reading.timestamp_us)),
    );
    let found = table.names.said(&found).into_owned();
    run(conn, "START TRANSACTION").await?;
    let line = table.format.line(reading, probe.number, probe_id(table));
    match load::line(conn, table, line).await {
        Ok(()) => {}
        Err(RepositoryError::Data(reason)) => {
            warn!(
                reason,
                "the table refuses the reading that is to prove its transactions: they remain unproved"
            );
            run(conn, "ROLLBACK").await?;
            return Ok(None);
        }
        Err(RepositoryError::Table(reason)) => {
            return Err(refuse(table, &format!("takes no reading: {reason}")));
        }
        Err(other) => return Err(other),
    }
    let seen = count(&mut connector.connect().await?, &found).await? > 0;
    let bad = not_a_number(table, &probe);
    let takes_bad = load::line(conn, table, bad).await.is_ok();
    run(conn, "ROLLBACK").await?;
    let stays = count(conn, &found).await? > 0;
    if seen || stays {
        run(conn, &format!("DELETE {found}")).await?;
        let what = format!(
            "does not keep transactions: others see a reading before its COMMIT, or it stays after a ROLLBACK. Run ALTER \
             TABLE {} ENGINE = InnoDB",
            table.name
        );
        return Err(refuse(table, &what));
    }
    if takes_bad {
        return Err(refuse(
            table,
            "stores NaN as something else without an error: this server cannot be used",
        ));
    }
    Ok(Some(probe))
}

fn refuse(table: &Table, what: &str) -> RepositoryError {
    RepositoryError::Setup(format!("{} {what}", table.name))
}

fn not_a_number(table: &Table, probe: &Taken) -> Vec<u8> {
    let reading = Reading {
        sensor_value: f64::NAN,
        ..probe.reading.clone()
    };
    table
        .format
        .line(&reading, probe.number, probe_id(table) + 1)
}

async fn run(conn: &mut Conn, statement: &str) -> Result<(), RepositoryError> {
    conn.query_drop(statement).await.map_err(explain)
}

async fn count(conn: &mut Conn, found: &str) -> Result<u64, RepositoryError> {
    let count: Option<u64> = conn
        .query_first(format!("SELECT COUNT(*) {found}"))
        .await
        .map_err(explain)?;
    Ok(count.unwrap_or_default())
}

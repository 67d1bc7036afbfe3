//! The ledger and the books are held to the table.

use anyhow::{Context as _, Result};
use mysql_async::prelude::Queryable as _;

use crate::{
    database::Schema,
    process::until,
    service::Service,
    verdict::{Found, hold},
};

/// Ledger and tables at one instant agree, and ids are unique (P6). Rows of half a batch would show here (P3).
pub(crate) async fn hold_ledger(schema: &Schema) -> Result<()> {
    let sql = "SELECT (SELECT CAST(COALESCE(SUM(committed), 0) AS UNSIGNED) FROM ingest_streams), \
               (SELECT CAST(COALESCE(SUM(rejected), 0) AS UNSIGNED) FROM ingest_streams), \
               (SELECT COUNT(*) FROM sensor_readings), (SELECT COUNT(DISTINCT id) FROM sensor_readings), \
               (SELECT COUNT(*) FROM rejected_readings), \
               (SELECT COUNT(*) FROM ingest_streams WHERE stream_id NOT LIKE 'lane:%' \
                AND committed + rejected <> committed_seq)";
    type Sums = (u64, u64, u64, u64, u64, u64);
    let mut conn = schema.connect().await?;
    let sums: Option<Sums> = conn.query_first(sql).await?;
    conn.disconnect().await?;
    let (committed, rejected, rows, ids, quarantined, unbalanced) = sums.context("no sums")?;
    if committed != rows {
        let what = format!("the ledger has {committed} readings, the table {rows}");
        return Err(Found::twice(what, committed.saturating_sub(rows)).into());
    }
    hold!(ids == rows, "{rows} rows have {ids} ids");
    hold!(
        rejected == quarantined,
        "the ledger has {rejected} rejected, quarantine {quarantined}"
    );
    hold!(
        unbalanced == 0,
        "{unbalanced} streams are not the sum of their parts"
    );
    Ok(())
}

/// What instances have in their books as committed is what lies in the table (P6): those that have stored all of it, none
/// of them started anew meanwhile.
pub(crate) async fn hold_stored(schema: &Schema, services: &[&Service]) -> Result<()> {
    let mut committed = 0;
    for service in services {
        committed += service.readiness().await?.books.committed;
    }
    let rows = schema
        .number("SELECT COUNT(*) FROM sensor_readings")
        .await?;
    hold!(
        committed == rows,
        "the books have {committed} readings committed, the table holds {rows}"
    );
    Ok(())
}

/// How many rows the table holds beyond what the ledger says, at one instant: a part of a batch that is visible.
pub(crate) async fn partial_rows(schema: &Schema) -> Result<u64> {
    let sql = "SELECT CAST(ABS(CAST((SELECT COUNT(*) FROM sensor_readings) AS SIGNED) \
               - CAST((SELECT COALESCE(SUM(committed), 0) FROM ingest_streams) AS SIGNED)) AS UNSIGNED)";
    schema.number(sql).await
}

/// Waits until nothing is in flight. That the books of an instance balance is held at every look at them (P6).
pub(crate) async fn hold_books(service: &Service) -> Result<()> {
    until("nothing is in flight", || async {
        let readiness = service.readiness().await?;
        Ok(readiness.books.in_flight == 0 && readiness.in_flight_bytes == 0)
    })
    .await
}

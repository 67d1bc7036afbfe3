//! The judge: `sluicegen verify` holds the table to the journals, and the ledger and the books are held to the table.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use mysql_async::prelude::Queryable as _;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{database::Schema, lab::Lab, process::until, service::Service};

/// What `sluicegen verify --json` says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Every run came to its end.
    pub(crate) complete: bool,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) rejected: u64,
    /// Without an acknowledgement.
    pub(crate) open: u64,
    pub(crate) found: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) altered: u64,
    pub(crate) unexpected: u64,
}

/// Something that must not be. The control asks for it by its type: no other failure will do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Found {
    what: String,
    /// Readings that are there twice, where that is what was found.
    pub(crate) twice: u64,
    /// What the judge counted, where it was the counts that must not be.
    verdict: Option<Verdict>,
}

macro_rules! hold {
    ($holds:expr, $($what:tt)*) => {
        let holds: bool = $holds;
        if !holds {
            return Err($crate::judge::Found::new(format!($($what)*)).into());
        }
    };
}
pub(crate) use hold;

impl Found {
    pub(crate) fn new(what: String) -> Self {
        Self {
            what,
            twice: 0,
            verdict: None,
        }
    }

    /// What the judge counted in a case that failed; nothing where the case failed before that or for another reason.
    pub(crate) fn counts(error: &anyhow::Error) -> Verdict {
        let verdict = error
            .downcast_ref::<Self>()
            .and_then(|found| found.verdict.clone());
        verdict.unwrap_or_default()
    }
}

impl Verdict {
    /// Of nothing, to add parts to.
    pub(crate) fn none() -> Self {
        Self {
            complete: true,
            ..Self::default()
        }
    }

    /// Reconciles journals with the table.
    pub(crate) async fn of(lab: &Lab, schema: &Schema, journals: &[PathBuf]) -> Result<Self> {
        let mut command = Command::new(&lab.programs.sluicegen);
        command
            .args(["verify", "--json", "--database-url", &schema.admin_url()])
            .arg("--journal")
            .args(journals)
            .kill_on_drop(true);
        let output = command.output().await?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("verify ended with {}: {said}", output.status)
        })
    }

    /// Everything that was sent is settled, once and unchanged (P1 to P3).
    pub(crate) fn hold(&self) -> Result<()> {
        let settled = self.complete && self.open == 0;
        let what = if self.lost + self.duplicated + self.altered + self.unexpected > 0 {
            "the table is not what was acknowledged"
        } else if !settled || self.sent != self.acknowledged + self.rejected {
            "not everything was settled"
        } else if self.found != self.acknowledged {
            "rows beyond the journal"
        } else {
            return Ok(());
        };
        Err(Found {
            what: format!("{what}: {self:?}"),
            twice: self.duplicated,
            verdict: Some(self.clone()),
        }
        .into())
    }

    /// Whether there was nothing to judge, or no judge: its zeros say nothing.
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.sent == 0 && self.found == 0
    }

    /// Adds another part of the same case.
    pub(crate) fn add(&mut self, other: &Self) {
        self.complete &= other.complete;
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        self.open += other.open;
        self.found += other.found;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.altered += other.altered;
        self.unexpected += other.unexpected;
    }
}

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
        return Err(Found {
            what: format!("the ledger has {committed} readings, the table {rows}"),
            twice: committed.saturating_sub(rows),
            verdict: None,
        }
        .into());
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

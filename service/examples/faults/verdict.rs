//! What `sluicegen verify` says of a table, and findings: what must not be.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{database::Schema, lab::Lab};

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
            return Err($crate::verdict::Found::new(format!($($what)*)).into());
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

    /// Readings that are there twice.
    pub(crate) fn twice(what: String, twice: u64) -> Self {
        Self {
            twice,
            ..Self::new(what)
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
        Self::told(lab, ["--database-url", &schema.admin_url()], journals).await
    }

    /// The same, as REST tells what the table holds.
    pub(crate) async fn over_rest(
        lab: &Lab,
        rest: SocketAddr,
        journals: &[PathBuf],
    ) -> Result<Self> {
        Self::told(lab, ["--rest", &format!("http://{rest}")], journals).await
    }

    async fn told(lab: &Lab, source: [&str; 2], journals: &[PathBuf]) -> Result<Self> {
        let mut command = Command::new(&lab.programs.sluicegen);
        command
            .args(["verify", "--json"])
            .args(source)
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

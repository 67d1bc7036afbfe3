//! The outcome of `verify`.

use std::{process::ExitCode, time::Duration};

use comfy_table::{CellAlignment, Table};
use indicatif::HumanCount;
use serde::Serialize;

use crate::{
    error::Error,
    journal::{Entry, Fate, Journal},
    tables,
};

/// Examples that are shown of each verdict.
const EXAMPLES: usize = 5;

/// What can be wrong with a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Acknowledged, and not in the table.
    Lost,
    /// In the table more often than it was sent.
    Duplicated,
    /// In the table with another value or type.
    Altered,
    /// In the table and never sent, for ids and a time that the run did send.
    Unexpected,
}

/// One reading that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// What is wrong with it.
    pub verdict: Verdict,
    /// Its id1.
    pub id1: i32,
    /// Its id2.
    pub id2: String,
    /// Microseconds since the Unix epoch.
    pub timestamp_us: i64,
    /// Type and value as they were sent.
    pub sent: Option<String>,
    /// Type and value as they are stored.
    pub found: Option<String>,
}

/// The books of the journals, held against the table.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerifyReport {
    /// True when every run came to its end; otherwise `sent` counts what may have been sent.
    pub complete: bool,
    /// Readings that were sent.
    pub sent: u64,
    /// Readings that were acknowledged as stored.
    pub acknowledged: u64,
    /// Readings that were acknowledged as rejected.
    pub rejected: u64,
    /// Of these, the ones that the service counted but did not name: so many may be missing.
    pub rejected_unnamed: u64,
    /// Not in the table, and acknowledged either as stored or as rejected without being named: lost or not, nothing says.
    pub unproven: u64,
    /// Readings without an acknowledgement: they may be stored or not.
    pub open: u64,
    /// Rows of these ids in the time of the runs.
    pub found: u64,
    /// Acknowledged, and not in the table.
    pub lost: u64,
    /// In the table more often than sent.
    pub duplicated: u64,
    /// In the table with another value or type.
    pub altered: u64,
    /// In the table and never sent.
    pub unexpected: u64,
    /// How long it took.
    pub seconds: f64,
    /// Some of what is wrong.
    pub examples: Vec<Example>,
    #[serde(skip)]
    counted_as_rejected: u64,
}

impl VerifyReport {
    pub(super) fn new(journals: &[Journal]) -> Self {
        Self {
            complete: journals.iter().all(Journal::complete),
            counted_as_rejected: journals.iter().map(Journal::rejected).sum(),
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, entry: &Entry<'_>) {
        self.sent += 1;
        match entry.fate {
            Fate::Stored => self.acknowledged += 1,
            Fate::Rejected => self.rejected += 1,
            Fate::Open => self.open += 1,
        }
    }

    pub(super) fn judge(&mut self, verdict: Verdict, example: impl FnOnce() -> Example) {
        let count = match verdict {
            Verdict::Lost => &mut self.lost,
            Verdict::Duplicated => &mut self.duplicated,
            Verdict::Altered => &mut self.altered,
            Verdict::Unexpected => &mut self.unexpected,
        };
        *count += 1;
        if *count <= EXAMPLES as u64 {
            self.examples.push(example());
        }
    }

    pub(super) fn finish(&mut self, took: Duration) {
        self.seconds = took.as_secs_f64();
        self.rejected_unnamed = self.counted_as_rejected.saturating_sub(self.rejected);
        let unproven = self.lost.min(self.rejected_unnamed);
        self.lost -= unproven;
        self.unproven = unproven;
        if self.lost == 0 {
            self.examples
                .retain(|example| example.verdict != Verdict::Lost);
        }
        self.acknowledged -= self.rejected_unnamed.min(self.acknowledged);
        self.rejected += self.rejected_unnamed;
    }

    /// True when nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.unproven + self.duplicated + self.altered + self.unexpected == 0
    }

    /// 0 when nothing is wrong, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(!self.is_clean()))
    }

    /// Writes the report to stdout.
    ///
    /// # Errors
    /// When it cannot be made into JSON.
    pub fn print(&self, json: bool) -> Result<(), Error> {
        if json {
            let text = serde_json::to_string_pretty(self)
                .map_err(|error| Error::Report(error.to_string()))?;
            println!("{text}");
            return Ok(());
        }
        println!("{}", self.table());
        for example in &self.examples {
            let nothing = "nothing".to_owned();
            eprintln!(
                "{:?}: id1 {}, id2 {}, {} us: sent {}, found {}",
                example.verdict,
                example.id1,
                example.id2,
                example.timestamp_us,
                example.sent.as_ref().unwrap_or(&nothing),
                example.found.as_ref().unwrap_or(&nothing),
            );
        }
        if self.unproven > 0 {
            eprintln!(
                "sluicegen: {} that are not in the table may be among the {} that the service rejected without naming \
                 them: its quarantine has all of them",
                HumanCount(self.unproven),
                HumanCount(self.rejected_unnamed),
            );
        }
        if !self.complete {
            eprintln!(
                "sluicegen: a run did not come to its end: what it had no answer for counts as open"
            );
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = tables::new();
        let open = match self.complete {
            true => "open",
            false => "open (at most)",
        };
        for (name, count) in [
            ("sent", self.sent),
            ("acknowledged", self.acknowledged),
            ("rejected", self.rejected),
            (open, self.open),
            ("found", self.found),
            ("lost", self.lost),
            ("lost or rejected", self.unproven),
            ("duplicated", self.duplicated),
            ("altered", self.altered),
            ("unexpected", self.unexpected),
        ] {
            table.add_row([name.to_owned(), HumanCount(count).to_string()]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_rejected_instead_of_lost_is_not_proven() {
        let mut report = VerifyReport {
            acknowledged: 10,
            lost: 3,
            counted_as_rejected: 2,
            ..VerifyReport::default()
        };
        report.finish(Duration::ZERO);
        let counts = (report.acknowledged, report.rejected, report.lost);
        assert_eq!((counts, report.unproven), ((8, 2, 1), 2));
        report.lost = 0;
        assert!(!report.is_clean());
        report.unproven = 0;
        assert!(report.is_clean());
    }
}

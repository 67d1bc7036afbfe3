//! What a forward has done: a table for people, JSON for scripts.

use std::process::ExitCode;

use comfy_table::CellAlignment;
use indicatif::HumanCount;
use serde::Serialize;
use sluicegate_decode::Counts;
use sluicegate_proto::spool::SpoolProgress;

use crate::{error::Error, rejections::Rejection, tables};

/// The result of `forward`. Counts are of this run, but for those that say otherwise.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ForwardReport {
    /// Readings that were taken into the spool, and are durable there.
    pub taken: u64,
    /// Readings that the spool still has for the next time.
    pub spooled: u64,
    /// Bytes that the spool takes on the disk.
    pub spool_bytes: u64,
    /// Readings that were handed to the service, again where that was necessary.
    pub forwarded: u64,
    /// Readings that are stored.
    pub committed: u64,
    /// Readings that the service refused one by one.
    pub rejected: u64,
    /// Readings that the service had already.
    pub duplicate: u64,
    /// Readings that were dropped because the spool was full.
    pub dropped: u64,
    /// The same, since the spool was made.
    pub dropped_ever: u64,
    /// Readings that could not be read back from the disk, since the spool was made.
    pub damaged_ever: u64,
    /// Readings that were read and found no place in the spool before the end.
    pub unsaved: u64,
    /// Lines, or values of lines, that are no readings.
    pub bad_lines: u64,
    /// Values that are no numbers, beside others that are.
    pub left_out: u64,
    /// Attempts to go on after a failure.
    pub reconnects: u64,
    /// From the start to the end.
    pub seconds: f64,
    /// Why readings were rejected, in the service's words; the most frequent reason first.
    pub rejections: Vec<Rejection>,
    /// What ended it early.
    pub errors: Vec<String>,
}

impl ForwardReport {
    /// Takes the counts of the spool, which stood at `began` when it was opened.
    pub(super) fn of(began: &SpoolProgress, now: &SpoolProgress, counts: Counts) -> Self {
        let books = now.books;
        Self {
            taken: now.durable - began.durable,
            spooled: now.pending,
            spool_bytes: now.used_bytes,
            forwarded: books.forwarded,
            committed: books.committed,
            rejected: books.rejected,
            duplicate: books.duplicate,
            dropped: now.dropped - began.dropped,
            dropped_ever: now.dropped,
            damaged_ever: now.damaged,
            bad_lines: counts.faults,
            left_out: counts.left_out,
            reconnects: books.reconnects,
            ..Self::default()
        }
    }

    /// 0 when it ended as it was told to, else 1. What was dropped, rejected or left out is counted, and no failure of the
    /// command.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(!self.errors.is_empty()))
    }

    /// Writes the report to stdout.
    ///
    /// # Errors
    /// When it cannot be made into JSON.
    pub fn print(&self, json: bool) -> Result<(), Error> {
        match json {
            true => {
                let text = serde_json::to_string_pretty(self);
                println!(
                    "{}",
                    text.map_err(|error| Error::Report(error.to_string()))?
                );
            }
            false => println!("{}", self.table()),
        }
        for rejection in &self.rejections {
            let readings = HumanCount(rejection.readings);
            eprintln!("sluicegen: {readings} rejected: {}", rejection.reason);
        }
        for (count, what) in [
            (self.dropped, "were dropped because the spool was full"),
            (
                self.unsaved,
                "were read and are not in the spool, which is full: they are lost, unless the input gives them again",
            ),
            (
                self.bad_lines,
                "bad lines, or values of lines, were skipped",
            ),
        ] {
            if count > 0 {
                eprintln!("sluicegen: {} {what}", HumanCount(count));
            }
        }
        for error in &self.errors {
            eprintln!("sluicegen: {error}");
        }
        Ok(())
    }

    fn table(&self) -> comfy_table::Table {
        let mut table = tables::new();
        for (name, count) in [
            ("taken", self.taken),
            ("forwarded", self.forwarded),
            ("committed", self.committed),
            ("rejected", self.rejected),
            ("duplicate", self.duplicate),
            ("left in the spool", self.spooled),
            ("dropped", self.dropped),
            ("bad lines", self.bad_lines),
            ("reconnects", self.reconnects),
        ] {
            table.add_row([name.to_owned(), HumanCount(count).to_string()]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

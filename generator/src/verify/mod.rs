//! `sluicegen verify`: holds the database to what the journals of runs say.
//!
//! Readings are made again from the journal. Both sides are first summed up by slices of time, in a hash that does not
//! depend on the order; only slices whose sums differ are compared reading by reading. So neither side is ever in memory
//! as a whole, and nothing is sorted on disk.

mod compare;
mod report;
mod row;
mod rows;
mod rows_mysql;
mod rows_rest;
mod slices;

use std::{path::PathBuf, time::Instant};

use clap::Args;

pub use self::report::{Example, Verdict, VerifyReport};
use self::{
    compare::{Comparison, Ids},
    rows::Table,
    slices::Slices,
};
use crate::{
    access::Access,
    error::Error,
    journal::{Entry, Fate, Journal},
};

/// Readings and rows that are compared in memory at a time.
const COMPARED_AT_ONCE: u64 = 1_000_000;

/// Which journals, and where the readings should be.
#[derive(Debug, Clone, Args)]
pub struct VerifyOptions {
    /// A journal of sluicegen run --journal; give all journals of runs that share series and time.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub journal: Vec<PathBuf>,
    /// The management API of the service.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        env = "SLUICEGEN_REST",
        conflicts_with = "database_url"
    )]
    pub rest: String,
    /// With --rest.
    #[command(flatten)]
    pub access: Access,
    /// Read the table directly: mysql://user:password@host:3306/database. ?ssl-mode=verify-identity behind it demands TLS and
    /// proves the server, with &ssl-ca=FILE for an authority of your own.
    #[arg(long, value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Let the password of --database-url go to a server on another host that TLS does not verify.
    #[arg(long)]
    pub database_insecure: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Reconciles the journals with the database.
///
/// # Errors
/// When a journal cannot be used, or the database cannot be read.
pub async fn verify(options: &VerifyOptions) -> Result<VerifyReport, Error> {
    let started = Instant::now();
    let journals = options
        .journal
        .iter()
        .map(|path| Journal::read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let mut table = Table::open(options).await?;
    let mut report = VerifyReport::new(&journals);
    let sent = Sent {
        journals,
        unit_us: table.unit_us(),
    };
    if let Some(extent) = sent.extent(&mut report) {
        let mut ids = Ids::of(&sent.journals);
        let mut slices = sent.sum_up(&extent);
        let (from_us, to_us) = slices.range();
        let pass = table.each(from_us, to_us, |row| {
            if ids.pair(row.id1, row.id2).is_some() {
                report.found += 1;
                slices.found(row);
            }
        });
        pass.await?;
        for part in slices.differing(COMPARED_AT_ONCE) {
            let mut comparison = Comparison::new(&mut ids, &part);
            sent.each(|entry, at_us| {
                if part.contains_time(at_us) {
                    comparison.sent(entry, at_us);
                }
            });
            for (from_us, to_us) in part.ranges() {
                table
                    .each(from_us, to_us, |row| comparison.found(row))
                    .await?;
            }
            comparison.judge(&mut report);
        }
    }
    report.finish(started.elapsed());
    Ok(report)
}

/// The readings that count: all but the rejected ones, with times as the table can hold them.
struct Sent {
    journals: Vec<Journal>,
    unit_us: i64,
}

impl Sent {
    fn each(&self, mut take: impl FnMut(&Entry<'_>, i64)) {
        for journal in &self.journals {
            journal.each(|entry| {
                if let Some(at_us) = self.counts(entry) {
                    take(entry, at_us);
                }
            });
        }
    }

    /// The time of a reading that counts.
    fn counts(&self, entry: &Entry<'_>) -> Option<i64> {
        let at_us = entry.made.timestamp_us;
        (entry.fate != Fate::Rejected && !entry.made.bad)
            .then(|| at_us - at_us.rem_euclid(self.unit_us))
    }

    /// First and last time and the number of readings, where there is anything; and the books.
    fn extent(&self, report: &mut VerifyReport) -> Option<Extent> {
        let mut extent: Option<Extent> = None;
        for journal in &self.journals {
            journal.each(|entry| {
                report.count(entry);
                let Some(at_us) = self.counts(entry) else {
                    return;
                };
                let extent = extent.get_or_insert(Extent {
                    first_us: at_us,
                    last_us: at_us,
                    readings: 0,
                });
                extent.first_us = at_us.min(extent.first_us);
                extent.last_us = at_us.max(extent.last_us);
                extent.readings += 1;
            });
        }
        extent
    }

    fn sum_up(&self, extent: &Extent) -> Slices {
        let mut slices = Slices::new(
            extent.first_us,
            extent.last_us,
            self.unit_us,
            extent.readings,
        );
        self.each(|entry, at_us| slices.sent(entry, at_us));
        slices
    }
}

struct Extent {
    first_us: i64,
    last_us: i64,
    readings: u64,
}

//! The LOAD statements of one batch, and the search for readings that the database refuses.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    control::Control,
    error::explain,
    infile::Infile,
    load::{self, Refused},
    table::Table,
    tsv::SeriesNames,
};
use crate::{
    ledger::DroppedRows,
    model::{Fault, KeptSeries, Rejection, Seq},
    repository::{LoadBatch, RepositoryError, RowIds},
};

/// As long as neither a reading nor the control was taken, no more readings than this are looked at: it is the table.
const SUSPECTS_MAX: usize = 64;

/// The load of a batch's rows, inside its transaction.
pub(super) struct RowLoad<'a> {
    pub(super) conn: &'a mut Conn,
    pub(super) table: &'a Table,
    pub(super) batch: &'a Arc<dyn LoadBatch>,
    pub(super) names: Arc<SeriesNames>,
    pub(super) ids: RowIds,
    /// Without those whose series were refused.
    pub(super) dropped: Arc<DroppedRows>,
    /// Rows whose series were not let in, in order of arrival, and why.
    pub(super) unnamed: Vec<(u32, Fault)>,
    pub(super) control: &'a Control,
    /// An error of unknown meaning is held against the readings.
    pub(super) puzzled: bool,
    /// The last refusal was of a text that is too long for its column.
    pub(super) is_too_long: bool,
    /// It was for want of a row in another table.
    pub(super) has_no_parent: bool,
}

/// What a search came to.
pub(super) enum Found {
    /// All but these rows are loaded.
    Refused(Vec<(u32, Rejection)>),
    /// It was given up; these rows are among those refused, the first for that reason.
    TooMany { arrivals: Vec<u32>, reason: String },
}

/// Whether the table takes readings at all.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    /// The control was refused as well, for this reason.
    Suspect(String),
    Takes,
}

impl RowLoad<'_> {
    /// Loads the rows. Where the database refuses the data, halves the range until the offenders are found; everything
    /// else is loaded (P5).
    ///
    /// # Errors
    /// `Table` when no reading is taken and what was taken before is refused alike.
    pub(super) async fn load(&mut self, refused_max: usize) -> Result<Found, RepositoryError> {
        let unnamed = std::mem::take(&mut self.unnamed).into_iter();
        let mut refused: Vec<_> = unnamed
            .map(|(arrival, fault)| (arrival, self.rejection(arrival, fault)))
            .collect();
        if refused.len() > refused_max {
            return Ok(too_many(refused));
        }
        let unnamed = refused.len();
        let mut verdict = Verdict::Open;
        let whole = 0..self.batch.rows();
        let mut ranges = vec![whole];
        while let Some(range) = ranges.pop() {
            let refusal = match self.load_range(range.clone()).await {
                Ok(sent) => {
                    if sent > 0 {
                        verdict = Verdict::Takes;
                    }
                    continue;
                }
                Err(RepositoryError::Data(reason)) => reason,
                Err(other) => return Err(other),
            };
            self.undo().await?;
            if range.len() > 1 {
                let middle = range.start + range.len() as u32 / 2;
                ranges.extend([middle..range.end, range.start..middle]);
                continue;
            }
            // A row that another table has no more says nothing of the table: what was taken before may be refused as well.
            if verdict == Verdict::Open && !self.has_no_parent {
                verdict = self.hold_against_control(range.start, &refusal).await?;
            }
            let arrival = self.batch.columns().arrival(range.start);
            let fault = Fault::RefusedByDatabase(refusal);
            refused.push((arrival, self.rejection(arrival, fault)));
            match &verdict {
                Verdict::Suspect(_) if refused.len() - unnamed >= SUSPECTS_MAX => break,
                _ if refused.len() > refused_max => return Ok(too_many(refused)),
                _ => {}
            }
        }
        match verdict {
            Verdict::Suspect(reason) => Err(RepositoryError::Table(reason)),
            Verdict::Open | Verdict::Takes => Ok(Found::Refused(refused)),
        }
    }

    fn rejection(&self, arrival: u32, fault: Fault) -> Rejection {
        let reading = self.batch.reading(arrival);
        let series = &reading.series;
        Rejection {
            seq: Seq(0),
            fault,
            series: KeptSeries::of(series.id1, &series.id2, &series.sensor_type),
            sensor_value: reading.sensor_value,
            timestamp_us: reading.timestamp_us,
        }
    }

    /// Whether readings that the table took before are refused now. They are loaded in the place of the refused one, and
    /// taken out again.
    async fn hold_against_control(
        &mut self,
        position: u32,
        reason: &str,
    ) -> Result<Verdict, RepositoryError> {
        let id = self.ids.at(position);
        let mut refused = None;
        for taken in self.control.readings_for(self.is_too_long) {
            let line = self.table.format.line(&taken.reading, taken.number, id);
            let taken = load::line(self.conn, self.table, line).await;
            self.undo().await?;
            match taken {
                Ok(()) => return Ok(Verdict::Takes),
                Err(RepositoryError::Data(_)) => refused = Some(reason.to_owned()),
                Err(other) => return Err(other),
            }
        }
        Ok(refused.map_or(Verdict::Takes, Verdict::Suspect))
    }

    /// A failed statement is undone by itself; one that coerced or skipped rows is not.
    async fn undo(&mut self) -> Result<(), RepositoryError> {
        self.conn
            .query_drop("ROLLBACK TO SAVEPOINT before_load")
            .await
            .map_err(explain)
    }

    /// How many rows were sent and taken.
    async fn load_range(&mut self, positions: Range<u32>) -> Result<u32, RepositoryError> {
        if positions.is_empty() {
            return Ok(0);
        }
        let sent = Arc::new(AtomicU32::new(0));
        let file = Infile {
            batch: self.batch.clone(),
            names: self.names.clone(),
            positions,
            dropped: self.dropped.clone(),
            format: self.table.format,
            ids: self.ids,
            sent: sent.clone(),
        };
        self.conn
            .set_infile_handler(async move { Ok(file.chunks()) });
        let loaded = load::run(self.conn, self.table, || sent.load(Ordering::Relaxed)).await;
        self.is_too_long = matches!(&loaded, Err(Refused::TooLong(_)));
        self.has_no_parent = matches!(&loaded, Err(Refused::NoParent(_)));
        match loaded.map_err(RepositoryError::from) {
            Err(RepositoryError::Other(reason)) if self.puzzled => {
                Err(RepositoryError::Data(reason))
            }
            Err(other) => Err(other),
            Ok(()) => Ok(sent.load(Ordering::Relaxed)),
        }
    }
}

fn too_many(refused: Vec<(u32, Rejection)>) -> Found {
    let reason = refused
        .first()
        .map_or_else(String::new, |(_, first)| first.fault.to_string());
    Found::TooMany {
        arrivals: refused.into_iter().map(|(arrival, _)| arrival).collect(),
        reason,
    }
}

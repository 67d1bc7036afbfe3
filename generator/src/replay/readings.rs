//! A CSV text as readings, in long form (one per line) or wide form (one column per sensor type).

use std::{collections::VecDeque, mem::discriminant};

use super::{
    columns::{Columns, Kind},
    input::Input,
    number,
    options::Meaning,
    rows::Rows,
    time::{Clock, Remark, Zone},
};
use crate::error::CsvError;

/// One reading of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) id1: i32,
    pub(super) id2: String,
    pub(super) sensor_type: String,
    pub(super) value: f64,
    /// Since the Unix epoch, UTC.
    pub(super) timestamp_us: i64,
}

/// The readings of a file in their order, and the first mistake.
pub(super) struct Readings {
    rows: Rows,
    columns: Columns,
    meaning: Meaning,
    clock: Clock,
    /// The readings of the line that was read last.
    line: VecDeque<Reading>,
    /// Lines of a long file without a value.
    skipped: u64,
    remarked: Vec<Remark>,
    notes: Vec<String>,
}

/// What a file has that was read to its end without a mistake.
#[derive(Debug)]
pub(super) struct Checked {
    /// Readings in it.
    pub(super) readings: u64,
    /// Cells without a value.
    pub(super) skipped: u64,
    /// What was left out, cut or decided, a sentence each.
    pub(super) notes: Vec<String>,
    columns: Columns,
}

/// Reads all of the input and keeps none of it.
pub(super) fn check(input: &Input, meaning: &Meaning) -> Result<Checked, CsvError> {
    let mut notes = Vec::new();
    let mut rows = Rows::open(input, meaning.dialect)?;
    let columns = Columns::find(&mut rows, &meaning.form, &mut notes)?;
    let mut all = Readings::new(rows, columns, meaning);
    let mut readings = 0;
    for reading in all.by_ref() {
        reading?;
        readings += 1;
    }
    let columns = all.columns.without_text(&all.rows, &mut notes)?;
    notes.append(&mut all.notes);
    if readings == 0 {
        notes.push(format!("{}: there is no reading in it", all.rows.file()));
    }
    Ok(Checked {
        readings,
        skipped: all.skipped + columns.skipped(),
        notes,
        columns,
    })
}

impl Readings {
    fn new(rows: Rows, columns: Columns, meaning: &Meaning) -> Self {
        Self {
            rows,
            columns,
            meaning: meaning.clone(),
            clock: Clock::new(&meaning.time),
            line: VecDeque::new(),
            skipped: 0,
            remarked: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The readings of an input that was checked.
    pub(super) fn of(
        input: &Input,
        meaning: &Meaning,
        checked: &Checked,
    ) -> Result<Self, CsvError> {
        let rows = Rows::open(input, meaning.dialect)?;
        Ok(Self::new(rows, checked.columns.clone(), meaning))
    }

    /// Reads a line into `self.line`; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, CsvError> {
        if !self.rows.advance()? {
            return Ok(false);
        }
        match self.columns {
            Columns::Long { .. } => self.read_long()?,
            Columns::Wide { .. } => self.read_wide()?,
        }
        Ok(true)
    }

    fn read_long(&mut self) -> Result<(), CsvError> {
        let Columns::Long {
            time,
            value,
            sensor_type,
            id1,
            id2,
        } = self.columns
        else {
            return Ok(());
        };
        if self.meaning.is_none(self.rows.word(value)) {
            self.skipped += 1;
            return Ok(());
        }
        let timestamp_us = self.time(time)?;
        let rows = &self.rows;
        let word = rows.word(value);
        let decimal = self.meaning.decimal;
        let reading = Reading {
            id1: rows.word(id1).parse().map_err(|_| {
                let is = "is no whole number from -2147483648 to 2147483647: --id1-column names another column";
                rows.mistake(id1, is)
            })?,
            id2: rows.text(id2).to_owned(),
            sensor_type: rows.text(sensor_type).to_owned(),
            value: number::read(word, decimal)
                .map_err(|no| rows.mistake(value, &no.reason(word, decimal)))?,
            timestamp_us,
        };
        self.line.push_back(reading);
        Ok(())
    }

    fn read_wide(&mut self) -> Result<(), CsvError> {
        let Columns::Wide { time, .. } = self.columns else {
            return Ok(());
        };
        let timestamp_us = self.time(time)?;
        let Columns::Wide {
            values, id1, id2, ..
        } = &mut self.columns
        else {
            return Ok(());
        };
        let (rows, decimal) = (&self.rows, self.meaning.decimal);
        for column in values {
            let word = rows.word(column.cell);
            if self.meaning.is_none(word) {
                column.skipped += 1;
                continue;
            }
            let value = match number::read(word, decimal) {
                Ok(value) => value,
                Err(no) => {
                    let mistake = rows.mistake(column.cell, &no.reason(word, decimal));
                    match column.kind {
                        Kind::Numbers => return Err(mistake),
                        Kind::Unknown => column.kind = Kind::Text(Box::new(mistake)),
                        Kind::Text(_) => {}
                    }
                    continue;
                }
            };
            // A column is either text or numbers: the text that came first is the mistake.
            if let Kind::Text(mistake) = std::mem::replace(&mut column.kind, Kind::Numbers) {
                return Err(*mistake);
            }
            self.line.push_back(Reading {
                id1: *id1,
                id2: id2.clone(),
                sensor_type: rows.column(column.cell),
                value,
                timestamp_us,
            });
        }
        Ok(())
    }

    fn time(&mut self, cell: usize) -> Result<i64, CsvError> {
        let read = self.clock.read(self.rows.word(cell));
        let us = read.map_err(|is| self.rows.mistake(cell, &is))?;
        for remark in self.clock.remarks() {
            let same = |known: &Remark| discriminant(known) == discriminant(remark);
            if !self.remarked.iter().any(same) {
                self.remarked.push(*remark);
                let text = sentence(*remark, self.rows.word(cell), &self.meaning);
                self.notes.push(self.rows.remark(cell, text).to_string());
            }
        }
        Ok(us)
    }
}

impl Meaning {
    /// True when a cell means that there is no value.
    fn is_none(&self, word: &str) -> bool {
        word.is_empty() || self.nulls.iter().any(|null| null == word)
    }
}

fn sentence(remark: Remark, text: &str, meaning: &Meaning) -> String {
    match remark {
        Remark::Cut => {
            format!("{text:?} is finer than a microsecond, and cut, as are all such times")
        }
        Remark::Leap => format!(
            "{text:?} is a leap second, which Unix time does not have, and taken for the second behind it, as are all such \
             times"
        ),
        Remark::AssumedUtc => format!(
            "{text:?} has no offset, and is taken for UTC, as are all such times: --time-zone or --utc-offset says otherwise"
        ),
        Remark::Twice => {
            let zone = match meaning.time.zone {
                Zone::Named(zone) => zone.name(),
                Zone::Assumed | Zone::Offset(_) => "its zone",
            };
            format!(
                "{text:?} comes twice in {zone}, and the {} one is taken, as of all such times (--ambiguous)",
                meaning.time.ambiguous.name()
            )
        }
        Remark::Unit(unit) => format!("{text:?} and all times are taken for {}", unit.name()),
    }
}

impl Iterator for Readings {
    type Item = Result<Reading, CsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(reading) = self.line.pop_front() {
                return Some(Ok(reading));
            }
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! The lines of a CSV text as cells, each with its place.

use csv::StringRecord;

use super::{
    input::{Input, Text},
    quotes::{Dialect, Records},
};
use crate::error::CsvError;

/// The header, and one line after the other.
pub(super) struct Rows {
    file: String,
    header: StringRecord,
    dialect: Dialect,
    reader: csv::Reader<Records<Text>>,
    record: StringRecord,
}

impl Rows {
    /// Reads the header.
    pub(super) fn open(input: &Input, dialect: Dialect) -> Result<Self, CsvError> {
        let mut rows = Self {
            file: input.name().to_owned(),
            header: StringRecord::new(),
            dialect,
            reader: dialect.reader(input.read()?),
            record: StringRecord::new(),
        };
        if !rows.read()? {
            let reason = "it is empty: a header line with the names of the columns is expected";
            return Err(CsvError::of_file(&rows.file, reason.to_owned()));
        }
        rows.record.trim();
        rows.header = std::mem::take(&mut rows.record);
        Ok(rows)
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn header(&self) -> &StringRecord {
        &self.header
    }

    /// Goes to the next line, which has as many cells as the header; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, CsvError> {
        if !self.read()? {
            return Ok(false);
        }
        let (expected, found) = (self.header.len(), self.record.len());
        match found == expected {
            true => Ok(true),
            false => Err(self.misfit(expected, found)),
        }
    }

    fn read(&mut self) -> Result<bool, CsvError> {
        let error = match self.reader.read_record(&mut self.record) {
            Ok(more) => return Ok(more),
            Err(error) => error,
        };
        let line = self.reader.get_ref().record_line();
        if let Some(fault) = self.reader.get_mut().take_fault() {
            return Err(CsvError {
                file: self.file.clone(),
                line: Some(fault.line),
                column: Some(self.column(fault.cell)),
                reason: fault.reason,
            });
        }
        let (column, reason) = match error.into_kind() {
            csv::ErrorKind::Utf8 { err, .. } => (
                Some(self.column(err.field())),
                "the text is not UTF-8: iconv -f LATIN1 -t UTF-8 makes it so where it is Latin-1"
                    .to_owned(),
            ),
            csv::ErrorKind::Io(error) => (None, format!("cannot be read from here on: {error}")),
            kind => (None, format!("{kind:?}")),
        };
        Err(CsvError {
            file: self.file.clone(),
            line: Some(line),
            column,
            reason,
        })
    }

    fn misfit(&self, expected: usize, found: usize) -> CsvError {
        let delimiter = self.dialect.delimiter;
        let reason = match found < expected {
            true => format!("expected {expected} cells as in the header, found {found}"),
            false => format!(
                "expected {expected} cells as in the header, found {found}: a cell with a {delimiter} in it has to be \
                 quoted, and --delimiter names what separates cells"
            ),
        };
        CsvError {
            file: self.file.clone(),
            line: Some(self.reader.get_ref().record_line()),
            // The first one that is missing.
            column: (found < expected).then(|| self.column(found)),
            reason,
        }
    }

    /// A cell as text: blanks count where it is quoted.
    pub(super) fn text(&self, cell: usize) -> &str {
        let text = self.record.get(cell).unwrap_or_default();
        match self.reader.get_ref().was_quoted(cell) {
            true => text,
            false => text.trim(),
        }
    }

    /// A cell as a number, a time or nothing, where blanks around it never count.
    pub(super) fn word(&self, cell: usize) -> &str {
        self.record.get(cell).unwrap_or_default().trim()
    }

    /// True when the text of this line has this character anywhere.
    pub(super) fn contains(&self, character: char) -> bool {
        self.record.iter().any(|cell| cell.contains(character))
    }

    /// Cells of this line.
    pub(super) fn cells(&self) -> usize {
        self.record.len()
    }

    /// Goes to the next line, however many cells it has.
    pub(super) fn peek(&mut self) -> bool {
        self.read().unwrap_or_default()
    }

    /// The name of a column; its number where it has none.
    pub(super) fn column(&self, cell: usize) -> String {
        match self.header.get(cell) {
            None | Some("") => (cell + 1).to_string(),
            Some(name) => name.to_owned(),
        }
    }

    /// Where a cell begins: a quoted one before it may have line breaks.
    fn line(&self, cell: usize) -> u64 {
        let before = self.record.iter().take(cell);
        let breaks = before.map(|cell| cell.matches('\n').count() as u64);
        self.reader.get_ref().record_line() + breaks.sum::<u64>()
    }

    /// What is wrong with the word in a cell.
    pub(super) fn mistake(&self, cell: usize, is: &str) -> CsvError {
        self.remark(cell, format!("{:?} {is}", self.word(cell)))
    }

    /// What there is to say of a cell.
    pub(super) fn remark(&self, cell: usize, reason: String) -> CsvError {
        CsvError {
            file: self.file.clone(),
            line: Some(self.line(cell)),
            column: Some(self.column(cell)),
            reason,
        }
    }

    /// What is wrong with the header.
    pub(super) fn of_header(&self, column: Option<&str>, reason: String) -> CsvError {
        CsvError {
            file: self.file.clone(),
            line: Some(1),
            column: column.map(str::to_owned),
            reason,
        }
    }
}

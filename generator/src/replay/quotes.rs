//! Records of CSV one at a time, held to RFC 4180 before the `csv` crate takes them apart: that one takes what is wrongly
//! quoted for something else in silence.

use std::{
    io::{self, BufRead, Read},
    str::FromStr,
};

use clap::ValueEnum;

/// A record may be so long. A quote that never closes is found out after so much, whatever the size of the file.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// What separates cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(pub(super) u8);

impl FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            [b'\\', b't'] => Ok(Self(b'\t')),
            b"tab" => Ok(Self(b'\t')),
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0) => {
                Ok(Self(*byte))
            }
            _ => Err("expected one character of ASCII such as ;, or tab".to_owned()),
        }
    }
}

impl std::fmt::Display for Delimiter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            b'\t' => formatter.write_str("tab"),
            byte => write!(formatter, "{}", char::from(byte)),
        }
    }
}

/// How a quote stands inside of a quoted cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Escape {
    /// Only as "".
    Double,
    /// Also as \", and a backslash as \\.
    Backslash,
}

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: Delimiter,
    pub(super) escape: Escape,
}

impl Dialect {
    /// A reader of the records that [`Records`] lets through.
    pub(super) fn reader<R: BufRead>(self, text: R) -> csv::Reader<Records<R>> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            // Whether all records have the same number of cells is checked where the columns are known by name.
            .flexible(true)
            .delimiter(self.delimiter.0)
            .escape((self.escape == Escape::Backslash).then_some(b'\\'))
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(Records::new(text, self))
    }
}

/// Where quotes are wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: u64,
    /// From 0.
    pub(super) cell: usize,
    pub(super) reason: String,
}

/// Hands out one record after the other, each up to its end and no byte beyond. Blank lines are left out, and the blanks
/// before and behind a quoted cell.
#[derive(Debug)]
pub(super) struct Records<R> {
    text: R,
    dialect: Dialect,
    record: Vec<u8>,
    handed_out: usize,
    /// Of each cell of the record.
    quoted: Vec<bool>,
    /// Where the record begins, and where the next one does; from 1.
    record_line: u64,
    line: u64,
    /// The last line ended with CR: an LF that follows belongs to it.
    ended_with_cr: bool,
    fault: Option<Fault>,
}

/// Where in a record we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first character of a cell that is no blank.
    Start,
    Bare,
    Quoted,
    /// Behind a backslash in a quoted cell.
    Escaped,
    /// Right behind a quote in a quoted cell: its end, or the first half of "".
    Quote,
    /// Behind blanks behind the end of a quoted cell.
    Behind,
}

/// The cell that the scan is in.
#[derive(Debug)]
struct Scan {
    at: At,
    cell: usize,
    /// Where its quote opened.
    opened_line: u64,
    /// The character before the last quote.
    before_quote: u8,
    last: u8,
}

impl<R: BufRead> Records<R> {
    fn new(text: R, dialect: Dialect) -> Self {
        Self {
            text,
            dialect,
            record: Vec::new(),
            handed_out: 0,
            quoted: Vec::new(),
            record_line: 1,
            line: 1,
            ended_with_cr: false,
            fault: None,
        }
    }

    /// The line in which this record begins, from 1.
    pub(super) fn record_line(&self) -> u64 {
        self.record_line
    }

    /// Whether this cell of the record was quoted, so that its blanks belong to it.
    pub(super) fn was_quoted(&self, cell: usize) -> bool {
        self.quoted.get(cell).copied().unwrap_or_default()
    }

    /// What made reading fail, if it was the text.
    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Reads the next record that is not blank; false at the end.
    fn load(&mut self) -> io::Result<bool> {
        loop {
            self.record.clear();
            self.handed_out = 0;
            self.quoted.clear();
            self.record_line = self.line;
            let mut scan = Scan {
                at: At::Start,
                cell: 0,
                opened_line: 0,
                before_quote: 0,
                last: 0,
            };
            if !self.scan(&mut scan)? {
                return Ok(false);
            }
            if !self.record.is_empty() {
                self.record.push(b'\n');
                return Ok(true);
            }
        }
    }

    /// Takes one line, or more where a quoted cell has line breaks. False when there is none.
    fn scan(&mut self, scan: &mut Scan) -> io::Result<bool> {
        let mut began = false;
        loop {
            let chunk = self.text.fill_buf()?;
            if chunk.is_empty() {
                return self.end_of_text(scan, began);
            }
            let mut used = 0;
            let mut ended = false;
            let mut fault = None;
            for &byte in chunk {
                used += 1;
                if std::mem::take(&mut self.ended_with_cr) && byte == b'\n' && !began {
                    continue;
                }
                began = true;
                let open = matches!(scan.at, At::Quoted | At::Escaped);
                if !open && matches!(byte, b'\n' | b'\r') {
                    self.line += 1;
                    self.ended_with_cr = byte == b'\r';
                    ended = true;
                    break;
                }
                if open && byte == b'\n' {
                    self.line += 1;
                }
                match step(scan, self.dialect, self.line, byte) {
                    Ok(true) => self.record.push(byte),
                    Ok(false) => {}
                    Err(reason) => fault = Some(reason),
                }
                if scan.at == At::Start && byte == self.dialect.delimiter.0 {
                    self.quoted.resize(scan.cell, false);
                } else if scan.at == At::Quoted {
                    self.quoted.resize(scan.cell + 1, true);
                }
                if self.record.len() > MAX_RECORD_BYTES {
                    fault = Some(too_long(scan.at));
                }
                if fault.is_some() {
                    break;
                }
            }
            self.text.consume(used);
            if let Some(reason) = fault {
                let line = match reason.starts_with(OPENED) {
                    true => scan.opened_line,
                    false => self.line,
                };
                return self.refuse(line, scan.cell, reason);
            }
            if ended {
                return Ok(true);
            }
        }
    }

    fn end_of_text(&mut self, scan: &Scan, began: bool) -> io::Result<bool> {
        match scan.at {
            At::Quoted | At::Escaped => {
                let reason = format!("{OPENED} never closes: {HOW_TO_QUOTE}");
                self.refuse(scan.opened_line, scan.cell, reason)
            }
            At::Start | At::Bare | At::Quote | At::Behind => Ok(began),
        }
    }

    fn refuse(&mut self, line: u64, cell: usize, reason: String) -> io::Result<bool> {
        self.fault = Some(Fault { line, cell, reason });
        self.record.clear();
        Err(io::Error::other("the text is no CSV"))
    }
}

const OPENED: &str = "the quote that opens this cell";
const HOW_TO_QUOTE: &str =
    "a quote inside of a quoted cell is doubled, or is \\\" with --escape backslash";

fn too_long(at: At) -> String {
    match at {
        At::Quoted | At::Escaped => {
            format!("{OPENED} does not close within {MAX_RECORD_BYTES} bytes: {HOW_TO_QUOTE}")
        }
        _ => format!("the line is longer than {MAX_RECORD_BYTES} bytes"),
    }
}

/// Takes one character that does not end the record, and says whether it is kept.
fn step(scan: &mut Scan, dialect: Dialect, line: u64, byte: u8) -> Result<bool, String> {
    if byte == 0 {
        return Err("a NUL byte: this is no text".to_owned());
    }
    let delimits = byte == dialect.delimiter.0;
    let blank = matches!(byte, b' ' | b'\t') && !delimits;
    let escapes = byte == b'\\' && dialect.escape == Escape::Backslash;
    let (next, keep) = match scan.at {
        At::Start | At::Bare | At::Quote | At::Behind if delimits => {
            scan.cell += 1;
            (At::Start, true)
        }
        At::Start if byte == b'"' => {
            scan.opened_line = line;
            (At::Quoted, true)
        }
        At::Start if blank => (At::Start, false),
        At::Start | At::Bare => (At::Bare, true),
        At::Quoted if byte == b'"' => {
            scan.before_quote = scan.last;
            (At::Quote, true)
        }
        At::Quoted if escapes => (At::Escaped, true),
        At::Quoted => (At::Quoted, true),
        At::Escaped if matches!(byte, b'"' | b'\\') => (At::Quoted, true),
        At::Escaped => {
            return Err(format!(
                "\\{} escapes nothing: with --escape backslash, a backslash stands before a quote or another backslash",
                char::from(byte).escape_default()
            ));
        }
        At::Quote if byte == b'"' => (At::Quoted, true),
        At::Quote | At::Behind if blank => (At::Behind, false),
        At::Quote | At::Behind => return Err(behind_a_quote(scan, line)),
    };
    (scan.at, scan.last) = (next, byte);
    Ok(keep)
}

fn behind_a_quote(scan: &Scan, line: u64) -> String {
    let what = "there is text behind the closing quote of this cell";
    match (scan.before_quote, scan.opened_line) {
        (b'\\', _) => {
            format!("{what}: say --escape backslash where \\\" is a quote inside of the cell")
        }
        (_, opened) if opened < line => {
            format!("{what}, which opened in line {opened}: {HOW_TO_QUOTE}")
        }
        _ => format!("{what}: {HOW_TO_QUOTE}"),
    }
}

impl<R: BufRead> Read for Records<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.handed_out == self.record.len() && !self.load()? {
            return Ok(0);
        }
        let rest = &self.record[self.handed_out..];
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        self.handed_out += bytes;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;

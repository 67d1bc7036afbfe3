//! A file of readings, whatever it is written as, and the name of the stream that brings it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use super::lines::LineReader;
use crate::{
    columnar::{Columns, Fault, TableReader},
    model::TimeRange,
};

/// Digits of the stream's name, of four bits each: no two files in the world will have the same.
const NAME_DIGITS: usize = 32;
const READ_BYTES: usize = 1 << 20;

/// What the first bytes say of a file.
const PARQUET: &[u8] = b"PAR1";
const ARROW_STREAM: &[u8] = &[0xff, 0xff, 0xff, 0xff];
const ARROW_FILE: &[u8] = b"ARROW1";
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A file that was looked through.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    range: Option<TimeRange>,
    /// Of its bytes, in hexadecimal digits.
    digest: String,
    /// Readings of the range.
    pub(super) readings: u64,
    /// Size and time of the last change, when it was looked through.
    state: (u64, Option<SystemTime>),
}

impl Source {
    /// Reads all of it: nothing is sent of a file of which something is wrong.
    pub(super) fn look_through(path: &Path, range: Option<TimeRange>) -> Result<Self, Fault> {
        let state = state(path)?;
        let mut source = Self {
            path: path.to_owned(),
            range,
            digest: digest(path).map_err(|error| unreadable(&error))?,
            readings: 0,
            state,
        };
        let mut reader = source.open()?;
        while let Some(columns) = reader.next()? {
            source.readings += columns.len() as u64;
        }
        source.expect_unchanged()?;
        Ok(source)
    }

    /// The same readings in the same order each time, so that a position says how far they are.
    pub(super) fn open(&self) -> Result<Reader, Fault> {
        Ok(Reader {
            format: format(&self.path)?,
            range: self.range,
        })
    }

    /// The name of the stream: another file has another one, and the same file, whatever it is called, has the same. So has the same
    /// range of it.
    pub(super) fn stream_id(&self, prefix: &str) -> String {
        let digest = &self.digest;
        match self.range {
            None => format!("{prefix}{digest}"),
            Some(TimeRange { from_us, to_us }) => format!("{prefix}{digest}:{from_us}:{to_us}"),
        }
    }

    /// # Errors
    /// When it is no longer what was looked through.
    pub(super) fn expect_unchanged(&self) -> Result<(), Fault> {
        match state(&self.path)? == self.state {
            true => Ok(()),
            false => Err(Fault::of_file("it was changed while it was read")),
        }
    }
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::of_file(error.to_string())
}

fn state(path: &Path) -> Result<(u64, Option<SystemTime>), Fault> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    match metadata.is_file() {
        true => Ok((metadata.len(), metadata.modified().ok())),
        false => Err(Fault::of_file("it is no file: it is read more than once")),
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; READ_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            bytes => hash.update(&piece[..bytes]),
        }
    }
    let mut digits = String::with_capacity(2 * hash.clone().finalize().len());
    for byte in hash.finalize() {
        let _ = write!(digits, "{byte:02x}");
    }
    digits.truncate(NAME_DIGITS);
    Ok(digits)
}

enum Format {
    Table(TableReader),
    Lines(LineReader),
}

/// By what the file begins with, and by its name where that says nothing.
fn format(path: &Path) -> Result<Format, Fault> {
    let open = || File::open(path).map_err(|error| unreadable(&error));
    let mut first = Vec::new();
    let read = open()?.take(8).read_to_end(&mut first);
    read.map_err(|error| unreadable(&error))?;
    if first.starts_with(PARQUET) {
        return Ok(Format::Table(TableReader::parquet(open()?)?));
    }
    if first.starts_with(ARROW_STREAM) {
        return Ok(Format::Table(TableReader::arrow(open()?)?));
    }
    if first.starts_with(ARROW_FILE) {
        return Err(Fault::of_file(
            "it is a file of Arrow, also called Feather: write it as a stream of Arrow",
        ));
    }
    if first.starts_with(GZIP) {
        return Err(Fault::of_file("it is packed with gzip: unpack it"));
    }
    let ending = path.extension().and_then(|it| it.to_str());
    Ok(Format::Lines(match (ending, first.first()) {
        (Some("ndjson" | "jsonl"), _) | (_, Some(b'{')) => LineReader::ndjson(open()?)?,
        _ => LineReader::csv(open()?)?,
    }))
}

/// The readings of a source, from the first one on.
pub(super) struct Reader {
    format: Format,
    range: Option<TimeRange>,
}

impl Reader {
    /// Some that follow; None behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<Columns>, Fault> {
        let columns = match &mut self.format {
            Format::Table(table) => table.read()?,
            Format::Lines(lines) => lines.next()?,
        };
        Ok(match (columns, self.range) {
            (Some(columns), Some(range)) => Some(within(columns, range)),
            (columns, _) => columns,
        })
    }
}

/// Those of the range.
fn within(mut columns: Columns, TimeRange { from_us, to_us }: TimeRange) -> Columns {
    let belongs: Vec<bool> = columns
        .timestamp_us
        .iter()
        .map(|at| (from_us..to_us).contains(at))
        .collect();
    retain(&mut columns.series_index, &belongs);
    retain(&mut columns.sensor_value, &belongs);
    retain(&mut columns.timestamp_us, &belongs);
    columns
}

fn retain<T>(column: &mut Vec<T>, belongs: &[bool]) {
    let mut belongs = belongs.iter();
    column.retain(|_| belongs.next().copied().unwrap_or_default());
}

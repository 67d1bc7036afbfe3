//! Readings in lines: CSV and NDJSON, as they are exported.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
};

use chrono::DateTime;
use csv::{Reader, StringRecord};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::columnar::{Columns, Fault, Gathering};

/// Readings that are handed on at once.
const BATCH_ROWS: usize = 8_192;
/// A line of a reading has no more.
const LINE_BYTES: u64 = 64 << 10;

const INSTANT: &str = "RFC 3339, as in 2026-01-31T12:00:00.000000Z";

/// A file of lines.
pub(super) enum LineReader {
    Csv(Table),
    Ndjson(Objects),
}

impl LineReader {
    /// A table whose first line names the columns.
    pub(super) fn csv(file: File) -> Result<Self, Fault> {
        let file = whole_lines(file)?;
        let mut lines = Reader::from_reader(BufReader::new(file));
        let header = lines
            .headers()
            .map_err(|error| Fault::of_file(error.to_string()))?;
        let places = Places::of(header)?;
        Ok(Self::Csv(Table {
            lines,
            places,
            rows: 0,
        }))
    }

    /// An object in each line.
    pub(super) fn ndjson(file: File) -> Result<Self, Fault> {
        Ok(Self::Ndjson(Objects {
            lines: BufReader::new(whole_lines(file)?),
            rows: 0,
        }))
    }

    /// The readings that follow; None behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<Columns>, Fault> {
        let mut gathering = Gathering::default();
        while gathering.len() < BATCH_ROWS {
            let goes_on = match self {
                Self::Csv(table) => table.row(&mut gathering)?,
                Self::Ndjson(objects) => objects.row(&mut gathering)?,
            };
            if !goes_on {
                break;
            }
        }
        Ok((!gathering.is_empty()).then(|| gathering.done()))
    }
}

/// The file, if its last line has an end.
fn whole_lines(mut file: File) -> Result<File, Fault> {
    let mut last = [0];
    let read = file
        .seek(SeekFrom::End(-1))
        .and_then(|_| file.read_exact(&mut last))
        .and_then(|()| file.rewind());
    match (read, last) {
        (Ok(()), [b'\n']) => Ok(file),
        (Ok(()), _) => Err(Fault::of_file("its last line has no end: it was cut off")),
        (Err(_), _) => Err(Fault::of_file("it is empty")),
    }
}

pub(super) struct Table {
    lines: Reader<BufReader<File>>,
    places: Places,
    rows: u64,
}

/// Where a table has the columns of which readings are made.
struct Places {
    id1: usize,
    id2: usize,
    sensor_type: usize,
    sensor_value: usize,
    timestamp: (&'static str, usize),
}

impl Places {
    fn of(header: &StringRecord) -> Result<Self, Fault> {
        let place = |name: &'static str| {
            let place = header.iter().position(|column| column == name);
            place.ok_or_else(|| {
                Fault::of_column(name, "it is missing: the first line names the columns")
            })
        };
        let timestamp = match place("timestamp_us") {
            Ok(place) => ("timestamp_us", place),
            Err(_) => ("timestamp", place("timestamp")?),
        };
        Ok(Self {
            id1: place("id1")?,
            id2: place("id2")?,
            sensor_type: place("sensor_type")?,
            sensor_value: place("sensor_value")?,
            timestamp,
        })
    }
}

impl Table {
    fn row(&mut self, gathering: &mut Gathering) -> Result<bool, Fault> {
        let row = self.rows + 1;
        let mut record = StringRecord::new();
        let found = self.lines.read_record(&mut record);
        let broken = |error: csv::Error| Fault {
            row: Some(row),
            column: None,
            reason: error.to_string(),
        };
        if !found.map_err(broken)? {
            return Ok(false);
        }
        self.rows = row;
        let Places {
            id1,
            id2,
            sensor_type,
            sensor_value,
            timestamp: (time_name, time),
        } = self.places;
        let wrong = |column, must: &str, place: usize| {
            Fault::at(row, column, format!("{:?} must be {must}", &record[place]))
        };
        let number = record[id1].parse();
        let number = number.map_err(|_| wrong("id1", "a whole number of 32 bits", id1))?;
        let value: Result<f64, _> = record[sensor_value].parse();
        let value = value.ok().filter(|value| value.is_finite());
        let value = value.ok_or_else(|| wrong("sensor_value", "a finite number", sensor_value))?;
        let at = match time_name {
            "timestamp_us" => record[time].parse().ok(),
            _ => instant(&record[time]),
        };
        let must = match time_name {
            "timestamp_us" => "microseconds since the Unix epoch",
            _ => INSTANT,
        };
        let at = at.ok_or_else(|| wrong(time_name, must, time))?;
        gathering.push((number, &record[id2], &record[sensor_type]), value, at);
        Ok(true)
    }
}

/// To the microsecond: what has finer digits is no reading that was stored.
fn instant(text: &str) -> Option<i64> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    (at.timestamp_subsec_nanos() % 1_000 == 0).then(|| at.timestamp_micros())
}

pub(super) struct Objects {
    lines: BufReader<File>,
    rows: u64,
}

/// An object, each of whose values is read by itself, so that it is known which one is wrong.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    id1: Option<&'a RawValue>,
    #[serde(borrow)]
    id2: Option<&'a RawValue>,
    #[serde(borrow)]
    sensor_type: Option<&'a RawValue>,
    #[serde(borrow)]
    sensor_value: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp_us: Option<&'a RawValue>,
}

impl Objects {
    fn row(&mut self, gathering: &mut Gathering) -> Result<bool, Fault> {
        let row = self.rows + 1;
        let of_row = |reason: String| Fault {
            row: Some(row),
            column: None,
            reason,
        };
        let mut line = Vec::new();
        let read = (&mut self.lines)
            .take(LINE_BYTES)
            .read_until(b'\n', &mut line);
        if read.map_err(|error| of_row(error.to_string()))? == 0 {
            return Ok(false);
        }
        if line.last() != Some(&b'\n') {
            return Err(of_row(format!("the line has more than {LINE_BYTES} bytes")));
        }
        self.rows = row;
        let object: Object<'_> = serde_json::from_slice(&line)
            .map_err(|error| of_row(format!("it is no reading as JSON: {error}")))?;
        let id1 = value(row, "id1", object.id1, "a whole number of 32 bits")?;
        let id2: String = value(row, "id2", object.id2, "a text")?;
        let sensor_type: String = value(row, "sensor_type", object.sensor_type, "a text")?;
        let sensor_value = value(row, "sensor_value", object.sensor_value, "a finite number")?;
        let at = match object.timestamp_us {
            Some(_) => value(
                row,
                "timestamp_us",
                object.timestamp_us,
                "microseconds since the Unix epoch",
            )?,
            None => {
                let text: String = value(row, "timestamp", object.timestamp, INSTANT)?;
                let wrong = || Fault::at(row, "timestamp", format!("{text:?} must be {INSTANT}"));
                instant(&text).ok_or_else(wrong)?
            }
        };
        gathering.push((id1, &id2, &sensor_type), sensor_value, at);
        Ok(true)
    }
}

fn value<T: DeserializeOwned>(
    row: u64,
    column: &'static str,
    raw: Option<&RawValue>,
    must: &str,
) -> Result<T, Fault> {
    let raw = raw
        .ok_or_else(|| Fault::at(row, column, "it is missing"))?
        .get();
    serde_json::from_str(raw).map_err(|_| Fault::at(row, column, format!("{raw} must be {must}")))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn all(reader: Result<LineReader, Fault>) -> Result<Columns, String> {
        let said = |fault: Fault| fault.to_string();
        let mut reader = reader.map_err(said)?;
        reader.next().map_err(said).map(Option::unwrap_or_default)
    }

    const HEADER: &str = "id,id1,id2,sensor_type,sensor_value,timestamp,timestamp_us\n";

    #[test]
    fn lines_are_read_as_they_are_exported() {
        let at = 1_769_860_800_000_001;
        let csv =
            format!("{HEADER}1,-7,\"a, \"\"b\"\"\",t,5e-324,2026-01-31T12:00:00.000001Z,{at}\n");
        let ndjson = "{\"id\":1,\"id1\":-7,\"id2\":\"a, \\\"b\\\"\",\"sensor_type\":\"t\",\"sensor_value\":5e-324,\
                      \"timestamp\":\"2026-01-31T12:00:00.000001Z\"}\n";
        for columns in [
            all(LineReader::csv(file(&csv))),
            all(LineReader::ndjson(file(ndjson))),
        ] {
            let columns = columns.unwrap();
            assert_eq!(columns.timestamp_us, [at]);
            assert_eq!(columns.sensor_value, [5e-324]);
            let series = &columns.series[0];
            assert_eq!((series.id1, series.id2.as_str()), (-7, "a, \"b\""));
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        let good = "1,2,a,t,1.5,,5\n";
        for (text, expected) in [
            ("", "it is empty"),
            (
                "id,id1\n",
                "column timestamp: it is missing: the first line names the columns",
            ),
            (
                &format!("{HEADER}{good}1,2,a,t,1.5,,"),
                "its last line has no end: it was cut off",
            ),
            (
                &format!("{HEADER}{good}1,x,a,t,1.5,,5\n"),
                "row 2, column id1: \"x\" must be a whole number of 32 bits",
            ),
            (
                &format!("{HEADER}{good}1,2,a,t,NaN,,5\n"),
                "row 2, column sensor_value: \"NaN\" must be a finite number",
            ),
            (
                &format!("{HEADER}1,2,a,t,1.5,,\n"),
                "row 1, column timestamp_us: \"\" must be microseconds since the Unix epoch",
            ),
            (
                &format!("{HEADER}1,2,a\n"),
                "row 1, CSV error: record 1 (line: 2, byte: 59): found record with 3 fields, but the previous record has 7 fields",
            ),
        ] {
            assert_eq!(
                all(LineReader::csv(file(text))).unwrap_err(),
                expected,
                "{text}"
            );
        }
        for (text, expected) in [
            ("{}\n", "row 1, column id1: it is missing"),
            (
                "{\"id1\":2147483648}\n",
                "row 1, column id1: 2147483648 must be a whole number of 32 bits",
            ),
            ("[]\nx", "its last line has no end: it was cut off"),
            (
                "x\n",
                "row 1, it is no reading as JSON: expected value at line 1 column 1",
            ),
        ] {
            assert_eq!(
                all(LineReader::ndjson(file(text))).unwrap_err(),
                expected,
                "{text}"
            );
        }
    }
}

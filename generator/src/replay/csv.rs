//! Reads a CSV file as readings, in long form (one per line) or wide form (one column per sensor type).

use std::{collections::VecDeque, fs::File, path::Path};

use chrono::FixedOffset;
use csv::{Reader, StringRecord};
use sluicegate_proto::v1::SensorReading;

use super::time::parse_us;
use crate::error::CsvError;

/// How the file is laid out.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Long(LongColumns),
    Wide(WideColumns),
}

/// Names of the columns of a long file.
#[derive(Debug, Clone)]
pub(super) struct LongColumns {
    pub(super) time: String,
    pub(super) value: String,
    pub(super) sensor_type: String,
    pub(super) id1: String,
    pub(super) id2: String,
}

/// Names of the columns of a wide file, and what all its readings share.
#[derive(Debug, Clone)]
pub(super) struct WideColumns {
    pub(super) time: String,
    /// All columns but the time when it is empty.
    pub(super) types: Vec<String>,
    pub(super) id1: i32,
    pub(super) id2: String,
}

/// Where the cells are.
#[derive(Debug)]
enum Cells {
    Long {
        time: usize,
        value: usize,
        sensor_type: usize,
        id1: usize,
        id2: usize,
    },
    Wide {
        time: usize,
        values: Vec<usize>,
        id1: i32,
        id2: String,
    },
}

/// The readings of a file in their order, and the mistakes.
#[derive(Debug)]
pub(super) struct CsvReadings {
    file: String,
    header: StringRecord,
    cells: Cells,
    offset: Option<FixedOffset>,
    reader: Reader<File>,
    record: StringRecord,
    /// The readings of the line that was read last.
    line: VecDeque<SensorReading>,
    skipped: u64,
}

impl CsvReadings {
    pub(super) fn open(
        path: &Path,
        form: &Form,
        offset: Option<FixedOffset>,
    ) -> Result<Self, CsvError> {
        let file = path.display().to_string();
        let fail = |line, reason: String| CsvError {
            file: file.clone(),
            line,
            column: None,
            reason,
        };
        let opened = File::open(path).map_err(|error| fail(None, error.to_string()))?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(opened);
        let header = reader
            .headers()
            .map_err(|error| fail(Some(1), error.to_string()))?
            .clone();
        let find = |name: &str| {
            header
                .iter()
                .position(|title| title == name)
                .ok_or_else(|| {
                    let titles: Vec<&str> = header.iter().collect();
                    fail(
                        Some(1),
                        format!("there is no column {name:?}, only {}", titles.join(", ")),
                    )
                })
        };
        let cells = match form {
            Form::Long(columns) => Cells::Long {
                time: find(&columns.time)?,
                value: find(&columns.value)?,
                sensor_type: find(&columns.sensor_type)?,
                id1: find(&columns.id1)?,
                id2: find(&columns.id2)?,
            },
            Form::Wide(columns) => {
                let time = find(&columns.time)?;
                let values = match columns.types.is_empty() {
                    true => (0..header.len()).filter(|cell| *cell != time).collect(),
                    false => columns
                        .types
                        .iter()
                        .map(|name| find(name))
                        .collect::<Result<_, _>>()?,
                };
                Cells::Wide {
                    time,
                    values,
                    id1: columns.id1,
                    id2: columns.id2.clone(),
                }
            }
        };
        Ok(Self {
            file,
            header,
            cells,
            offset,
            reader,
            record: StringRecord::new(),
            line: VecDeque::new(),
            skipped: 0,
        })
    }

    /// Cells without a value so far.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Reads a line into `self.line`; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, CsvError> {
        let more = self.reader.read_record(&mut self.record);
        let more = more.map_err(|error| {
            let line = error.position().map(csv::Position::line);
            let reason = match error.kind() {
                csv::ErrorKind::UnequalLengths {
                    expected_len, len, ..
                } => format!("expected {expected_len} cells, found {len}"),
                csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8".to_owned(),
                _ => error.to_string(),
            };
            CsvError {
                file: self.file.clone(),
                line,
                column: None,
                reason,
            }
        })?;
        if !more {
            return Ok(false);
        }
        match &self.cells {
            Cells::Long {
                time,
                value,
                sensor_type,
                id1,
                id2,
            } => {
                if self.cell(*value).is_empty() {
                    self.skipped += 1;
                    return Ok(true);
                }
                let reading = SensorReading {
                    sensor_value: self.number(*value)?,
                    sensor_type: self.cell(*sensor_type).to_owned(),
                    id1: self.cell(*id1).parse().map_err(|_| {
                        self.mistake(*id1, "is no whole number from -2147483648 to 2147483647")
                    })?,
                    id2: self.cell(*id2).to_owned(),
                    timestamp_us: self.time(*time)?,
                };
                self.line.push_back(reading);
            }
            Cells::Wide {
                time,
                values,
                id1,
                id2,
            } => {
                let timestamp_us = self.time(*time)?;
                let mut skipped = 0;
                let mut line = VecDeque::with_capacity(values.len());
                for value in values {
                    if self.cell(*value).is_empty() {
                        skipped += 1;
                        continue;
                    }
                    line.push_back(SensorReading {
                        sensor_value: self.number(*value)?,
                        sensor_type: self.header.get(*value).unwrap_or_default().to_owned(),
                        id1: *id1,
                        id2: id2.clone(),
                        timestamp_us,
                    });
                }
                self.line = line;
                self.skipped += skipped;
            }
        }
        Ok(true)
    }

    fn cell(&self, cell: usize) -> &str {
        self.record.get(cell).unwrap_or_default()
    }

    fn number(&self, cell: usize) -> Result<f64, CsvError> {
        self.cell(cell)
            .parse()
            .map_err(|_| self.mistake(cell, "is no number"))
    }

    fn time(&self, cell: usize) -> Result<i64, CsvError> {
        parse_us(self.cell(cell), self.offset).ok_or_else(|| {
            self.mistake(
                cell,
                "is no time such as 2026-01-31T12:00:00Z, and no epoch milliseconds",
            )
        })
    }

    fn mistake(&self, cell: usize, is: &str) -> CsvError {
        CsvError {
            file: self.file.clone(),
            line: self.record.position().map(csv::Position::line),
            column: self.header.get(cell).map(str::to_owned),
            reason: format!("{:?} {is}", self.cell(cell)),
        }
    }
}

impl Iterator for CsvReadings {
    type Item = Result<SensorReading, CsvError>;

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
mod tests {
    use super::*;

    fn wide(types: &[&str]) -> Form {
        Form::Wide(WideColumns {
            time: "date".to_owned(),
            types: types.iter().map(|name| (*name).to_owned()).collect(),
            id1: 1,
            id2: "seattle".to_owned(),
        })
    }

    fn long() -> Form {
        let name = |name: &str| name.to_owned();
        Form::Long(LongColumns {
            time: name("timestamp"),
            value: name("sensor_value"),
            sensor_type: name("sensor_type"),
            id1: name("id1"),
            id2: name("id2"),
        })
    }

    /// Readings and skipped cells, or the mistake as a person sees it.
    fn read(text: &str, form: &Form) -> Result<(Vec<SensorReading>, u64), String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let shorten = |error: CsvError| {
            let text = error.to_string();
            text.replace(&path.display().to_string(), "t.csv")
        };
        let mut readings = CsvReadings::open(&path, form, None).map_err(shorten)?;
        let all = readings
            .by_ref()
            .collect::<Result<_, _>>()
            .map_err(shorten)?;
        Ok((all, readings.skipped()))
    }

    #[test]
    fn the_sample_file_yields_26277_readings() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("data/seattle-weather-hourly-normals.csv");
        let readings = CsvReadings::open(&path, &wide(&[]), None).unwrap();
        let readings: Vec<_> = readings.map(Result::unwrap).collect();
        assert_eq!(readings.len(), 26_277);
        assert_eq!(readings[0].sensor_type, "pressure");
        assert_eq!(readings[0].sensor_value, 1016.6);
        assert_eq!(readings[0].timestamp_us, 1_262_307_600_000_000);
    }

    #[test]
    fn empty_cells_are_skipped_and_counted() {
        let text = "date,a,b\n1000,1,\n2000,,\n3000,3,4\n";
        let (readings, skipped) = read(text, &wide(&[])).unwrap();
        assert_eq!((readings.len(), skipped), (3, 3));
        let (readings, skipped) = read(text, &wide(&["b"])).unwrap();
        assert_eq!((readings.len(), skipped), (1, 2));
    }

    #[test]
    fn a_long_file_has_a_reading_per_line() {
        let text =
            "id2,id1,timestamp,sensor_type,sensor_value\nA,-7,1000,wind,-3.5\nA,-7,2000,wind,\n";
        let (readings, skipped) = read(text, &long()).unwrap();
        assert_eq!(skipped, 1);
        assert_eq!(readings.len(), 1);
        assert_eq!((readings[0].id1, readings[0].id2.as_str()), (-7, "A"));
        assert_eq!(readings[0].timestamp_us, 1_000_000);
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let cases = [
            (
                "date,a\n1000,1\n2000,x\n",
                "t.csv, line 3, column a: \"x\" is no number",
            ),
            (
                "date,a\n1000,1,2\n",
                "t.csv, line 2: expected 2 cells, found 3",
            ),
            (
                "day,a\n1000,1\n",
                "t.csv, line 1: there is no column \"date\", only day, a",
            ),
        ];
        for (text, sentence) in cases {
            assert_eq!(read(text, &wide(&[])).unwrap_err(), sentence);
        }
        let error = read("date,a\nnoon,1\n", &wide(&[])).unwrap_err();
        assert!(
            error.starts_with("t.csv, line 2, column date: \"noon\" is no time"),
            "{error}"
        );
    }
}

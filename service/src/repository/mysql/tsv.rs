//! The text form of a row, as LOAD DATA reads it: fields end with a tab, lines with a newline, and what would be
//! mistaken for either is escaped with a backslash (P3: what was sent is what is stored).

use std::{ops::Range, sync::Arc};

use super::table::RowFormat;
use crate::{
    ledger::DroppedRows,
    model::Reading,
    repository::{LoadBatch, LoadColumns, RowIds},
};

/// Appends a text field so that it is read back byte for byte.
fn escape_into(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if !bytes
        .iter()
        .any(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r' | 0))
    {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0 => out.extend_from_slice(b"\\0"),
            _ => out.push(byte),
        }
    }
}

/// Appends `id1 TAB id2 TAB sensor_type`.
pub(super) fn escape_series(out: &mut Vec<u8>, id1: i32, id2: &str, sensor_type: &str) {
    out.extend_from_slice(itoa::Buffer::new().format(id1).as_bytes());
    out.push(b'\t');
    escape_into(out, id2);
    out.push(b'\t');
    escape_into(out, sensor_type);
}

/// What names a batch's series in its rows.
#[derive(Debug)]
pub(super) enum SeriesNames {
    Texts(SeriesTexts),
    /// Of a table whose readings have the numbers of their series.
    Numbers(Arc<Vec<u32>>),
}

/// The names of a batch's series, each written once: `id1 TAB id2 TAB sensor_type`, escaped.
#[derive(Debug)]
pub(super) struct SeriesTexts {
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl SeriesTexts {
    pub(super) fn of(batch: &dyn LoadBatch) -> Self {
        let count = batch.series_count();
        let mut texts = Self {
            text: Vec::new(),
            ends: Vec::with_capacity(count as usize),
        };
        for index in 0..count {
            let (id1, id2, sensor_type) = batch.series(index);
            escape_series(&mut texts.text, id1, id2, sensor_type);
            texts.ends.push(texts.text.len() as u32);
        }
        texts
    }

    #[inline]
    fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] as usize,
        };
        &self.text[start..self.ends[index] as usize]
    }
}

/// How the rows of one LOAD are written.
#[derive(Clone, Copy)]
pub(super) struct RowWriter<'a> {
    pub(super) columns: LoadColumns<'a>,
    pub(super) names: &'a SeriesNames,
    pub(super) dropped: &'a DroppedRows,
    pub(super) format: RowFormat,
    pub(super) ids: RowIds,
}

impl RowWriter<'_> {
    /// Appends rows from `positions` to `out`, without those dropped, until `out` holds `chunk_bytes` or more. Returns
    /// the next position and how many rows were appended. The row at position p gets the id `ids.at(p)`.
    pub(super) fn write(
        self,
        positions: Range<u32>,
        chunk_bytes: usize,
        out: &mut Vec<u8>,
    ) -> (u32, u32) {
        let columns = &self.columns;
        let mut timestamps = TimestampWriter::new(self.format.timestamp_decimals);
        let (mut id_text, mut number_text) = (itoa::Buffer::new(), itoa::Buffer::new());
        let mut value_text = zmij::Buffer::new();
        let mut appended = 0;
        for position in positions.clone() {
            if out.len() >= chunk_bytes {
                return (position, appended);
            }
            let arrival = columns.arrival(position);
            if is_dropped(self.dropped, arrival) {
                continue;
            }
            let row = arrival as usize;
            if self.format.with_id {
                out.extend_from_slice(id_text.format(self.ids.at(position)).as_bytes());
                out.push(b'\t');
            }
            let series = columns.series[row];
            out.extend_from_slice(match self.names {
                SeriesNames::Texts(texts) => texts.get(series),
                SeriesNames::Numbers(numbers) => {
                    number_text.format(numbers[series as usize]).as_bytes()
                }
            });
            out.push(b'\t');
            let value = columns.sensor_value[row];
            // Only finite values were taken.
            out.extend_from_slice(value_text.format_finite(value).as_bytes());
            out.push(b'\t');
            timestamps.write(columns.timestamp_us[row], out);
            out.push(b'\n');
            appended += 1;
        }
        (positions.end, appended)
    }
}

impl RowFormat {
    /// The line of one reading, whose value may be none. The number is that of its series, where readings have it.
    pub(super) fn line(self, reading: &Reading, number: u32, id: u64) -> Vec<u8> {
        let mut out = match self.with_id {
            true => format!("{id}\t").into_bytes(),
            false => Vec::new(),
        };
        let series = &reading.series;
        if self.numbered {
            out.extend_from_slice(number.to_string().as_bytes());
        } else {
            escape_series(&mut out, series.id1, &series.id2, &series.sensor_type);
        }
        out.extend_from_slice(format!("\t{:?}\t", reading.sensor_value).as_bytes());
        TimestampWriter::new(self.timestamp_decimals).write(reading.timestamp_us, &mut out);
        out.push(b'\n');
        out
    }

    /// An instant as the table holds it.
    pub(super) fn timestamp(self, timestamp_us: i64) -> String {
        let mut out = Vec::new();
        TimestampWriter::new(self.timestamp_decimals).write(timestamp_us, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

pub(super) fn is_dropped(dropped: &DroppedRows, arrival: u32) -> bool {
    if dropped.is_empty() {
        return false;
    }
    let after = dropped.partition_point(|range| range.start <= arrival);
    after > 0 && dropped[after - 1].contains(&arrival)
}

const SECOND_US: i64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// Writes instants as `YYYY-MM-DD hh:mm:ss.ffffff`. Readings come in order of time, so the second rarely changes and
/// its text is kept.
struct TimestampWriter {
    second: i64,
    /// `YYYY-MM-DD hh:mm:ss`
    text: [u8; 19],
    decimals: usize,
}

impl TimestampWriter {
    fn new(decimals: u8) -> Self {
        let mut writer = Self {
            second: 0,
            text: *b"0000-00-00 00:00:00",
            decimals: usize::from(decimals.min(6)),
        };
        writer.set_second(0);
        writer
    }

    /// Digits beyond the table's precision are cut off, never rounded.
    #[inline]
    fn write(&mut self, timestamp_us: i64, out: &mut Vec<u8>) {
        let second = timestamp_us.div_euclid(SECOND_US);
        if second != self.second {
            self.set_second(second);
        }
        out.extend_from_slice(&self.text);
        if self.decimals > 0 {
            let mut fraction = timestamp_us.rem_euclid(SECOND_US) as u32;
            let mut digits = *b".000000";
            for place in (1..7).rev() {
                digits[place] = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
            out.extend_from_slice(&digits[..=self.decimals]);
        }
    }

    fn set_second(&mut self, second: i64) {
        self.second = second;
        let (year, month, day) = civil_from_days(second.div_euclid(DAY_S));
        let of_day = second.rem_euclid(DAY_S) as u32;
        let text = &mut self.text;
        two_digits(&mut text[0..2], year / 100);
        two_digits(&mut text[2..4], year % 100);
        two_digits(&mut text[5..7], month);
        two_digits(&mut text[8..10], day);
        two_digits(&mut text[11..13], of_day / 3600);
        two_digits(&mut text[14..16], of_day / 60 % 60);
        two_digits(&mut text[17..19], of_day % 60);
    }
}

fn two_digits(out: &mut [u8], number: u32) {
    out[0] = b'0' + (number / 10 % 10) as u8;
    out[1] = b'0' + (number % 10) as u8;
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar; for years 0 to 9999.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil_from_days(days: i64) -> (u32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::model::TimestampRange;

    /// Reads a field back.
    fn unescape(field: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(field.len());
        let mut rest = field.iter();
        while let Some(&byte) = rest.next() {
            bytes.push(match (byte, byte == b'\\') {
                (_, true) => match rest.next() {
                    Some(b't') => b'\t',
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b'0') => 0,
                    Some(&other) => other,
                    None => b'\\',
                },
                (plain, false) => plain,
            });
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn timestamp(timestamp_us: i64, decimals: u8) -> String {
        let mut out = Vec::new();
        TimestampWriter::new(decimals).write(timestamp_us, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_are_cut_to_the_precision_of_the_table() {
        assert_eq!(timestamp(1_999_999, 6), "1970-01-01 00:00:01.999999");
        assert_eq!(timestamp(1_999_999, 3), "1970-01-01 00:00:01.999");
        assert_eq!(timestamp(1_999_999, 0), "1970-01-01 00:00:01");
        assert_eq!(timestamp(-1, 6), "1969-12-31 23:59:59.999999");
        let range = TimestampRange::DATETIME_6;
        assert_eq!(timestamp(range.min_us, 6), "1000-01-01 00:00:00.000000");
        assert_eq!(timestamp(range.max_us, 6), "9999-12-31 23:59:59.999999");
    }

    proptest! {
        #[test]
        fn timestamps_agree_with_chrono(
            at in TimestampRange::DATETIME_6.min_us..TimestampRange::DATETIME_6.max_us
        ) {
            let expected = DateTime::from_timestamp_micros(at).unwrap();
            prop_assert_eq!(timestamp(at, 6), expected.format("%Y-%m-%d %H:%M:%S%.6f").to_string());
        }

        #[test]
        fn an_escaped_text_is_read_back_and_holds_no_separator(text in "[\\PC\\t\\n\\r\\x00\\\\'\"]{0,60}") {
            let mut escaped = Vec::new();
            escape_into(&mut escaped, &text);
            prop_assert!(!escaped.iter().any(|byte| matches!(byte, b'\t' | b'\n' | 0)));
            prop_assert_eq!(unescape(&escaped), text);
        }
    }
}

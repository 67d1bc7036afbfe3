//! What reads the bytes of strangers, each as one function that a fuzzer calls with anything. They panic when something is
//! not as it has to be. `scripts/fuzz.sh` runs them for long under nightly Rust; the tests here run them for a moment.

mod replay;

use std::str;

use chrono::NaiveDateTime;
use prost::decode_length_delimiter;

pub use self::replay::replay;
use crate::{
    auth, contract,
    model::{Limits, Reading, SentReading, Series},
    repository::{LoadBatch, mysql},
    router::rest,
    usecase::ingest::{Readings, fuzzing::Gathering},
};

/// Messages of a stream, each behind its length, from the wire to the text of a LOAD.
///
/// # Panics
/// When a reading is lost, altered, or neither accepted nor rejected (P2, P3, P5).
pub fn message(data: &[u8]) {
    let limits = Limits::default();
    for by_time in [false, true] {
        let mut gathering = Gathering::default();
        let (mut sent, mut dictionary) = (Vec::new(), Vec::new());
        for readings in messages(data).filter_map(contract::fuzzing::readings) {
            sent.extend(in_rows(&readings, &mut dictionary));
            gathering.add(readings, &limits);
        }
        hold(&gathering.seal(by_time), &sent, by_time);
    }
}

/// The messages: a length that is too large takes what is there.
fn messages(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = decode_length_delimiter(&mut data).ok()?;
        let (message, rest) = data.split_at(length.min(data.len()));
        data = rest;
        Some(message)
    })
}

/// The readings one by one; a series that the dictionary does not have is none.
fn in_rows(readings: &Readings, dictionary: &mut Vec<Series>) -> Vec<Option<SentReading>> {
    let columns = match readings {
        Readings::Rows(rows) => return rows.iter().cloned().map(Some).collect(),
        Readings::Columns(columns) => columns,
    };
    if !columns.extend_dictionary {
        dictionary.clear();
    }
    dictionary.extend(columns.series.iter().cloned());
    let row = |at: usize| {
        let series = dictionary.get(columns.series_index[at] as usize)?;
        let delta_us = columns.timestamp_delta_us[at];
        Some(SentReading {
            series: series.clone(),
            sensor_value: Some(columns.sensor_value[at]),
            timestamp_us: Some(columns.base_timestamp_us.saturating_add(delta_us)),
        })
    };
    (0..columns.series_index.len()).map(row).collect()
}

/// Holds a sealed batch to what was sent.
fn hold(batch: &dyn LoadBatch, sent: &[Option<SentReading>], by_time: bool) {
    let mut rejected = batch.rejections().iter().map(|it| it.seq.0).peekable();
    let mut arrived = Vec::new();
    for (seq, reading) in (1..).zip(sent) {
        if rejected.next_if_eq(&seq).is_none() {
            arrived.push(
                reading
                    .clone()
                    .expect("a series that nobody knows is rejected"),
            );
        }
    }
    assert_eq!(
        rejected.next(),
        None,
        "rejections ascend, and are of what was sent"
    );
    assert_eq!(batch.rows() as usize, arrived.len());
    let mut order: Vec<usize> = (0..arrived.len()).collect();
    if by_time {
        order.sort_by_key(|&at| arrived[at].timestamp_us);
    }
    let text = mysql::fuzzing::load_text(batch, 6);
    let mut lines = lines(&text).into_iter();
    for (position, at) in (0..).zip(order) {
        let (arrival, reading) = batch.row(position);
        assert_eq!(arrival as usize, at);
        assert_same(&reading, &arrived[at]);
        let line = lines.next().expect("a line for each row");
        assert_same(&read(&line, u64::from(position) + 1), &arrived[at]);
    }
    assert_eq!(lines.next(), None);
}

fn assert_same(stored: &Reading, sent: &SentReading) {
    assert_eq!(stored.series, sent.series);
    let bits = sent.sensor_value.map(f64::to_bits);
    assert_eq!(Some(stored.sensor_value.to_bits()), bits);
    assert_eq!(Some(stored.timestamp_us), sent.timestamp_us);
}

/// The lines of a file as LOAD DATA divides it into fields, by the manual.
fn lines(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut lines, mut line, mut field) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\t' => line.push(std::mem::take(&mut field)),
            b'\n' => {
                line.push(std::mem::take(&mut field));
                lines.push(std::mem::take(&mut line));
            }
            b'\\' => field.push(match bytes.next().expect("no backslash at the end") {
                b'0' => 0,
                b'b' => 8,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'Z' => 26,
                &other => other,
            }),
            other => field.push(other),
        }
    }
    assert!(line.is_empty() && field.is_empty(), "the last line ends");
    lines
}

fn read(line: &[Vec<u8>], id: u64) -> Reading {
    let fields: Vec<&str> = line
        .iter()
        .map(|field| str::from_utf8(field).expect("UTF-8"))
        .collect();
    let [own_id, id1, id2, sensor_type, value, at] = fields[..] else {
        panic!("six fields: {fields:?}");
    };
    assert_eq!(own_id.parse(), Ok(id));
    let at = NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S%.6f").expect("DATETIME(6)");
    Reading {
        series: Series {
            id1: id1.parse().expect("INT"),
            id2: id2.to_owned(),
            sensor_type: sensor_type.to_owned(),
        },
        sensor_value: value.parse().expect("DOUBLE"),
        timestamp_us: at.and_utc().timestamp_micros(),
    }
}

/// The query string of a request.
pub fn query(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        rest::fuzzing::query(text);
    }
}

/// A cursor, or the place in one.
pub fn cursor(data: &[u8]) {
    rest::fuzzing::cursor(data);
}

/// The body of an update.
pub fn body(data: &[u8]) {
    rest::fuzzing::new_values(data);
}

/// A token, what stands in `authorization`, and a scope.
pub fn token(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        auth::fuzzing::token(text);
    }
}

/// The file of tokens.
pub fn token_file(data: &[u8]) {
    auth::fuzzing::token_file(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_stored_as_they_were_sent_or_rejected() {
        replay("message", message);
    }

    #[test]
    fn query_strings_are_read_or_refused() {
        replay("query", query);
    }

    #[test]
    fn cursors_are_read_or_refused() {
        replay("cursor", cursor);
    }

    #[test]
    fn bodies_are_read_or_refused() {
        replay("body", body);
    }

    #[test]
    fn tokens_are_read_or_refused() {
        replay("token", token);
    }

    #[test]
    fn files_of_tokens_are_read_or_refused() {
        replay("token_file", token_file);
    }

    #[test]
    #[should_panic(expected = "no backslash at the end")]
    fn a_text_that_load_data_would_misread_is_found() {
        lines(b"1\t2\ta\\");
    }
}

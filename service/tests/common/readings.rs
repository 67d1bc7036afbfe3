//! Readings whose position can be read off them, and what is sent of them.

use std::ops::Range;

use sluicegate_proto::v1::{
    ColumnBatch, SensorBatch, SensorReading, Series, StreamHeader, StreamPosition,
    StreamReadingsRequest, stream_readings_request::Message,
};

use super::database::Database;

/// 2026-01-01T00:00:00Z.
pub(crate) const BASE_US: i64 = 1_767_225_600_000_000;
const SERIES: u64 = 7;

fn series(n: u64) -> Series {
    let number = n % SERIES;
    Series {
        id1: number as i32 - 3,
        id2: format!("gate-{number}"),
        sensor_type: "temperature".to_owned(),
    }
}

/// The n-th reading: its value is n, its time n microseconds after the base.
pub(crate) fn reading(n: u64) -> SensorReading {
    let Series {
        id1,
        id2,
        sensor_type,
    } = series(n);
    SensorReading {
        sensor_value: Some(n as f64),
        sensor_type,
        id1,
        id2,
        timestamp_us: Some(BASE_US + n as i64),
    }
}

pub(crate) fn readings(numbers: Range<u64>) -> Vec<SensorReading> {
    numbers.map(reading).collect()
}

fn request(message: Message) -> StreamReadingsRequest {
    StreamReadingsRequest {
        message: Some(message),
        source_position: Vec::new(),
    }
}

pub(crate) fn header(stream_id: &str, epoch: u64, first_seq: u64) -> StreamReadingsRequest {
    request(Message::Header(position(stream_id, epoch, first_seq)))
}

pub(crate) fn position(stream_id: &str, epoch: u64, first_seq: u64) -> StreamHeader {
    StreamHeader {
        stream_id: stream_id.to_owned(),
        epoch,
        first_seq,
    }
}

/// The header that resumes where the stream stands.
pub(crate) fn resume(stream_id: &str, at: &StreamPosition) -> StreamReadingsRequest {
    header(stream_id, at.epoch, at.committed_seq + 1)
}

pub(crate) fn rows(readings: Vec<SensorReading>) -> StreamReadingsRequest {
    request(Message::Rows(SensorBatch {
        readings,
        position: None,
    }))
}

pub(crate) fn columns(batch: ColumnBatch) -> StreamReadingsRequest {
    request(Message::Columns(batch))
}

/// The same readings as columns, with all series in the dictionary.
pub(crate) fn column_batch(numbers: Range<u64>) -> ColumnBatch {
    ColumnBatch {
        series: (0..SERIES).map(series).collect(),
        extend_dictionary: false,
        series_index: numbers.clone().map(|n| (n % SERIES) as u32).collect(),
        sensor_value: numbers.clone().map(|n| n as f64).collect(),
        base_timestamp_us: BASE_US,
        timestamp_delta_us: numbers.map(|n| n as i64).collect(),
        series_tags: Vec::new(),
    }
}

/// Exactly the readings of these numbers are stored.
pub(crate) async fn assert_stored(database: &Database, numbers: Range<u64>) {
    let stored = database.stored().await;
    assert_same(stored.iter().map(|row| &row.reading), &readings(numbers));
}

/// Everything about a reading, bit for bit.
pub(crate) fn exact(reading: &SensorReading) -> (i64, i32, String, String, u64) {
    (
        reading.timestamp_us(),
        reading.id1,
        reading.id2.clone(),
        reading.sensor_type.clone(),
        reading.sensor_value().to_bits(),
    )
}

/// The same readings, bit for bit, in whatever order.
pub(crate) fn assert_same<'a>(
    stored: impl IntoIterator<Item = &'a SensorReading>,
    sent: impl IntoIterator<Item = &'a SensorReading>,
) {
    let sorted = |readings: &mut dyn Iterator<Item = &'a SensorReading>| {
        let mut all: Vec<_> = readings.map(exact).collect();
        all.sort();
        all
    };
    let (stored, sent) = (
        sorted(&mut stored.into_iter()),
        sorted(&mut sent.into_iter()),
    );
    for (stored, sent) in stored.iter().zip(&sent) {
        assert_eq!(stored, sent, "stored against sent");
    }
    assert_eq!(stored.len(), sent.len(), "readings stored against sent");
}

/// What a table must give back as it was: doubles at their limits, names of all kinds, odd microseconds, old and late times. No negative
/// zero, which MariaDB stores as zero.
pub(crate) fn extreme() -> Vec<SensorReading> {
    let values = [
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        0.1 + 0.2,
        1.0 / 3.0,
        -1e-300,
        9_007_199_254_740_993.0,
        0.0,
    ];
    let names = [
        "größe 🚿",
        "a, \"b\"\\;'",
        "=1+1",
        "-",
        "ÿ\u{301}",
        "A",
        "a",
        "{}",
    ];
    let ids = [i32::MIN, -1, 0, i32::MAX];
    let times = [
        31_536_000_000_001,
        1_767_225_600_999_999,
        4_102_444_799_123_457,
    ];
    let one = |n: usize| SensorReading {
        sensor_value: Some(values[n % values.len()]),
        sensor_type: format!("{}\t", names[(n + 3) % names.len()]),
        id1: ids[n % ids.len()],
        id2: names[n % names.len()].to_owned(),
        timestamp_us: Some(times[n % times.len()] + n as i64),
    };
    (0..240).map(one).collect()
}

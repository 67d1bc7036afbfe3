//! Instants are stored as they were sent, whatever the server's time zone: the tests' own has another than UTC.

use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{ColumnBatch, SensorBatch, SensorReading, StreamReadingsRequest};

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{BASE_US, assert_same, column_batch, columns, reading},
    service::{Service, take_any_time},
    until,
};

on_each_engine! {
    instants_are_stored_to_the_microsecond,
    instants_beyond_the_table_are_rejected,
    instants_around_a_change_of_clocks_stay_apart,
    the_seed_layout_cuts_to_seconds_and_never_rounds,
    a_time_that_cannot_be_meant_is_rejected_with_its_likely_unit,
    a_reading_older_than_the_retention_is_rejected_and_not_acknowledged,
}

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
/// 0000-01-01 is no date that a table holds; 1000-01-01 and 9999-12-31 are the ends of what is supported.
const FIRST_US: i64 = -30_610_224_000_000_000;
const LAST_US: i64 = 253_402_300_799_999_999;

fn at(instants: &[i64]) -> Vec<SensorReading> {
    let of = |&timestamp_us| SensorReading {
        timestamp_us: Some(timestamp_us),
        ..reading(1)
    };
    instants.iter().map(of).collect()
}

fn batch(readings: Vec<SensorReading>) -> SensorBatch {
    SensorBatch {
        readings,
        position: None,
    }
}

async fn instants_are_stored_to_the_microsecond(database: Database) {
    let service = Service::start_for_any_time(&database).await;
    let instants = [
        FIRST_US,
        -1,
        -SECOND - 1,
        -86_400 * SECOND,
        0,
        1,
        999_999,
        BASE_US + 123_456,
        2_147_483_648 * SECOND,
        // 2024-02-29T23:59:59.999999Z and the instant after.
        1_709_251_199_999_999,
        1_709_251_200_000_000,
        LAST_US,
    ];
    let sent = at(&instants);
    let reply = service
        .client()
        .await
        .send_sensor_batch(batch(sent.clone()))
        .await;
    assert_eq!(reply.expect("stored").into_inner().rejected_readings, []);
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &sent,
    );
    service.close().await;
}

async fn instants_beyond_the_table_are_rejected(database: Database) {
    let service = Service::start_for_any_time(&database).await;
    let instants = [FIRST_US - 1, LAST_US + 1, i64::MIN, i64::MAX];
    let reply = service
        .client()
        .await
        .send_sensor_batch(batch(at(&instants)))
        .await;
    let reply = reply.expect("answered").into_inner();
    assert_eq!((reply.committed, reply.rejected), (0, 4));
    assert!(
        reply
            .rejected_readings
            .iter()
            .all(|note| note.field == "timestamp_us")
    );
    let kept: Vec<i64> = database
        .quarantined()
        .await
        .into_iter()
        .map(|row| row.timestamp_us)
        .collect();
    assert_eq!(kept, instants);
    service.close().await;
}

/// Half hours around the changes of clocks in New York and Berlin in 2025.
fn around_clock_changes() -> Vec<i64> {
    let changes = [1_741_503_600, 1_762_063_200, 1_743_296_400, 1_761_440_400];
    let around = changes.map(|change| (-4..=4).map(move |step| change * SECOND + step * HOUR / 2));
    around.into_iter().flatten().collect()
}

async fn instants_around_a_change_of_clocks_stay_apart(database: Database) {
    for layout in [Layout::Partitioned, Layout::Seed] {
        let database = database.server.schema().await;
        let service =
            Service::start_with(&database, |settings| settings.layout = Some(layout)).await;
        let sent = at(&around_clock_changes());
        let reply = service
            .client()
            .await
            .send_sensor_batch(batch(sent.clone()))
            .await;
        assert_eq!(reply.expect("stored").into_inner().rejected_readings, []);
        assert_same(
            database.stored().await.iter().map(|row| &row.reading),
            &sent,
        );
        service.close().await;
    }
}

async fn the_seed_layout_cuts_to_seconds_and_never_rounds(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Seed);
        take_any_time(settings);
    })
    .await;
    let readiness = service.readiness().await;
    assert_eq!(readiness["storage"]["layout"], "seed");
    assert_eq!(readiness["storage"]["timestamp_decimals"], 0);
    let last = 2_147_483_647 * SECOND;
    let instants = [
        SECOND,
        BASE_US + 1,
        BASE_US + 500_000,
        BASE_US + 999_999,
        last + 999_999,
    ];
    let beyond = [0, SECOND - 1, -1, last + SECOND];
    let sent = at(&[instants.as_slice(), beyond.as_slice()].concat());
    let reply = service.client().await.send_sensor_batch(batch(sent)).await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!((reply.committed, reply.rejected), (5, 4));
    let cut = at(&instants.map(|instant| instant - instant % SECOND));
    assert_same(database.stored().await.iter().map(|row| &row.reading), &cut);
    service.close().await;
}

async fn a_time_that_cannot_be_meant_is_rejected_with_its_likely_unit(database: Database) {
    let service = Service::start(&database).await;
    let now_us = chrono::Utc::now().timestamp_micros();
    let wrong = [
        (
            now_us / 1_000_000,
            "before ingest.earliest (1971-01-01): seconds?",
        ),
        (
            now_us / 1_000,
            "before ingest.earliest (1971-01-01): milliseconds?",
        ),
        (
            now_us * 1_000,
            "ahead of now by more than ingest.max_ahead (1d): nanoseconds?",
        ),
        (
            now_us + 25 * HOUR,
            "ahead of now by more than ingest.max_ahead (1d)",
        ),
        (0, "before ingest.earliest (1971-01-01)"),
    ];
    let mut sent = at(&wrong.map(|(instant, _)| instant));
    sent.extend(at(&[now_us, now_us + 23 * HOUR]));
    let good = sent[wrong.len()..].to_vec();
    let reply = service.client().await.send_sensor_batch(batch(sent)).await;
    let reply = reply.expect("answered").into_inner();
    assert_eq!((reply.committed, reply.rejected), (2, 5));
    for (note, (_, reason)) in reply.rejected_readings.iter().zip(wrong) {
        assert_eq!(note.field, "timestamp_us");
        assert!(note.reason.ends_with(reason), "{}", note.reason);
    }
    // The same as columns.
    let columns = column_batch_at(&wrong.map(|(instant, _)| instant));
    let messages = tokio_stream::iter([columns]);
    let reply = service.client().await.stream_readings(messages).await;
    let reply = reply.expect("answered").into_inner();
    assert_eq!((reply.committed, reply.rejected), (0, 5));
    for (note, (_, reason)) in reply.rejected_readings.iter().zip(wrong) {
        assert!(note.reason.ends_with(reason), "{}", note.reason);
    }
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &good,
    );
    service.close().await;
}

/// Readings of one series at these instants, as columns.
fn column_batch_at(instants: &[i64]) -> StreamReadingsRequest {
    columns(ColumnBatch {
        series_index: vec![0; instants.len()],
        sensor_value: vec![1.0; instants.len()],
        base_timestamp_us: 0,
        timestamp_delta_us: instants.to_vec(),
        ..column_batch(1..1)
    })
}

async fn a_reading_older_than_the_retention_is_rejected_and_not_acknowledged(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.partitions.retention = Some("1h".parse().expect("a retention"));
        settings.partitions.interval_s = Some(1);
    })
    .await;
    let now_us = chrono::Utc::now().timestamp_micros();
    let sent = at(&[now_us - 2 * HOUR, now_us - HOUR / 2, now_us]);
    let young = sent[1..].to_vec();
    let reply = service.client().await.send_sensor_batch(batch(sent)).await;
    let reply = reply.expect("answered").into_inner();
    assert_eq!((reply.committed, reply.rejected), (2, 1));
    let reason = &reply.rejected_readings[0].reason;
    assert!(
        reason.ends_with("older than partitions.retention (1h), which would remove it at once"),
        "{reason}"
    );
    let passes = || async {
        let partitions = service.readiness().await["partitions"].clone();
        partitions["last_pass"].as_str().map(str::to_owned)
    };
    // What was acknowledged is there after passes that could have dropped it.
    let first = passes().await;
    until("another pass has ended", || async {
        passes().await != first
    })
    .await;
    let second = passes().await;
    until("a third pass has ended", || async {
        passes().await != second
    })
    .await;
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &young,
    );
    service.close().await;
}

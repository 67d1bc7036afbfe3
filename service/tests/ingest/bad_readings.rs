//! One bad reading hurts no other: it is rejected with its position and reason, and kept in quarantine (P5).

use sluicegate::model::KEPT_CHARS;
use sluicegate_proto::v1::{ColumnBatch, SensorBatch, SensorReading, Series};
use tonic_types::StatusExt as _;

use crate::common::{
    database::{Database, Quarantined},
    on_each_engine,
    readings::{assert_same, column_batch, columns, position, reading, readings, resume, rows},
    service::{AckedCall, Service},
};

on_each_engine! {
    one_bad_reading_in_ten_thousand_is_explained_and_the_others_are_stored,
    a_batch_of_bad_readings_is_answered_with_the_first_thousand,
    a_reading_that_only_the_database_refuses_is_found_and_quarantined,
    a_reading_of_an_unknown_series_is_rejected_alone,
    readings_of_a_bad_series_are_rejected_alone,
    a_rejected_reading_is_kept_whatever_its_size,
    a_call_of_bad_readings_only_is_answered,
    a_reading_without_a_value_or_a_time_is_rejected_alone,
    a_single_reading_without_a_value_or_a_time_is_answered_with_the_field,
}

async fn one_bad_reading_in_ten_thousand_is_explained_and_the_others_are_stored(
    database: Database,
) {
    let service = Service::start(&database).await;
    let at = service.open("one-bad").await;
    let mut sent = readings(1..10_001);
    sent[6_999].sensor_value = Some(f64::INFINITY);
    let batch = SensorBatch {
        readings: sent.clone(),
        position: Some(position("one-bad", at.epoch, 1)),
    };
    let reply = service.client().await.send_sensor_batch(batch).await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!(
        (reply.committed, reply.rejected, reply.committed_seq),
        (9_999, 1, 10_000)
    );
    let bad = sent.remove(6_999);
    let reason = "sensor_value is not a finite number".to_owned();
    assert_eq!(reply.rejected_readings[0].reason, reason);
    let expected = Quarantined {
        stream_id: Some("one-bad".to_owned()),
        seq: 7_000,
        field: "sensor_value".to_owned(),
        reason,
        sensor_value: "inf".to_owned(),
        sensor_type: bad.sensor_type,
        id1: bad.id1,
        id2: bad.id2,
        timestamp_us: bad.timestamp_us.expect("it has one"),
    };
    assert_eq!(database.quarantined().await, [expected]);
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &sent,
    );
    service.close().await;
}

async fn a_batch_of_bad_readings_is_answered_with_the_first_thousand(database: Database) {
    let service = Service::start(&database).await;
    let mut sent = readings(1..40_001);
    for bad in &mut sent[10..] {
        // Nanoseconds, by mistake.
        bad.timestamp_us = Some(bad.timestamp_us() * 1_000);
    }
    let batch = SensorBatch {
        readings: sent,
        position: None,
    };
    let reply = service.client().await.send_sensor_batch(batch).await;
    let reply = reply.expect("answered").into_inner();
    assert_eq!((reply.committed, reply.rejected), (10, 39_990));
    let told: Vec<_> = reply
        .rejected_readings
        .iter()
        .map(|note| note.seq)
        .collect();
    assert_eq!(told, (11..1_011).collect::<Vec<_>>());
    assert_eq!(database.count("rejected_readings").await, 39_990);
    service.close().await;
}

async fn a_reading_that_only_the_database_refuses_is_found_and_quarantined(database: Database) {
    let service = Service::start(&database).await;
    database
        .run("ALTER TABLE sensor_readings ADD CONSTRAINT sane CHECK (sensor_value < 100000)")
        .await;
    let at = service.open("refused").await;
    let mut call = AckedCall::resume(&mut service.client().await, "refused", &at).await;
    let mut batch = column_batch(1..5_001);
    // A reading that validation rejects stands before it: positions count both.
    batch.sensor_value[99] = f64::NAN;
    batch.sensor_value[3_332] = 1e6;
    call.send(columns(batch)).await;
    let ack = call.until_acked(5_000).await;
    assert_eq!((ack.committed, ack.rejected), (4_998, 2));
    let told: Vec<_> = ack
        .rejected_readings
        .iter()
        .map(|note| (note.seq, note.field.as_str()))
        .collect();
    assert_eq!(told, [(100, "sensor_value"), (3_333, "reading")]);
    let quarantined = database.quarantined().await;
    assert_eq!(
        (quarantined[1].seq, quarantined[1].sensor_value.parse()),
        (3_333, Ok(1e6))
    );
    assert_eq!(quarantined[1].id2, reading(3_333).id2);
    let sent = readings(1..5_001)
        .into_iter()
        .filter(|reading| ![100.0, 3_333.0].contains(&reading.sensor_value()));
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &sent.collect::<Vec<_>>(),
    );
    call.finish().await;
    service.close().await;
}

async fn a_reading_of_an_unknown_series_is_rejected_alone(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("index").await;
    let mut batch = column_batch(1..101);
    batch.series_index[49] = 7;
    batch.series_index[50] = u32::MAX;
    let messages = [resume("index", &at), columns(batch)];
    let reply = service
        .client()
        .await
        .stream_readings(tokio_stream::iter(messages))
        .await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!(
        (reply.committed, reply.rejected, reply.committed_seq),
        (98, 2, 100)
    );
    let told: Vec<_> = reply
        .rejected_readings
        .iter()
        .map(|note| (note.seq, note.field.as_str()))
        .collect();
    assert_eq!(told, [(50, "series_index"), (51, "series_index")]);
    service.close().await;
}

async fn readings_of_a_bad_series_are_rejected_alone(database: Database) {
    let service = Service::start(&database).await;
    let mut batch = column_batch(1..71);
    batch.series[3].id2 = " blank".to_owned();
    let reply = service
        .client()
        .await
        .stream_readings(tokio_stream::iter([columns(batch)]))
        .await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!((reply.committed, reply.rejected), (60, 10));
    let told: Vec<_> = reply
        .rejected_readings
        .iter()
        .map(|note| (note.seq, note.field.as_str()))
        .collect();
    let of_the_series: Vec<_> = (0..10).map(|n| (n * 7 + 3, "id2")).collect();
    assert_eq!(told, of_the_series);
    let quarantined = database.quarantined().await;
    let kept: Vec<_> = quarantined.iter().map(|row| row.id2.as_str()).collect();
    assert_eq!(kept, [" blank"; 10]);
    service.close().await;
}

async fn a_rejected_reading_is_kept_whatever_its_size(database: Database) {
    let service = Service::start(&database).await;
    let of = |id2: String, value| SensorReading {
        sensor_value: Some(value),
        id2,
        ..reading(1)
    };
    let long = "é'\\\0".repeat(200_000);
    let bad = [
        of(String::new(), f64::MAX),
        of(String::new(), f64::MIN),
        of(String::new(), 5e-324),
        of(String::new(), -2.225_073_858_507_201_4e-308),
        of(long.clone(), 1.0),
    ];
    let batch = SensorBatch {
        readings: bad.to_vec(),
        position: None,
    };
    let reply = service.client().await.send_sensor_batch(batch).await;
    assert_eq!(reply.expect("answered").into_inner().rejected, 5);
    let kept = database.quarantined().await;
    assert_eq!(kept.len(), bad.len());
    for (kept, sent) in kept.iter().zip(&bad) {
        assert_eq!(kept.sensor_value.parse(), Ok(sent.sensor_value()));
        let beginning: String = sent.id2.chars().take(KEPT_CHARS).collect();
        assert_eq!(kept.id2, beginning, "as it was sent, up to its limit");
    }
    service.close().await;
}

async fn a_call_of_bad_readings_only_is_answered(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("all-bad").await;
    let message = columns(ColumnBatch {
        series: vec![Series::default()],
        series_index: vec![0; 5_000],
        sensor_value: vec![1.0; 5_000],
        timestamp_delta_us: vec![0; 5_000],
        ..ColumnBatch::default()
    });
    let mut call = AckedCall::resume(&mut service.client().await, "all-bad", &at).await;
    call.send(message).await;
    let ack = call.until_acked(5_000).await;
    assert_eq!((ack.committed, ack.rejected), (0, 5_000));
    assert_eq!(
        ack.rejected_readings.len(),
        100,
        "a stream is told the first hundred"
    );
    assert_eq!(database.count("rejected_readings").await, 5_000);
    call.finish().await;
    service.close().await;
}

/// What a client of the contract without presence sends for 0, and what one sends that forgot the field.
fn without_value() -> SensorReading {
    SensorReading {
        sensor_value: None,
        ..reading(2)
    }
}

fn without_time() -> SensorReading {
    SensorReading {
        timestamp_us: None,
        ..reading(3)
    }
}

async fn a_reading_without_a_value_or_a_time_is_rejected_alone(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("absent").await;
    let mut call = AckedCall::resume(&mut service.client().await, "absent", &at).await;
    let zero = SensorReading {
        sensor_value: Some(0.0),
        id1: 0,
        ..reading(4)
    };
    let sent = vec![reading(1), without_value(), without_time(), zero.clone()];
    call.send(rows(sent)).await;
    let ack = call.until_acked(4).await;
    assert_eq!((ack.committed, ack.rejected), (2, 2));
    let reason = |field| {
        format!(
            "{field} is absent, or 0 from a client of the old contract, which ingest.absent_value lets in as zero"
        )
    };
    let told: Vec<_> = ack
        .rejected_readings
        .iter()
        .map(|note| (note.seq, note.field.as_str(), note.reason.clone()))
        .collect();
    assert_eq!(
        told,
        [
            (2, "sensor_value", reason("sensor_value")),
            (3, "timestamp_us", reason("timestamp_us"))
        ]
    );
    let kept = database.quarantined().await;
    assert_eq!(kept[0].sensor_value, "absent");
    assert_eq!(kept[1].sensor_value, "3.0");
    let stored = database.stored().await;
    assert_same(stored.iter().map(|row| &row.reading), &[reading(1), zero]);
    call.finish().await;
    service.close().await;
}

async fn a_single_reading_without_a_value_or_a_time_is_answered_with_the_field(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    for (sent, field) in [
        (without_value(), "sensor_value"),
        (without_time(), "timestamp_us"),
    ] {
        let refused = client.send_sensor_reading(sent).await;
        let status = refused.expect_err("rejected");
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        let violations = status.get_details_bad_request().expect("details");
        assert_eq!(violations.field_violations[0].field, field);
    }
    assert_eq!(database.count("sensor_readings").await, 0);
    service.close().await;
}

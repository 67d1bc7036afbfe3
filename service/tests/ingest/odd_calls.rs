//! Calls that do not keep to the rules: each is told so, and hurts nobody else.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use futures::StreamExt as _;
use mysql_async::prelude::Queryable as _;
use prost::{Message as _, bytes::Bytes};
use sluicegate_proto::v1::{ColumnBatch, OpenStreamRequest, ResumeStream, SensorBatch};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{assert_stored, column_batch, columns, header, reading, readings, resume, rows},
    service::{AckedCall, Service},
};
use crate::stranger::{StrangeCall, Stranger, empty_elements, framed};

on_each_engine! {
    a_dictionary_without_a_reading_is_not_answered_ok,
    a_stream_that_is_cut_off_before_its_first_reading_is_told_to_come_back,
    a_message_of_fields_that_nobody_knows_is_not_answered_ok,
    a_second_message_on_a_unary_call_is_refused,
    a_unary_call_that_brings_no_message_is_ended,
    replies_that_nobody_reads_give_their_room_back,
    messages_packed_with_gzip_are_taken,
    the_deadline_of_a_client_is_answered_as_such,
    an_epoch_that_nobody_can_hold_is_not_resumed,
    headers_beyond_their_limit_are_refused,
}

/// The field that a refusal names.
fn violated(status: &Status) -> String {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("field violations");
    details.field_violations[0].field.clone()
}

/// A dictionary that goes ahead of its readings.
fn series_only() -> ColumnBatch {
    ColumnBatch {
        extend_dictionary: true,
        series: column_batch(1..2).series,
        ..ColumnBatch::default()
    }
}

async fn a_dictionary_without_a_reading_is_not_answered_ok(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let series_only = series_only();
    let only = tokio_stream::iter([columns(series_only.clone())]);
    let refused = client.stream_readings(only).await.expect_err("nothing");
    assert_eq!(violated(&refused), "columns.series_index");
    let mut acked = AckedCall::begin(&mut client, columns(series_only.clone())).await;
    acked.ack().await.expect("begins");
    drop(std::mem::replace(
        &mut acked.messages,
        tokio::sync::mpsc::channel(1).0,
    ));
    assert_eq!(violated(&acked.failure().await), "columns.series_index");
    // Announced first and used then, as a producer does with many.
    let mut using = column_batch(1..11);
    using.series.clear();
    using.extend_dictionary = true;
    let both = tokio_stream::iter([columns(series_only), columns(using)]);
    let stored = client.stream_readings(both).await.expect("stored");
    assert_eq!(stored.into_inner().committed, 10);
    service.close().await;
}

/// Its readings may have been on the way.
async fn a_stream_that_is_cut_off_before_its_first_reading_is_told_to_come_back(
    database: Database,
) {
    let service = Service::start_with(&database, |settings| {
        settings.grpc.idle_limit_s = Some(1);
    })
    .await;
    let mut client = service.client().await;
    let announced = tokio_stream::iter([columns(series_only())]);
    let messages = announced.chain(tokio_stream::pending());
    let refused = client.stream_readings(messages).await;
    let refused = refused.expect_err("not all of it");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let mut acked = AckedCall::begin(&mut client, columns(series_only())).await;
    while !acked
        .ack()
        .await
        .expect("no error")
        .expect("one more")
        .draining
    {}
    assert_eq!(acked.ack().await.expect("no error"), None);
    service.close().await;
}

async fn a_message_of_fields_that_nobody_knows_is_not_answered_ok(database: Database) {
    let service = Service::start(&database).await;
    let mut stranger = Stranger::connect(service.grpc).await.expect("connects");
    // Field 9, which no message has.
    let unknown = framed(&empty_elements(&[9], 10));
    let inside = framed(&empty_elements(&[2, 9], 10));
    for (method, message) in [
        ("SendSensorBatch", &unknown),
        ("StreamReadings", &unknown),
        ("StreamReadings", &inside),
    ] {
        let refused = stranger.call(method, &[], message.clone()).end().await;
        assert_eq!(violated(&refused), "message", "{method}");
    }
    service.close().await;
}

async fn a_second_message_on_a_unary_call_is_refused(database: Database) {
    let service = Service::start(&database).await;
    let mut stranger = Stranger::connect(service.grpc).await.expect("connects");
    let opening = OpenStreamRequest {
        stream_id: "twice".to_owned(),
        resume: None,
    };
    for (method, message) in [
        ("SendSensorReading", framed(&reading(1).encode_to_vec())),
        (
            "SendSensorBatch",
            framed(
                &SensorBatch {
                    readings: readings(1..11),
                    position: None,
                }
                .encode_to_vec(),
            ),
        ),
        ("OpenStream", framed(&opening.encode_to_vec())),
    ] {
        let together = Bytes::from([&message[..], &message[..]].concat());
        let refused = stranger.call(method, &[], together).end().await;
        assert_eq!(violated(&refused), "message", "{method}");
        let call = stranger.call(method, &[], message.clone());
        call.send(message).await;
        let refused = call.end().await;
        assert_eq!(violated(&refused), "message", "{method}");
        assert!(refused.message().contains("second message"), "{refused:?}");
    }
    assert_eq!(database.count("sensor_readings").await, 0);
    assert_eq!(
        database
            .count("ingest_streams WHERE stream_id = 'twice'")
            .await,
        0
    );
    service.close().await;
}

async fn a_unary_call_that_brings_no_message_is_ended(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.grpc.message_deadline_s = Some(1);
    })
    .await;
    let mut stranger = Stranger::connect(service.grpc).await.expect("connects");
    let message = framed(&reading(1).encode_to_vec());
    for (what, bytes) in [
        ("a part of the prefix", message.slice(..3)),
        ("a part of the message", message.slice(..9)),
        ("all but the end of the call", message),
    ] {
        let ended = stranger
            .call("SendSensorReading", &[], bytes)
            .answered()
            .await;
        assert_eq!(ended.code(), Code::DeadlineExceeded, "{what}: {ended:?}");
        assert!(
            ended.message().contains("grpc.message_deadline_s"),
            "{ended:?}"
        );
    }
    service.close().await;
}

async fn replies_that_nobody_reads_give_their_room_back(database: Database) {
    const CALLS: u64 = 5;
    let service = Service::start_with(&database, |settings| {
        settings.grpc.message_deadline_s = Some(1);
    })
    .await;
    let mut deaf = Stranger::deaf(service.grpc).await.expect("connects");
    let bad = framed(&empty_elements(&[1], 1_000));
    let calls: Vec<_> = (0..CALLS)
        .map(|_| deaf.call("SendSensorBatch", &[], bad.clone()))
        .collect();
    for status in futures::future::join_all(calls.into_iter().map(StrangeCall::end)).await {
        assert_ne!(status.code(), Code::Ok, "it was not read");
    }
    assert_eq!(service.figure("rejected").await, CALLS * 1_000);
    service.close().await;
}

/// With the flag of what is packed.
fn packed(message: &[u8]) -> Bytes {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(message).expect("packed");
    let mut framed = framed(&packed.finish().expect("packed")).to_vec();
    framed[0] = 1;
    framed.into()
}

async fn messages_packed_with_gzip_are_taken(database: Database) {
    let service = Service::start(&database).await;
    let mut stranger = Stranger::connect(service.grpc).await.expect("connects");
    let gzip = [("grpc-encoding", "gzip")];
    let stored = stranger.call(
        "SendSensorReading",
        &gzip,
        packed(&reading(1).encode_to_vec()),
    );
    assert_eq!(stored.end().await.code(), Code::Ok);
    // A call that packs need not pack each message.
    let large = columns(column_batch(2..50_002)).encode_to_vec();
    let rest = rows(readings(50_002..50_003)).encode_to_vec();
    let both = [packed(&large), framed(&rest)].concat();
    assert!(both.len() < large.len() / 2);
    let stored = stranger.call("StreamReadings", &gzip, both.into());
    assert_eq!(stored.end().await.code(), Code::Ok);
    assert_stored(&database, 1..50_003).await;

    // Sixteen megabytes in as many kilobytes.
    let bomb = packed(&vec![0; 16 << 20]);
    let refused = stranger.call("StreamReadings", &gzip, bomb).end().await;
    assert!(refused.message().contains("too large"), "{refused:?}");
    let mut flagged = framed(&reading(1).encode_to_vec()).to_vec();
    flagged[0] = 1;
    let flagged = Bytes::from(flagged);
    for (method, headers, expected) in [
        ("SendSensorReading", &[][..], "the call did not say how"),
        ("StreamReadings", &[], "the call did not say how"),
        (
            "StreamReadings",
            &gzip,
            "it is said to be packed with gzip, and is not",
        ),
    ] {
        let refused = stranger.call(method, headers, flagged.clone()).end().await;
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains(expected), "{refused:?}");
    }
    let other = [("grpc-encoding", "zstd")];
    let refused = stranger.call("StreamReadings", &other, flagged).end().await;
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");
    service.close().await;
}

async fn the_deadline_of_a_client_is_answered_as_such(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let at = service.open("late").await;
    let mut other = database.connect().await;
    other.query_drop("SET autocommit = 0").await.expect("set");
    let lock = "LOCK TABLES sensor_readings WRITE, ingest_streams READ";
    other.query_drop(lock).await.expect("locked");
    let mut stranger = Stranger::connect(service.grpc).await.expect("connects");
    let soon = [("grpc-timeout", "300m")];
    let one = framed(&reading(1).encode_to_vec());
    let message = framed(&rows(readings(2..3)).encode_to_vec());
    for (method, bytes) in [
        ("SendSensorReading", one),
        ("StreamReadings", message.clone()),
        ("StreamReadingsAcked", message),
    ] {
        let ended = stranger.call(method, &soon, bytes).answered().await;
        assert_eq!(ended.code(), Code::DeadlineExceeded, "{method}: {ended:?}");
    }
    // A client of the library notices by itself as well; what counts is that nobody is told "cancelled".
    let mut request = Request::new(tokio_stream::iter([
        resume("late", &at),
        rows(readings(3..4)),
    ]));
    request.set_timeout(Duration::from_millis(300));
    let ended = client.stream_readings(request).await.expect_err("late");
    assert!(matches!(
        ended.code(),
        Code::DeadlineExceeded | Code::Cancelled
    ));
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    other.query_drop("ROLLBACK").await.expect("unlocked");
    service.close().await;
}

async fn an_epoch_that_nobody_can_hold_is_not_resumed(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let held = service.open("guessed").await;
    for (held_epoch, next_epoch, field) in [
        (0, held.epoch, "resume.held_epoch"),
        (0, 70_000, "resume.held_epoch"),
        // As near as another OpenStream comes.
        (held.epoch, held.epoch + 1, "resume.next_epoch"),
        (held.epoch, held.epoch + 65_535, "resume.next_epoch"),
        (held.epoch, held.epoch, "resume.next_epoch"),
    ] {
        let request = OpenStreamRequest {
            stream_id: "guessed".to_owned(),
            resume: Some(ResumeStream {
                held_epoch,
                next_epoch,
            }),
        };
        let refused = client.open_stream(request).await.expect_err("nobody's");
        assert_eq!(violated(&refused), field, "{held_epoch} {next_epoch}");
    }
    let mut never = AckedCall::begin(&mut client, header("guessed", held.epoch + 1, 1)).await;
    assert_eq!(never.failure().await.code(), Code::FailedPrecondition);
    // Whoever holds it is not disturbed.
    let mut call = AckedCall::resume(&mut client, "guessed", &held).await;
    call.send(rows(readings(1..11))).await;
    assert_eq!(call.until_acked(10).await.committed, 10);
    call.finish().await;
    service.close().await;
}

async fn headers_beyond_their_limit_are_refused(database: Database) {
    for (given, taken, refused) in [(None, 6_000, 9_000), (Some(1 << 10), 500, 2_000)] {
        let service = Service::start_with(&database, |settings| {
            settings.grpc.max_header_bytes = given;
        })
        .await;
        let mut client = service.client().await;
        let with = |bytes: usize, number: u64| {
            let mut request = Request::new(reading(number));
            let padding = "x".repeat(bytes).parse().expect("ASCII");
            request.metadata_mut().insert("x-padding", padding);
            request
        };
        let sent = client.send_sensor_reading(with(taken, 1)).await;
        sent.unwrap_or_else(|status| panic!("{given:?}: {status:?}"));
        let status = client.send_sensor_reading(with(refused, 2)).await;
        let status = status.expect_err("it is refused");
        assert!(status.message().contains("431"), "{given:?}: {status:?}");
        // The connection is still good.
        let sent = client.send_sensor_reading(reading(3)).await;
        sent.unwrap_or_else(|status| panic!("{given:?}: {status:?}"));
        service.close().await;
    }
}

//! Calls that are malformed, empty, cut short or doubled.

use sluicegate_proto::v1::{
    ColumnBatch, OpenStreamRequest, SensorBatch, SensorReading, StreamReadingsRequest,
    StreamReadingsResponse,
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::common::{
    self,
    database::Database,
    on_each_engine,
    readings::{
        assert_stored, column_batch, columns, header, position, reading, readings, resume, rows,
    },
    service::{AckedCall, Service},
};

on_each_engine! {
    columns_of_different_lengths_are_refused,
    a_message_of_too_many_readings_is_refused,
    a_header_in_mid_stream_is_refused_and_what_came_before_is_stored,
    a_batch_with_a_position_inside_a_stream_is_refused,
    what_is_no_message_is_refused,
    a_message_above_the_limit_is_refused_and_told_the_limit,
    a_stream_that_brings_nothing_is_told_so,
    an_empty_stream_and_an_empty_batch_are_answered,
    a_stream_that_is_cancelled_commits_what_came,
    two_calls_of_one_stream_store_each_reading_once,
    a_second_call_does_not_acknowledge_what_the_first_has_not_committed,
    a_stream_id_that_cannot_be_a_name_is_refused,
    a_first_seq_of_zero_is_refused,
    a_dictionary_that_does_not_fit_ends_its_call_only,
}

/// The field that a refusal names.
fn violated(status: &Status) -> String {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("field violations");
    details.field_violations[0].field.clone()
}

async fn stream(
    service: &Service,
    messages: Vec<StreamReadingsRequest>,
) -> Result<StreamReadingsResponse, Status> {
    let mut client = service.client().await;
    let reply = client.stream_readings(tokio_stream::iter(messages)).await?;
    Ok(reply.into_inner())
}

async fn columns_of_different_lengths_are_refused(database: Database) {
    let service = Service::start(&database).await;
    let whole = column_batch(1..11);
    let short_values = ColumnBatch {
        sensor_value: vec![1.0; 9],
        ..whole.clone()
    };
    let long_times = ColumnBatch {
        timestamp_delta_us: vec![1; 11],
        ..whole.clone()
    };
    let no_index = ColumnBatch {
        series_index: Vec::new(),
        ..whole
    };
    for (batch, field) in [
        (short_values, "columns.sensor_value"),
        (long_times, "columns.timestamp_delta_us"),
        (no_index, "columns.sensor_value"),
    ] {
        let refused = stream(&service, vec![columns(batch)]).await;
        assert_eq!(violated(&refused.expect_err("malformed")), field);
    }
    assert_eq!(database.count("sensor_readings").await, 0);
    service.close().await;
}

/// Empty ones, which are two bytes each on the wire and far more as rejections.
async fn a_message_of_too_many_readings_is_refused(database: Database) {
    let service = Service::start(&database).await;
    let empty = vec![SensorReading::default(); 1_000_001];
    let refused = stream(&service, vec![rows(empty.clone())]).await;
    assert_eq!(violated(&refused.expect_err("malformed")), "rows.readings");
    let batch = SensorBatch {
        readings: empty,
        position: None,
    };
    let refused = service.client().await.send_sensor_batch(batch).await;
    let refused = refused.expect_err("malformed");
    assert_eq!(violated(&refused), "readings");
    assert!(refused.message().contains("1000001"), "{refused:?}");
    assert_eq!(service.figure("received").await, 0);
    service.close().await;
}

async fn a_header_in_mid_stream_is_refused_and_what_came_before_is_stored(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("twice").await;
    let again = header("twice", at.epoch, 11);
    let messages = vec![
        resume("twice", &at),
        rows(readings(1..11)),
        again,
        rows(readings(11..21)),
    ];
    let refused = stream(&service, messages).await.expect_err("malformed");
    assert_eq!(violated(&refused), "header");
    service.assert_books_balance().await;
    assert_stored(&database, 1..11).await;
    assert_eq!(service.open("twice").await.committed_seq, 10);
    service.close().await;
}

async fn a_batch_with_a_position_inside_a_stream_is_refused(database: Database) {
    let service = Service::start(&database).await;
    let mut message = rows(readings(1..11));
    if let Some(sluicegate_proto::v1::stream_readings_request::Message::Rows(batch)) =
        &mut message.message
    {
        batch.position = Some(position("inside", 1, 1));
    }
    let refused = stream(&service, vec![message])
        .await
        .expect_err("malformed");
    assert_eq!(violated(&refused), "rows.position");
    service.close().await;
}

/// A message as HTTP/2 carries it: a flag for compression, the length, and the bytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// Makes a call with raw bytes as its body.
async fn send_raw(service: &Service, method: &str, body: Vec<u8>) -> Status {
    let path = format!("/sluicegate.v1.SensorService/{method}");
    let stream = tokio::net::TcpStream::connect(service.grpc)
        .await
        .expect("connects");
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let request = hyper::Request::post(format!("http://{}{path}", service.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(http_body_util::Full::new(bytes::Bytes::from(body)))
        .expect("a request");
    let response = sender.send_request(request).await.expect("answered");
    let headers = response.headers().clone();
    Status::from_header_map(&headers).expect("a status")
}

async fn what_is_no_message_is_refused(database: Database) {
    let service = Service::start(&database).await;
    let no_protobuf = frame(b"\xff\xff\xff\xff no protobuf");
    let mut cut_short = frame(&[0; 100]);
    cut_short.truncate(50);
    for method in [
        "SendSensorReading",
        "SendSensorBatch",
        "OpenStream",
        "StreamReadings",
        "WatchReadings",
    ] {
        for body in [no_protobuf.clone(), cut_short.clone()] {
            let refused = send_raw(&service, method, body).await;
            assert_eq!(violated(&refused), "message", "{method}");
        }
    }
    let refused = send_raw(&service, "SendSensorReading", Vec::new()).await;
    assert_eq!(violated(&refused), "message");
    service.close().await;
}

async fn a_message_above_the_limit_is_refused_and_told_the_limit(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.grpc.max_message_bytes = Some(65_536);
    })
    .await;
    let batch = SensorBatch {
        readings: readings(1..10_001),
        position: None,
    };
    let mut client = service.client().await;
    let unary = client.send_sensor_batch(batch).await;
    let plain = stream(&service, vec![rows(readings(1..10_001))]).await;
    let mut acked = AckedCall::begin(&mut client, rows(readings(1..10_001))).await;
    for refused in [
        unary.expect_err("too large"),
        plain.expect_err("too large"),
        acked.failure().await,
    ] {
        assert_eq!(violated(&refused), "message");
        assert!(refused.message().contains("65536 bytes"), "{refused:?}");
    }
    assert_eq!(database.count("sensor_readings").await, 0);
    service.close().await;
}

async fn a_stream_that_brings_nothing_is_told_so(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.grpc.idle_limit_s = Some(1);
    })
    .await;
    let first = tokio_stream::iter([rows(readings(1..11))]);
    let messages = first.chain(tokio_stream::pending());
    let ended = service.client().await.stream_readings(messages).await;
    let ended = ended.expect_err("not all of it");
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.message().contains("nothing for 1 s"), "{ended:?}");
    assert_stored(&database, 1..11).await;
    service.close().await;
}

async fn an_empty_stream_and_an_empty_batch_are_answered(database: Database) {
    let service = Service::start(&database).await;
    let nothing = StreamReadingsResponse::default();
    assert_eq!(stream(&service, vec![]).await.expect("answered"), nothing);
    let at = service.open("empty").await;
    let empty = vec![resume("empty", &at)];
    assert_eq!(stream(&service, empty).await.expect("answered"), nothing);
    let hollow = vec![
        resume("empty", &at),
        rows(Vec::new()),
        columns(ColumnBatch::default()),
        StreamReadingsRequest::default(),
        rows(readings(1..3)),
    ];
    assert_eq!(
        stream(&service, hollow).await.expect("answered").committed,
        2
    );
    let mut client = service.client().await;
    for position in [None, Some(position("empty", at.epoch, 3))] {
        let batch = SensorBatch {
            readings: Vec::new(),
            position,
        };
        let reply = client
            .send_sensor_batch(batch)
            .await
            .expect("answered")
            .into_inner();
        assert_eq!((reply.received, reply.committed), (0, 0));
    }
    let refused = client.send_sensor_reading(SensorReading::default()).await;
    assert_eq!(violated(&refused.expect_err("malformed")), "id2");
    service.close().await;
}

async fn a_stream_that_is_cancelled_commits_what_came(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("cancelled").await;
    let mut call = AckedCall::resume(&mut service.client().await, "cancelled", &at).await;
    for step in 0..10 {
        call.send(columns(column_batch(
            step * 1_000 + 1..step * 1_000 + 1_001,
        )))
        .await;
    }
    let acked = call.until_acked(1_000).await.committed_seq;
    drop(call);
    service.assert_books_balance().await;
    let at = service.open("cancelled").await;
    assert!(at.committed_seq >= acked);
    assert_stored(&database, 1..at.committed_seq + 1).await;
    // Nothing is left behind that could hurt others.
    let reply = service
        .client()
        .await
        .send_sensor_reading(reading(20_000))
        .await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    service.close().await;
}

async fn two_calls_of_one_stream_store_each_reading_once(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("doubled").await;
    let messages = || {
        let batches = (0..20).map(|n| columns(column_batch(n * 500 + 1..n * 500 + 501)));
        [resume("doubled", &at)]
            .into_iter()
            .chain(batches)
            .collect::<Vec<_>>()
    };
    let (one, two) = tokio::join!(stream(&service, messages()), stream(&service, messages()));
    let (one, two) = (one.expect("stored"), two.expect("stored"));
    assert_eq!(one.committed + two.committed, 10_000);
    assert_eq!(one.duplicate + two.duplicate, 10_000);
    assert_eq!((one.committed_seq, two.committed_seq), (10_000, 10_000));
    assert_stored(&database, 1..10_001).await;
    service.close().await;
}

async fn a_second_call_does_not_acknowledge_what_the_first_has_not_committed(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.ingest.linger_ms = Some(3_000);
    })
    .await;
    let mut client = service.client().await;
    let at = service.open("ahead").await;
    let mut first = AckedCall::resume(&mut client, "ahead", &at).await;
    first.until_acked(0).await;
    first.send(rows(readings(1..11))).await;
    common::until("the first has sent", async || {
        service.figure("received").await == 10
    })
    .await;
    let mut second = AckedCall::begin(&mut client, header("ahead", at.epoch, 11)).await;
    let ack = second.ack().await.expect("no error").expect("not ended");
    let committed = database.count("sensor_readings").await;
    assert!(
        ack.committed_seq <= committed,
        "{ack:?} with {committed} readings committed"
    );
    second.send(rows(readings(11..21))).await;
    assert_eq!(second.finish().await.committed_seq, 20);
    assert_eq!(first.finish().await.committed_seq, 10);
    assert_stored(&database, 1..21).await;
    service.close().await;
}

async fn a_stream_id_that_cannot_be_a_name_is_refused(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    for stream_id in ["", " blank", "a\nb", "lane:x/0", &"x".repeat(129)] {
        let stream_id = stream_id.to_owned();
        let messages = vec![header(&stream_id, 1, 1)];
        let request = OpenStreamRequest {
            stream_id,
            resume: None,
        };
        let refused = client.open_stream(request).await;
        assert_eq!(violated(&refused.expect_err("no name")), "stream_id");
        let refused = stream(&service, messages).await;
        assert_eq!(violated(&refused.expect_err("no name")), "stream_id");
    }
    let longest = "ü".repeat(128);
    for n in 1..4 {
        let at = service.open(&longest).await;
        let messages = vec![resume(&longest, &at), rows(vec![reading(n)])];
        assert_eq!(
            stream(&service, messages)
                .await
                .expect("stored")
                .committed_seq,
            n
        );
    }
    service.close().await;
}

async fn a_first_seq_of_zero_is_refused(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("zero").await;
    let refused = stream(&service, vec![header("zero", at.epoch, 0)]).await;
    assert_eq!(
        violated(&refused.expect_err("counts from 1")),
        "header.first_seq"
    );
    service.close().await;
}

async fn a_dictionary_that_does_not_fit_ends_its_call_only(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.ingest.dictionary_bytes = Some(1 << 20);
        settings.ingest.lanes = Some(1);
    })
    .await;
    let at = service.open("other").await;
    let other = AckedCall::resume(&mut service.client().await, "other", &at).await;
    other.send(columns(column_batch(1..11))).await;
    let growing = (0..40).map(|n| {
        let mut batch = column_batch(1..2);
        batch.extend_dictionary = true;
        batch.series = vec![batch.series[0].clone(); 1_000];
        for (index, series) in batch.series.iter_mut().enumerate() {
            series.id2 = format!("gate-{n}-{index}-with-a-rather-long-name");
        }
        columns(batch)
    });
    let refused = stream(&service, growing.collect()).await;
    assert_eq!(
        refused.expect_err("too much").code(),
        Code::ResourceExhausted
    );
    let mut known = column_batch(11..21);
    (known.series, known.extend_dictionary) = (Vec::new(), true);
    other.send(columns(known)).await;
    assert_eq!(other.finish().await.committed, 20);
    service.close().await;
}

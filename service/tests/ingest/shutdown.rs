//! How the program ends: what it took is committed and acknowledged, or it says what was left.

use mysql_async::prelude::Queryable as _;
use sluicegate_proto::v1::SensorBatch;
use tonic::Code;

use crate::common::{
    self,
    database::Database,
    http, on_each_engine,
    program::Program,
    readings::{assert_stored, column_batch, columns, readings},
    service::{AckedCall, Service, connect, open},
};

on_each_engine! {
    at_sigterm_an_open_stream_gets_a_last_acknowledgement,
    at_sigterm_a_stream_that_is_not_acknowledged_is_told_to_come_back,
    a_blocked_shutdown_ends_in_time_and_says_what_was_left,
    a_draining_service_is_not_ready,
}

async fn at_sigterm_an_open_stream_gets_a_last_acknowledgement(database: Database) {
    let program = Program::start(&database.url(), &["--ingest-linger-ms", "500"]).await;
    let mut client = connect(program.grpc).await;
    let at = open(&mut client, "drained").await;
    let mut call = AckedCall::resume(&mut client, "drained", &at).await;
    for step in 0..10 {
        call.send(columns(column_batch(step * 500 + 1..step * 500 + 501)))
            .await;
    }
    call.until_acked(500).await;
    program.terminate();
    let last = loop {
        let ack = call
            .ack()
            .await
            .expect("no error")
            .expect("a last acknowledgement");
        if ack.draining {
            break ack;
        }
    };
    assert_eq!(
        call.ack().await.expect("no error"),
        None,
        "nothing follows it"
    );
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(last.committed, last.committed_seq);
    assert_stored(&database, 1..last.committed_seq + 1).await;
    database.assert_ledger_balances().await;
}

async fn at_sigterm_a_stream_that_is_not_acknowledged_is_told_to_come_back(database: Database) {
    let program = Program::start(&database.url(), &[]).await;
    let mut client = connect(program.grpc).await;
    let at = open(&mut client, "told").await;
    let (messages, waiting) = tokio::sync::mpsc::channel(4);
    let first = common::readings::resume("told", &at);
    messages.send(first).await.expect("room");
    let batch = columns(column_batch(1..101));
    messages.send(batch).await.expect("room");
    let waiting = tokio_stream::wrappers::ReceiverStream::new(waiting);
    let calling = tokio::spawn(async move { client.stream_readings(waiting).await });
    common::until("it is stored", async || {
        database.count("sensor_readings").await == 100
    })
    .await;
    program.terminate();
    let refused = calling.await.expect("no panic").expect_err("not all of it");
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(program.ended().await.code, Some(0));
    assert_stored(&database, 1..101).await;
}

async fn a_blocked_shutdown_ends_in_time_and_says_what_was_left(database: Database) {
    let arguments = ["--shutdown-deadline-s", "1"];
    let program = Program::start(&database.url(), &arguments).await;
    let mut client = connect(program.grpc).await;
    let mut other = database.connect().await;
    other
        .query_drop("LOCK TABLES sensor_readings WRITE")
        .await
        .expect("locked");
    let batch = SensorBatch {
        readings: readings(1..11),
        position: None,
    };
    let sending = tokio::spawn(async move { client.send_sensor_batch(batch).await });
    common::until("the batch is taken", async || {
        let (_, readiness) = http::get(program.rest, "/readyz").await.expect("answers");
        readiness["books"]["in_flight"] == 10
    })
    .await;
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.contains("10 readings not committed"),
        "{}",
        ended.stderr
    );
    assert!(
        sending.await.expect("no panic").is_err(),
        "nobody was told that it is stored"
    );
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    assert_eq!(database.count("sensor_readings").await, 0);
}

async fn a_draining_service_is_not_ready(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("open").await;
    let mut call = AckedCall::resume(&mut service.client().await, "open", &at).await;
    call.until_acked(0).await;
    assert_eq!(service.readiness().await["ready"], true);
    service.assert_books_balance().await;
    service.shutdown.draining.cancel();
    let last = call.finish().await;
    assert!(last.draining);
    assert!(matches!(service.stopped().await, Ok(())));
}

//! How the program ends: what it took is committed and acknowledged, or it says what was left.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use sluicegate_proto::v1::{OpenStreamRequest, SensorBatch};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle, time::timeout};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::common::{
    self,
    database::Database,
    http, on_each_engine,
    program::{self, Program},
    readings::{assert_stored, column_batch, columns, readings},
    service::{AckedCall, Service, connect, open},
};

on_each_engine! {
    at_sigterm_an_open_stream_gets_a_last_acknowledgement,
    at_sigterm_a_stream_that_is_not_acknowledged_is_told_to_come_back,
    a_blocked_shutdown_ends_in_time_and_says_what_was_left,
    a_second_ctrl_c_ends_a_blocked_shutdown_at_once,
    connections_without_a_call_do_not_hold_up_the_end,
    a_request_that_is_never_finished_does_not_make_the_end_a_bad_one,
    a_service_that_waits_for_its_database_can_be_told_to_stop,
    a_call_that_waits_for_the_ledger_is_told_of_the_shutdown,
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

/// A program with ten readings in flight, which a lock keeps from the table, and the task that sends them.
async fn blocked(
    database: &Database,
    deadline_s: &str,
) -> (Program, mysql_async::Conn, JoinHandle<()>) {
    let program = Program::start(&database.url(), &["--shutdown-deadline-s", deadline_s]).await;
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
    let sending = tokio::spawn(async move {
        let sent = client.send_sensor_batch(batch).await;
        assert!(sent.is_err(), "it is said to be stored: {sent:?}");
    });
    common::until("the batch is taken", async || {
        let (_, readiness) = http::get(program.rest, "/readyz").await.expect("answers");
        readiness["books"]["in_flight"] == 10
    })
    .await;
    (program, other, sending)
}

async fn a_blocked_shutdown_ends_in_time_and_says_what_was_left(database: Database) {
    let (program, mut other, sending) = blocked(&database, "1").await;
    program.terminate();
    timeout(Duration::from_secs(15), assert_ten_are_left(program))
        .await
        .expect("it ends after the 1 s that were given, not after the 30 s of the default");
    sending.await.expect("nobody is told that it is stored");
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    assert_eq!(database.count("sensor_readings").await, 0);
}

async fn a_second_ctrl_c_ends_a_blocked_shutdown_at_once(database: Database) {
    let (program, mut other, sending) = blocked(&database, "3600").await;
    program.interrupt();
    common::until("it drains", async || {
        let (status, _) = http::get(program.rest, "/readyz").await.expect("answers");
        status == 503
    })
    .await;
    program.interrupt();
    assert_ten_are_left(program).await;
    sending.await.expect("nobody is told that it is stored");
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
}

async fn assert_ten_are_left(program: Program) {
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.contains("10 readings not committed"),
        "{}",
        ended.stderr
    );
}

async fn connections_without_a_call_do_not_hold_up_the_end(database: Database) {
    let program = Program::start(&database.url(), &["--shutdown-deadline-s", "3600"]).await;
    let _silent = TcpStream::connect(program.grpc).await.expect("connects");
    let channel = Channel::from_shared(format!("http://{}", program.grpc)).expect("an address");
    let channel = channel.connect().await.expect("connects");
    let mut health = HealthClient::new(channel);
    let watching = health.watch(HealthCheckRequest::default()).await;
    let mut watching = watching.expect("begins").into_inner();
    let first = watching.message().await.expect("no error").expect("open");
    assert_eq!(first.status(), ServingStatus::Serving);
    let mut client = connect(program.grpc).await;
    let reply = client.send_sensor_reading(readings(1..2).remove(0)).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    program.terminate();
    let next = watching.message().await.expect("no error").expect("open");
    assert_eq!(next.status(), ServingStatus::NotServing);
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

async fn a_request_that_is_never_finished_does_not_make_the_end_a_bad_one(database: Database) {
    let program = Program::start(&database.url(), &["--shutdown-deadline-s", "1"]).await;
    let mut unfinished = TcpStream::connect(program.rest).await.expect("connects");
    let half = b"GET /readyz HTTP/1.1\r\nHost: ";
    unfinished.write_all(half).await.expect("sent");
    // Answered after the half request was accepted.
    http::get(program.rest, "/readyz").await.expect("answers");
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("still open"),
        "it met the deadline: {}",
        ended.stderr
    );
}

async fn a_service_that_waits_for_its_database_can_be_told_to_stop(database: Database) {
    // Nothing listens there.
    let url = database.tcp_url(1);
    let mut command = program::command(&["serve", "--database-url", &url]);
    command.args(["--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0"]);
    command.args(["--connect-deadline-s", "3600"]);
    let ended = program::terminated_at(command, "waiting for the database").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

async fn a_call_that_waits_for_the_ledger_is_told_of_the_shutdown(database: Database) {
    let service = Service::start(&database).await;
    service.open("locked").await;
    let mut other = database.connect().await;
    let lock = "SELECT * FROM ingest_streams WHERE stream_id = 'locked' FOR UPDATE";
    other.query_drop("START TRANSACTION").await.expect("begun");
    other.query_drop(lock).await.expect("locked");
    let mut client = service.client().await;
    let request = OpenStreamRequest {
        stream_id: "locked".to_owned(),
        resume: None,
    };
    let opening = tokio::spawn(async move { client.open_stream(request).await });
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
         WHERE DB = '{}' AND INFO LIKE '%INSERT INTO ingest_streams%' AND ID <> CONNECTION_ID()",
        database.name()
    );
    common::until("it waits for the row", async || {
        let mut conn = database.connect().await;
        conn.query_first(&waiting).await.expect("asks") == Some(1_u64)
    })
    .await;
    service.shutdown.draining.cancel();
    let refused = opening.await.expect("no panic").expect_err("not opened");
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "the service is shutting down");
    assert!(matches!(service.stopped().await, Ok(())));
    other.query_drop("ROLLBACK").await.expect("unlocked");
}

async fn a_draining_service_is_not_ready(database: Database) {
    let service = Service::start(&database).await;
    let mut other = database.connect().await;
    let lock = "LOCK TABLES sensor_readings WRITE";
    other.query_drop(lock).await.expect("locked");
    let mut client = service.client().await;
    let batch = SensorBatch {
        readings: readings(1..11),
        position: None,
    };
    let sending = tokio::spawn(async move { client.send_sensor_batch(batch).await });
    common::until("the batch is taken", async || {
        service.figure("in_flight").await == 10
    })
    .await;
    let state = async || {
        let (status, readiness) = http::get(service.rest, "/readyz").await.expect("answers");
        let state = ["ready", "draining"].map(|name| readiness[name].as_bool());
        (status, state)
    };
    assert_eq!(state().await, (200, [Some(true), Some(false)]));
    service.shutdown.draining.cancel();
    assert_eq!(state().await, (503, [Some(false), Some(true)]));
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    let stored = sending.await.expect("no panic").expect("stored");
    assert_eq!(stored.into_inner().committed, 10);
    assert!(matches!(service.stopped().await, Ok(())));
}

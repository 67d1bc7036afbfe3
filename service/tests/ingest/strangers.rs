//! Clients that send what takes far more memory than it looks like: it is bounded (P4), and ends by itself.

use std::time::Duration;

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use mysql_async::prelude::Queryable as _;
use prost::{Message as _, bytes::Bytes};
use sluicegate_proto::v1::SensorBatch;
use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::common::{
    self,
    database::Database,
    http, on_each_engine,
    program::Program,
    readings::{assert_stored, column_batch, columns, reading},
    service::connect,
};
use crate::stranger::{StrangeCall, Stranger, empty_elements, framed};

on_each_engine! {
    messages_whose_last_byte_is_withheld_take_a_share_of_the_budget_and_give_it_back,
    empty_series_take_what_they_weigh_and_are_not_answered_ok,
    empty_readings_take_what_they_weigh,
    first_messages_wait_for_room_like_any_other,
    what_is_on_its_way_is_bounded_over_all_connections,
}

const BUDGET_BYTES: u64 = 16 << 20;
/// Buffers of calls, and what the allocator does not give back.
const SLACK_BYTES: u64 = 24 << 20;
/// The largest windows of one connection.
const WINDOW_BYTES: u64 = 2 << 20;

/// What tests give to all windows together beyond the smallest.
const BEYOND_SMALLEST_BYTES: u64 = 8 << 20;

/// What is on its way over so many connections at the most.
fn windows_of(connections: usize) -> u64 {
    BEYOND_SMALLEST_BYTES + connections as u64 * (64 << 10)
}

async fn start(database: &Database, arguments: &[&str]) -> Program {
    let budget = BUDGET_BYTES.to_string();
    let common = ["--ingest-lanes", "1", "--ingest-budget-bytes", &budget];
    let program = Program::start(&database.url(), &[&common, arguments].concat()).await;
    program.limit_memory(2 << 30);
    let mut client = connect(program.grpc).await;
    let stored = client.send_sensor_reading(reading(1)).await;
    stored.expect("stored");
    program
}

/// Nothing is kept, and readings are taken as before.
async fn end(program: Program, database: &Database) {
    common::until("nothing is in flight", async || {
        let (_, readiness) = http::get(program.rest, "/readyz").await.expect("answers");
        readiness["in_flight_bytes"] == 0
    })
    .await;
    let mut client = connect(program.grpc).await;
    let stored = client.stream_readings(tokio_stream::iter([columns(column_batch(2..1_000))]));
    assert_eq!(stored.await.expect("stored").into_inner().committed, 998);
    assert_stored(database, 1..1_000).await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
    database.assert_ledger_balances().await;
}

/// The field that a refusal names.
fn violated(status: &Status) -> String {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("field violations");
    details.field_violations[0].field.clone()
}

async fn stranger(program: &Program) -> Stranger {
    Stranger::connect(program.grpc).await.expect("connects")
}

async fn messages_whose_last_byte_is_withheld_take_a_share_of_the_budget_and_give_it_back(
    database: Database,
) {
    const CALLS: usize = 120;
    let windows = BEYOND_SMALLEST_BYTES.to_string();
    let arguments = [
        "--grpc-message-deadline-s",
        "2",
        "--grpc-window-bytes",
        &windows,
    ];
    let program = start(&database, &arguments).await;
    let before = program.peak_bytes();
    let whole = framed(&columns(column_batch(1..250_000)).encode_to_vec());
    let withheld = whole.slice(..whole.len() - 1);
    let mut strangers = Vec::new();
    let mut calls = Vec::new();
    for n in 0..CALLS {
        let mut stranger = stranger(&program).await;
        let method = ["StreamReadings", "StreamReadingsAcked", "SendSensorBatch"][n % 3];
        calls.push(stranger.call(method, &[], withheld.clone()));
        strangers.push(stranger);
    }
    // A small message passes by all of them.
    let mut client = connect(program.grpc).await;
    let again = client.send_sensor_batch(SensorBatch::default()).await;
    assert_eq!(again.expect("answered").into_inner().received, 0);
    let mut answers: FuturesUnordered<_> = calls.into_iter().map(StrangeCall::answered).collect();
    let mut late = 0;
    while late < 2 {
        let status = answers.next().await.expect("an answer");
        match status.code() {
            Code::DeadlineExceeded => late += 1,
            // A unary call.
            Code::ResourceExhausted => {}
            _ => panic!("{status:?}"),
        }
    }
    let grown = program.peak_bytes() - before;
    let bound = BUDGET_BYTES + windows_of(CALLS) + SLACK_BYTES;
    assert!(
        grown <= bound,
        "{grown} bytes for {CALLS} withheld messages"
    );
    drop((answers, strangers));
    end(program, &database).await;
}

async fn answers_of_calls(program: &Program, message: &Bytes, calls: usize) -> Vec<Status> {
    let mut strangers = Vec::new();
    let mut open: Vec<StrangeCall> = Vec::new();
    for n in 0..calls {
        if n % 10 == 0 {
            strangers.push(stranger(program).await);
        }
        let stranger = strangers.last_mut().expect("connected");
        open.push(stranger.call("StreamReadings", &[], message.clone()));
    }
    join_all(open.into_iter().map(StrangeCall::end)).await
}

async fn empty_series_take_what_they_weigh_and_are_not_answered_ok(database: Database) {
    /// Each alone takes hundreds of MiB when it is decoded.
    const CALLS: usize = 6;
    let program = start(&database, &[]).await;
    let before = program.peak_bytes();
    for (series, field) in [
        // Of 4 MiB: too many.
        ((2 << 20) - 8, "columns.series"),
        // More than there is room for.
        (400_000, "message"),
        // There is room, and no reading.
        (20_000, "columns.series_index"),
    ] {
        let message = framed(&empty_elements(&[3, 1], series));
        for status in answers_of_calls(&program, &message, CALLS).await {
            assert_eq!(violated(&status), field, "{series} series");
        }
    }
    let grown = program.peak_bytes() - before;
    let bound = BUDGET_BYTES + 3 * WINDOW_BYTES + SLACK_BYTES;
    assert!(grown <= bound, "{grown} bytes for empty series");
    end(program, &database).await;
}

async fn empty_readings_take_what_they_weigh(database: Database) {
    let program = start(&database, &[]).await;
    let before = program.peak_bytes();
    let message = framed(&empty_elements(&[2, 1], 900_000));
    for status in answers_of_calls(&program, &message, 20).await {
        assert_eq!(violated(&status), "message");
        assert!(
            status.message().contains("ingest.budget_bytes"),
            "{status:?}"
        );
    }
    let batch = framed(&empty_elements(&[1], 900_000));
    let status = stranger(&program)
        .await
        .call("SendSensorBatch", &[], batch)
        .end()
        .await;
    assert_eq!(violated(&status), "message");
    let grown = program.peak_bytes() - before;
    let bound = BUDGET_BYTES + 3 * WINDOW_BYTES + SLACK_BYTES;
    assert!(grown <= bound, "{grown} bytes for empty readings");
    end(program, &database).await;
}

/// The table is locked, so that nothing that is taken in becomes free again.
async fn first_messages_wait_for_room_like_any_other(database: Database) {
    let program = start(&database, &[]).await;
    let mut other = database.connect().await;
    let lock = "LOCK TABLES sensor_readings WRITE, ingest_streams WRITE, rejected_readings WRITE";
    other.query_drop(lock).await.expect("locked");
    let before = program.peak_bytes();
    let message = framed(&columns(column_batch(1..100_000)).encode_to_vec());
    let mut strangers = Vec::new();
    let mut calls = Vec::new();
    for n in 0..100 {
        if n % 20 == 0 {
            strangers.push(stranger(&program).await);
        }
        let stranger = strangers.last_mut().expect("connected");
        calls.push(stranger.call("StreamReadings", &[], message.clone()));
    }
    sleep(Duration::from_secs(3)).await;
    let grown = program.peak_bytes() - before;
    let bound = BUDGET_BYTES + 5 * WINDOW_BYTES + SLACK_BYTES;
    assert!(grown <= bound, "{grown} bytes for first messages");
    drop((calls, strangers));
    program.kill().await;
}

/// Each connection fills its windows with what nobody can read, for want of room.
async fn what_is_on_its_way_is_bounded_over_all_connections(database: Database) {
    const CONNECTIONS: usize = 100;
    let windows = BEYOND_SMALLEST_BYTES.to_string();
    let program = start(&database, &["--grpc-window-bytes", &windows]).await;
    let before = program.peak_bytes();
    let whole = framed(&columns(column_batch(1..200_000)).encode_to_vec());
    let withheld = whole.slice(..whole.len() - 1);
    let (mut kept, mut strangers) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let mut stranger = stranger(&program).await;
        for _ in 0..6 {
            kept.push(stranger.call("StreamReadings", &[], withheld.clone()));
        }
        kept.push(stranger.call("NoSuchCall", &[], withheld.clone()));
        strangers.push(stranger);
    }
    sleep(Duration::from_secs(3)).await;
    let grown = program.peak_bytes() - before;
    let bound = BUDGET_BYTES + windows_of(CONNECTIONS) + SLACK_BYTES;
    assert!(
        grown <= bound,
        "{grown} bytes for {CONNECTIONS} connections"
    );
    drop((kept, strangers));
    program.kill().await;
}

//! Memory is bounded (P4): past the budget a stream is slowed and a unary call is told to come back. Nothing is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mysql_async::prelude::Queryable as _;
use sluicegate_proto::v1::SensorBatch;
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::common::{
    self,
    database::Database,
    http, on_each_engine,
    program::Program,
    readings::{assert_stored, column_batch, columns, readings, resume},
    service::{Service, connect},
};

const BUDGET_BYTES: u64 = 1 << 20;
/// The part of a budget that is for small messages only.
const SMALL_SHARE: u64 = 16;
const MESSAGE: u64 = 1_000;
/// The most that a reading in columns takes while its message waits for its lane.
const READING_BYTES: u64 = 160;
const READINGS: u64 = 200_000;

on_each_engine! {
    a_stream_waits_while_the_table_is_locked,
    a_stream_waits_while_its_ledger_row_is_locked,
    an_endless_stream_does_not_make_the_process_grow,
}

/// Streams far more than the budget holds while `lock` is held, and releases it once the budget is used up.
async fn waits_and_goes_on(database: Database, lock: &str) {
    let service = Service::start_with(&database, |settings| {
        settings.ingest.budget_bytes = Some(BUDGET_BYTES as u32);
        settings.ingest.lanes = Some(1);
    })
    .await;
    let mut client = service.client().await;
    let at = service.open("held-back").await;
    let mut other = database.connect().await;
    other.query_drop("SET autocommit = 0").await.expect("set");
    other.query_drop(lock).await.expect("locked");

    let first = resume("held-back", &at);
    let batches = (0..READINGS / MESSAGE).map(|n| n * MESSAGE + 1);
    let messages = batches.map(|from| columns(column_batch(from..from + MESSAGE)));
    let messages = tokio_stream::iter([first].into_iter().chain(messages));
    let mut streaming_client = client.clone();
    let streaming = tokio::spawn(async move { streaming_client.stream_readings(messages).await });
    common::until("the budget is used up", async || {
        let readiness = service.readiness().await;
        let used = readiness["in_flight_bytes"].as_u64().expect("a figure");
        used + MESSAGE * READING_BYTES > BUDGET_BYTES - BUDGET_BYTES / SMALL_SHARE
    })
    .await;

    let batch = SensorBatch {
        readings: readings(1..1_001),
        position: None,
    };
    let refused = client.send_sensor_batch(batch).await.expect_err("no room");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let retry = refused
        .get_details_retry_info()
        .expect("says when to retry");
    assert!(retry.retry_delay.is_some());
    let received = service.figure("received").await;
    assert!(
        received * 40 <= BUDGET_BYTES,
        "{received} readings are held"
    );
    assert_eq!(
        database.count("ingest_streams WHERE committed > 0").await,
        0
    );

    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    other.query_drop("ROLLBACK").await.expect("unlocked");
    let reply = streaming
        .await
        .expect("no panic")
        .expect("stored")
        .into_inner();
    assert_eq!((reply.committed, reply.committed_seq), (READINGS, READINGS));
    assert_stored(&database, 1..READINGS + 1).await;
    service.close().await;
}

async fn a_stream_waits_while_the_table_is_locked(database: Database) {
    waits_and_goes_on(
        database,
        "LOCK TABLES sensor_readings WRITE, ingest_streams READ",
    )
    .await;
}

async fn a_stream_waits_while_its_ledger_row_is_locked(database: Database) {
    let lock = "SELECT * FROM ingest_streams WHERE stream_id = 'held-back' FOR UPDATE";
    waits_and_goes_on(database, lock).await;
}

/// The system's own figure, so that what the service does not count counts as well.
async fn an_endless_stream_does_not_make_the_process_grow(database: Database) {
    const BUDGET: u64 = 16 << 20;
    /// So large that those which could wait for a lane are a multiple of the budget.
    const MESSAGE: u64 = 60_000;
    /// The budget, HTTP/2 windows, a decoded message, a batch as text, and what the allocator keeps.
    const ROOM_BYTES: u64 = 48 << 20;
    let budget = BUDGET.to_string();
    let arguments = ["--ingest-budget-bytes", &budget, "--ingest-lanes", "1"];
    let program = Program::start(&database.url(), &arguments).await;
    let mut client = connect(program.grpc).await;
    let mut other = database.connect().await;
    let lock = "LOCK TABLES sensor_readings WRITE";
    other.query_drop(lock).await.expect("locked");
    let before = program.resident_bytes();

    let taken = Arc::new(AtomicU64::new(0));
    let counted = taken.clone();
    let endless = (0..).map(move |n: u64| {
        counted.fetch_add(1, Ordering::Relaxed);
        columns(column_batch(n * MESSAGE + 1..(n + 1) * MESSAGE + 1))
    });
    let streaming =
        tokio::spawn(async move { client.stream_readings(tokio_stream::iter(endless)).await });
    common::until("the budget is used up", async || {
        let (_, readiness) = http::get(program.rest, "/readyz").await.expect("answers");
        let used = readiness["in_flight_bytes"].as_u64().expect("a figure");
        used + MESSAGE * READING_BYTES > BUDGET - BUDGET / SMALL_SHARE
    })
    .await;
    let mut stands_since = Instant::now();
    let mut seen = 0;
    while stands_since.elapsed() < Duration::from_secs(1) {
        let grown = program.resident_bytes().saturating_sub(before);
        assert!(grown < ROOM_BYTES, "grown by {grown} bytes");
        let now = taken.load(Ordering::Relaxed);
        if now != seen {
            (seen, stands_since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(!streaming.is_finished(), "the stream waits");
    program.kill().await;
    assert!(streaming.await.expect("no panic").is_err());
}

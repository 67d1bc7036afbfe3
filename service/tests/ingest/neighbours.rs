//! One client that sends much is no other's outage (P5). No test here measures time: what is asserted is the order in
//! which readings are stored, and that a call returns while others wait.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use sluicegate_proto::v1::SensorBatch;
use tokio::time::{sleep, timeout};

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{BASE_US, column_batch, columns, position, reading, readings, rows},
    service::{AckedCall, Service},
    until,
};

/// Far more than it takes; none of these calls may wait for what is locked.
const LONG: Duration = Duration::from_secs(30);

on_each_engine! {
    a_message_does_not_wait_behind_those_of_a_call_that_sends_more,
    small_calls_are_committed_while_every_lane_waits,
}

async fn a_message_does_not_wait_behind_those_of_a_call_that_sends_more(database: Database) {
    const MESSAGE: u64 = 1_000;
    const MESSAGES: u64 = 38;
    const BATCH: u64 = 10_000;
    let service = Service::start_with(&database, |settings| {
        settings.ingest.lanes = Some(1);
        settings.ingest.max_batch_rows = Some(BATCH as usize);
    })
    .await;
    let mut client = service.client().await;
    let (much, little) = (service.open("much").await, service.open("little").await);
    let mut other = database.connect().await;
    let lock = "LOCK TABLES sensor_readings WRITE";
    other.query_drop(lock).await.expect("locked");

    let much = AckedCall::resume(&mut client, "much", &much).await;
    for message in 0..MESSAGES {
        let first = message * MESSAGE + 1;
        much.send(columns(column_batch(first..first + MESSAGE)))
            .await;
    }
    let all_of_it = MESSAGES * MESSAGE;
    until("all of it waits", async || {
        service.figure("received").await == all_of_it
    })
    .await;
    let mut little = AckedCall::resume(&mut client, "little", &little).await;
    let last = reading(all_of_it + 1);
    little.send(rows(vec![last.clone()])).await;
    until("all of both waits", async || {
        service.figure("received").await == all_of_it + 1
    })
    .await;
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    little.until_acked(1).await;
    much.finish().await;
    little.finish().await;

    let stored = database.stored().await;
    let of_little = stored
        .iter()
        .find(|row| row.reading.timestamp_us == last.timestamp_us)
        .expect("stored");
    // A lane's ids grow from batch to batch.
    let before = stored.iter().filter(|row| row.id < of_little.id).count() as u64;
    assert!(
        before <= 2 * BATCH,
        "{before} readings were stored before it, more than in the batch under way and the next"
    );
    service.close().await;
}

async fn small_calls_are_committed_while_every_lane_waits(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let mut other = database.connect().await;
    let mut calls = Vec::new();
    for name in ["one", "two"] {
        let at = service.open(name).await;
        calls.push((name, at));
    }
    let third = service.open("three").await;
    // Each by its key: a range might lock the rows of others.
    let row = "SELECT * FROM ingest_streams WHERE stream_id =";
    let lock = format!("START TRANSACTION; {row} 'one' FOR UPDATE; {row} 'two' FOR UPDATE");
    other.query_drop(lock).await.expect("locked");
    let mut waiting = Vec::new();
    for (name, at) in &calls {
        let call = AckedCall::resume(&mut client, name, at).await;
        call.send(columns(column_batch(1..101))).await;
        waiting.push(call);
    }
    until("both lanes wait for their rows", async || {
        database.running(&["%ingest_streams%FOR UPDATE%"]).await == 2
    })
    .await;
    // Long enough for a lane to be seen to stand still.
    sleep(Duration::from_millis(500)).await;

    let single = timeout(LONG, client.send_sensor_reading(reading(1_000))).await;
    single
        .expect("does not wait for the lanes")
        .expect("stored");
    let batch = SensorBatch {
        readings: readings(2_000..2_010),
        position: Some(position("three", third.epoch, 1)),
    };
    let batch = timeout(LONG, client.send_sensor_batch(batch)).await;
    let reply = batch.expect("does not wait for the lanes").expect("stored");
    assert_eq!(reply.into_inner().committed, 10);
    assert_eq!(
        service.figure("in_flight").await,
        200,
        "the lanes wait still"
    );
    assert_eq!(service.figure("retries").await, 0, "and have all the while");
    let stored = database.stored().await;
    assert!(
        stored
            .iter()
            .all(|row| row.reading.timestamp_us() >= BASE_US + 1_000)
    );

    other.query_drop("ROLLBACK").await.expect("unlocked");
    for call in waiting {
        assert_eq!(call.finish().await.committed, 100);
    }
    service.close().await;
}

//! Settings of the server that ingestion depends on (these tests change them globally, and need not restore them).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use mysql_async::prelude::Queryable as _;
use sluicegate_proto::v1::SensorBatch;

use crate::common::{
    alone_on_each_engine,
    database::Database,
    readings::{assert_stored, column_batch, columns, position, reading, rows},
    service::{Service, open},
    until, web,
};

alone_on_each_engine! {
    local_infile_off_is_named,
    a_small_packet_is_named,
    the_smallest_packet_that_is_accepted_takes_any_number_of_rejections,
    the_smallest_packet_that_is_accepted_takes_any_number_of_streams,
    a_server_without_autocommit_keeps_what_was_answered,
    what_an_acknowledgement_survives_is_published,
}

async fn refusal(database: &Database) -> String {
    match Service::try_start(database, |_| {}).await {
        Err(sentence) => sentence,
        Ok(_) => panic!("the service starts"),
    }
}

async fn local_infile_off_is_named(database: Database) {
    database.run("SET GLOBAL local_infile = 0").await;
    let sentence = refusal(&database).await;
    assert!(
        sentence.contains("SET GLOBAL local_infile = 1"),
        "{sentence}"
    );
    database.run("SET GLOBAL local_infile = 1").await;
    Service::start(&database).await.close().await;
}

async fn a_small_packet_is_named(database: Database) {
    database.run("SET GLOBAL max_allowed_packet = 524288").await;
    let sentence = refusal(&database).await;
    assert!(sentence.contains("max_allowed_packet"), "{sentence}");
    database
        .run("SET GLOBAL max_allowed_packet = 67108864")
        .await;
    Service::start(&database).await.close().await;
}

async fn the_smallest_packet_that_is_accepted_takes_any_number_of_rejections(database: Database) {
    database
        .run("SET GLOBAL max_allowed_packet = 1048576")
        .await;
    let service = Service::start(&database).await;
    let mut batch = column_batch(1..20_001);
    batch.sensor_value[10_000..].fill(f64::NAN);
    let mut longest = reading(1);
    // Each byte of them is escaped.
    (longest.id2, longest.sensor_type) = ("'".repeat(600_000), "\\".repeat(600_000));
    let messages = [columns(batch), rows(vec![longest])];
    let mut client = service.client().await;
    let reply = client.stream_readings(tokio_stream::iter(messages)).await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!((reply.committed, reply.rejected), (10_000, 10_001));
    assert_eq!(service.figure("retries").await, 0);
    assert_stored(&database, 1..10_001).await;
    assert_eq!(database.count("rejected_readings").await, 10_001);
    service.close().await;
}

/// While nothing can be loaded, one lane gathers a batch of each: more of the ledger than a packet takes.
async fn the_smallest_packet_that_is_accepted_takes_any_number_of_streams(database: Database) {
    const STREAMS: u64 = 2_400;
    database
        .run("SET GLOBAL max_allowed_packet = 1048576")
        .await;
    let service = Service::start_with(&database, |settings| {
        settings.ingest.lanes = Some(1);
        settings.grpc.max_concurrent_calls = Some(4_000);
        // One connection has a quarter of them.
        settings.grpc.max_open_calls = Some(16_000);
    })
    .await;
    let client = service.client().await;
    // 128 characters of four bytes.
    let name = |n: u64| format!("{n:0>4}{}", "\u{1f321}".repeat(124));
    let opening = (1..=STREAMS).map(|n| {
        let mut client = client.clone();
        async move { open(&mut client, &name(n)).await.epoch }
    });
    let epochs: Vec<u64> = stream::iter(opening).buffered(64).collect().await;

    let mut other = database.connect().await;
    let lock = "LOCK TABLES sensor_readings WRITE";
    other.query_drop(lock).await.expect("locked");
    let calls: Vec<_> = (1..=STREAMS)
        .zip(epochs)
        .map(|(n, epoch)| {
            let mut client = client.clone();
            let batch = SensorBatch {
                readings: vec![reading(n)],
                position: Some(position(&name(n), epoch, 1)),
            };
            tokio::spawn(async move { client.send_sensor_batch(batch).await })
        })
        .collect();
    let before = AtomicU64::new(0);
    until("the lane takes no more", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let received = service.figure("received").await;
        before.swap(received, Ordering::Relaxed) == received && received > 1_000
    })
    .await;
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    for call in calls {
        let reply = call.await.expect("no panic").expect("stored").into_inner();
        assert_eq!((reply.committed, reply.committed_seq), (1, 1));
    }
    assert_eq!(service.figure("retries").await, 0);
    assert_stored(&database, 1..STREAMS + 1).await;
    service.close().await;
}

async fn a_server_without_autocommit_keeps_what_was_answered(database: Database) {
    database.run("SET GLOBAL autocommit = 0").await;
    // A fresh schema, so that the tables are made under that setting, too.
    let service = Service::start(&database).await;
    let stored = service.client().await.send_sensor_reading(reading(1)).await;
    assert_eq!(stored.expect("stored").into_inner().committed, 1);
    let path = "/sensor/delete/time?from_time=0&to_time=9999999999999";
    let url = format!("http://{}{path}", service.rest);
    let answer = web::client().delete(url).send().await;
    let answer: serde_json::Value = answer.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["deleted_count"], 1);
    // Another connection sees what is committed alone.
    assert_eq!(database.count("sensor_readings").await, 0);
    service.close_after_deletes().await;
}

async fn what_an_acknowledgement_survives_is_published(database: Database) {
    for (flush, durability) in [(2, "process_crash"), (0, "process_crash"), (1, "full")] {
        let set = format!("SET GLOBAL innodb_flush_log_at_trx_commit = {flush}");
        database.run(&set).await;
        let service = Service::start(&database).await;
        let readiness = service.readiness().await;
        assert_eq!(
            readiness["storage"]["durability"], durability,
            "with {flush}"
        );
        let reply = service.client().await.send_sensor_reading(reading(1)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
        service.close().await;
    }
}

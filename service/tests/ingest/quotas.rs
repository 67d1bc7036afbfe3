//! What one principal may bring in a second, and have open: beyond it, it waits, and nobody else does.

use std::time::{Duration, Instant};

use sluicegate_proto::{producer::Producer, v1::SensorBatch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{reading, readings, rows},
    service::Service,
    tokens::{Tokens, with_token},
    until,
};

on_each_engine! {
    a_batch_that_comes_too_fast_is_told_when_to_come_back,
    a_stream_that_comes_too_fast_is_slowed_and_loses_nothing,
    a_principal_has_no_more_calls_open_than_it_may,
}

const ROWS_PER_S: u32 = 1_000;
const AT_ONCE: u64 = 8;

fn batch(numbers: std::ops::Range<u64>) -> SensorBatch {
    SensorBatch {
        readings: readings(numbers),
        position: None,
    }
}

async fn a_batch_that_comes_too_fast_is_told_when_to_come_back(database: Database) {
    let tokens = Tokens::new();
    let (press, mill) = (
        tokens.make("press-4", "ingest"),
        tokens.make("mill-1", "ingest"),
    );
    let service = Service::start_with(&database, |settings| {
        tokens.asked_for(settings);
        settings.auth.max_rows_per_s = Some(ROWS_PER_S);
    })
    .await;
    let mut client = service.client().await;
    // A second's worth each, and all at once: however slow the machine is, they do not come seconds apart.
    let calls = (0..AT_ONCE).map(|n| {
        let (mut client, first) = (client.clone(), 1 + n * 1_000);
        let call = with_token(batch(first..first + 1_000), &press);
        async move { client.send_sensor_batch(call).await }
    });
    let mut stored = 0;
    let mut refusals = Vec::new();
    for answer in futures::future::join_all(calls).await {
        match answer {
            Ok(answer) => stored += answer.into_inner().committed,
            Err(refused) => refusals.push(refused),
        }
    }
    assert!(stored >= 1_000, "a second's worth is there at once");
    let refused = refusals.pop().expect("too fast");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(
        refused.message().contains("auth.max_rows_per_s"),
        "{refused:?}"
    );
    let retry = refused
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    let retry = retry.expect("when to come back");
    assert!(
        retry > Duration::ZERO && retry <= Duration::from_secs(1),
        "{retry:?}"
    );
    let other = client
        .send_sensor_batch(with_token(batch(20_001..21_001), &mill))
        .await;
    assert_eq!(other.expect("its own quota").into_inner().committed, 1_000);
    until("it may come back", async || {
        client
            .clone()
            .send_sensor_batch(with_token(batch(30_001..30_101), &press))
            .await
            .is_ok()
    })
    .await;
    assert_eq!(database.count("sensor_readings").await, stored + 1_100);
    service.close().await;
}

async fn a_stream_that_comes_too_fast_is_slowed_and_loses_nothing(database: Database) {
    let tokens = Tokens::new();
    let press = tokens.make("press-4", "ingest");
    let service = Service::start_with(&database, |settings| {
        tokens.asked_for(settings);
        settings.auth.max_rows_per_s = Some(ROWS_PER_S);
    })
    .await;
    let began = Instant::now();
    let producer = Producer::builder(format!("http://{}", service.grpc))
        .bearer_token(&press)
        .stream_id("press-4")
        .max_batch_readings(500);
    let mut producer = producer.connect().await.expect("opens");
    for n in 1..=4_000 {
        producer.send(reading(n)).await.expect("taken");
    }
    producer.flush().await.expect("committed");
    // A second's worth is there at once, and the last message is not paid for yet.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(2_400), "{took:?}");
    assert_eq!(producer.progress().borrow().reconnects, 0);
    assert_eq!(database.count("sensor_readings").await, 4_000);
    drop(producer);
    service.close().await;
}

async fn a_principal_has_no_more_calls_open_than_it_may(database: Database) {
    let tokens = Tokens::new();
    let (press, mill) = (
        tokens.make("press-4", "ingest"),
        tokens.make("mill-1", "ingest"),
    );
    let service = Service::start_with(&database, |settings| {
        tokens.asked_for(settings);
        settings.auth.max_open_calls = Some(2);
    })
    .await;
    let mut open = Vec::new();
    for n in 1..=2 {
        let (messages, sent) = tokio::sync::mpsc::channel(1);
        messages.send(rows(readings(n..n + 1))).await.expect("sent");
        let request = with_token(ReceiverStream::new(sent), &press);
        let mut client = service.client().await;
        let replies = client.stream_readings_acked(request).await.expect("begun");
        open.push((messages, replies));
    }
    let mut client = service.client().await;
    let refused = client
        .send_sensor_reading(with_token(reading(3), &press))
        .await;
    let refused = refused.expect_err("it has two");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains("auth.max_open_calls"),
        "{refused:?}"
    );
    let other = client
        .send_sensor_reading(with_token(reading(4), &mill))
        .await;
    assert_eq!(other.expect("its own").into_inner().committed, 1);
    drop(open);
    until("its calls have ended", async || {
        client
            .clone()
            .send_sensor_reading(with_token(reading(5), &press))
            .await
            .is_ok()
    })
    .await;
    service.close().await;
}

//! The producer against a model of the service that breaks calls, drains, refuses and fences.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod ending;
#[path = "../fake/mod.rs"]
mod fake;
mod writers;

use std::time::Duration;

use rand::{SeedableRng as _, rngs::SmallRng};
use sluicegate_proto::producer::{Encoding, ProducerError};
use tokio::time::timeout;

use crate::{
    common::{PATIENCE, assert_stored_once_in_order, builder, push_numbers},
    fake::Fake,
};

#[tokio::test]
async fn whatever_breaks_every_reading_is_stored_once_and_in_order() {
    const COUNT: u64 = 5_000;
    for encoding in [Encoding::Columns, Encoding::Rows] {
        for acked in [true, false] {
            for break_every in [2, 3, 7] {
                let fake = Fake::default();
                {
                    let mut model = fake.model();
                    model.break_every = Some(break_every);
                    model.ack_every = (break_every == 7).then_some(3);
                    model.max_dictionary = (break_every == 3).then_some(10);
                }
                let mut producer = builder(&fake)
                    .await
                    .stream_id("gateway-7")
                    .encoding(encoding)
                    .acked(acked)
                    // Smaller than the total, so that acks make room, and every message fits the small dictionary.
                    .max_unacknowledged_bytes(20_000)
                    .max_batch_readings(if break_every == 3 { 10 } else { 50 })
                    .connect()
                    .await
                    .unwrap();
                let run = async {
                    push_numbers(&mut producer, 0..COUNT / 2).await.unwrap();
                    assert_eq!(producer.flush().await.unwrap(), COUNT / 2);
                    assert_stored_once_in_order(&fake, COUNT / 2);
                    push_numbers(&mut producer, COUNT / 2..COUNT).await.unwrap();
                    producer.close().await.unwrap()
                };
                let summary = timeout(PATIENCE, run).await.unwrap();
                assert_stored_once_in_order(&fake, COUNT);
                assert_eq!(summary.committed, COUNT);
                assert_eq!(summary.committed_seq, COUNT);
                assert_eq!(summary.received, COUNT);
                assert!(summary.reconnects > 0);
            }
        }
    }
}

#[tokio::test]
async fn random_breaks_and_drains_lose_nothing_and_store_nothing_twice() {
    for seed in 0..20 {
        let fake = Fake::default();
        {
            let mut model = fake.model();
            model.chaos = Some(SmallRng::seed_from_u64(seed));
            model.ack_every = Some(1 + seed % 4);
        }
        let builder = builder(&fake).await.stream_id("a").acked(seed % 3 != 0);
        let mut producer = builder.connect().await.unwrap();
        let run = async {
            for part in 0..10 {
                push_numbers(&mut producer, part * 300..(part + 1) * 300)
                    .await
                    .unwrap();
                if part % 3 == 0 {
                    producer.flush().await.unwrap();
                    assert_stored_once_in_order(&fake, (part + 1) * 300);
                }
            }
            producer.close().await.unwrap()
        };
        let summary = timeout(PATIENCE, run).await.unwrap();
        assert_stored_once_in_order(&fake, 3_000);
        assert_eq!(
            (summary.received, summary.duplicate),
            (3_000, 0),
            "seed {seed}"
        );
    }
}

#[tokio::test]
async fn a_draining_call_is_replaced_and_nothing_is_lost() {
    let fake = Fake::default();
    fake.model().drain_every = Some(4);
    let mut producer = builder(&fake).await.stream_id("a").connect().await.unwrap();
    let run = async {
        push_numbers(&mut producer, 0..3_000).await.unwrap();
        producer.close().await.unwrap()
    };
    let summary = timeout(PATIENCE, run).await.unwrap();
    assert_stored_once_in_order(&fake, 3_000);
    assert_eq!((summary.committed, summary.reconnects), (3_000, 0));
    assert!(fake.model().calls > 5);
}

#[tokio::test]
async fn a_producer_that_is_not_acknowledged_waits_at_its_limit() {
    let fake = Fake::default();
    fake.model().stalled = true;
    let mut producer = builder(&fake)
        .await
        .stream_id("a")
        .max_unacknowledged_bytes(10_000)
        .connect()
        .await
        .unwrap();
    let stalled = timeout(
        Duration::from_millis(200),
        push_numbers(&mut producer, 0..5_000),
    );
    assert!(stalled.await.is_err(), "push has to wait");
    let taken = producer.next_seq() - 1;
    assert!((300..=500).contains(&taken), "{taken}");
    fake.model().stalled = false;
    let run = async {
        push_numbers(&mut producer, taken..5_000).await.unwrap();
        producer.close().await.unwrap()
    };
    timeout(PATIENCE, run).await.unwrap();
    assert_stored_once_in_order(&fake, 5_000);
}

#[tokio::test]
async fn a_partial_batch_is_sent_after_its_linger() {
    let fake = Fake::default();
    let mut producer = builder(&fake).await.stream_id("a").connect().await.unwrap();
    push_numbers(&mut producer, 0..3).await.unwrap();
    let mut progress = producer.progress();
    let durable = progress.wait_for(|progress| progress.committed_seq == 3);
    assert_eq!(
        timeout(PATIENCE, durable).await.unwrap().unwrap().committed,
        3
    );
}

#[tokio::test]
async fn a_rejected_reading_is_reported_with_its_position() {
    for stream_id in [Some("a"), None] {
        let fake = Fake::default();
        let mut settings = builder(&fake).await;
        if let Some(stream_id) = stream_id {
            settings = settings.stream_id(stream_id);
        }
        let mut producer = settings.connect().await.unwrap();
        push_numbers(&mut producer, 0..99).await.unwrap();
        let series = producer.series(1, "bad", "temperature");
        let seq = producer.push(series, f64::NAN, 0).await.unwrap();
        producer.flush().await.unwrap();
        let rejected = producer.take_rejected();
        assert_eq!(rejected.len(), 1);
        assert_eq!(
            (rejected[0].seq, rejected[0].field.as_str()),
            (seq, "sensor_value")
        );
        assert!(producer.take_rejected().is_empty());
        let summary = producer.close().await.unwrap();
        assert_eq!(
            (summary.received, summary.committed, summary.rejected),
            (100, 99, 1)
        );
    }
}

#[tokio::test]
async fn an_anonymous_producer_delivers_at_least_once() {
    let fake = Fake::default();
    fake.model().break_every = Some(5);
    let mut producer = builder(&fake).await.connect().await.unwrap();
    let run = async {
        push_numbers(&mut producer, 0..2_000).await.unwrap();
        producer.close().await.unwrap()
    };
    let summary = timeout(PATIENCE, run).await.unwrap();
    assert_eq!(summary.received, 2_000);
    let mut stored: Vec<u64> = fake
        .model()
        .stored
        .iter()
        .map(|r| r.sensor_value() as u64)
        .collect();
    assert!(stored.len() > 2_000, "what was half stored came again");
    stored.sort_unstable();
    stored.dedup();
    assert_eq!(stored, (0..2_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn columns_arrive_like_single_readings() {
    let fake = Fake::default();
    let mut producer = builder(&fake).await.stream_id("a").connect().await.unwrap();
    let handles: Vec<_> = (0..17)
        .map(|i| producer.series(i, &format!("sensor-{i}"), "temperature"))
        .collect();
    let series: Vec<_> = (0..1_000).map(|i| handles[i % 17]).collect();
    let values: Vec<f64> = (0..1_000).map(f64::from).collect();
    let times: Vec<i64> = (0..1_000).map(|i| 1_000 * i).collect();
    let last = producer
        .push_columns(&series, &values, &times)
        .await
        .unwrap();
    assert_eq!(last, 1_000);
    let unequal = producer.push_columns(&series, &values[1..], &times).await;
    assert!(matches!(unequal, Err(ProducerError::UnequalColumns { .. })));
    producer.close().await.unwrap();
    assert_stored_once_in_order(&fake, 1_000);
}

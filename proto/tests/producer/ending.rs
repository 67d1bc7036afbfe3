//! When a producer ends with an error instead of trying on.

use std::time::Duration;

use sluicegate_proto::producer::{Producer, ProducerError};
use tokio::time::timeout;
use tonic::Code;

use crate::{
    common::{PATIENCE, builder, push_numbers},
    fake::Fake,
};

#[tokio::test]
async fn a_refusal_that_would_repeat_ends_the_producer() {
    let fake = Fake::default();
    let mut producer = builder(&fake).await.stream_id("a").connect().await.unwrap();
    fake.model().refuse = Some(Code::InvalidArgument);
    push_numbers(&mut producer, 0..10).await.unwrap();
    let error = timeout(PATIENCE, producer.flush())
        .await
        .unwrap()
        .unwrap_err();
    let ProducerError::Refused { code, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(code, Code::InvalidArgument);
}

#[tokio::test]
async fn a_position_that_stays_wrong_is_not_tried_for_ever() {
    let fake = Fake::default();
    let mut producer = builder(&fake).await.stream_id("a").connect().await.unwrap();
    fake.model().refuse = Some(Code::OutOfRange);
    push_numbers(&mut producer, 0..10).await.unwrap();
    assert!(timeout(PATIENCE, producer.close()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_producer_without_progress_gives_up_after_its_deadline() {
    let fake = Fake::default();
    let builder = builder(&fake).await.stream_id("a");
    let mut producer = builder
        .give_up_after(Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    fake.model().refuse = Some(Code::Unavailable);
    push_numbers(&mut producer, 0..10).await.unwrap();
    let error = timeout(PATIENCE, producer.close())
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, ProducerError::GaveUp { .. }), "{error}");
}

#[tokio::test]
async fn a_producer_gives_up_on_a_call_that_stays_open_without_progress() {
    for acked in [true, false] {
        let fake = Fake::default();
        let builder = builder(&fake).await.stream_id("a").acked(acked);
        let mut producer = builder
            .give_up_after(Duration::from_millis(300))
            .max_unacknowledged_bytes(10_000)
            .connect()
            .await
            .unwrap();
        fake.model().stalled = true;
        // More than it keeps: it is `push` that waits.
        let pushed = timeout(PATIENCE, push_numbers(&mut producer, 0..5_000));
        let error = pushed.await.unwrap().unwrap_err();
        assert!(matches!(error, ProducerError::GaveUp { .. }), "{error}");
        let closed = timeout(PATIENCE, producer.close()).await.unwrap();
        let error = closed.unwrap_err();
        assert!(matches!(error, ProducerError::GaveUp { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_producer_that_goes_forward_or_has_nothing_to_send_does_not_give_up() {
    let patience = Duration::from_secs(2);
    let idle = |acked| async move {
        let fake = Fake::default();
        let builder = builder(&fake).await.stream_id("a").acked(acked);
        let builder = builder.give_up_after(patience);
        let mut producer = builder.connect().await.unwrap();
        push_numbers(&mut producer, 0..10).await.unwrap();
        tokio::time::sleep(patience * 3 / 2).await;
        push_numbers(&mut producer, 10..20).await.unwrap();
        producer.flush().await.unwrap();
        tokio::time::sleep(patience * 3 / 2).await;
        assert_eq!(producer.close().await.unwrap().committed, 20);
    };
    let slow = async {
        let fake = Fake::default();
        fake.model().message_takes = patience / 10;
        let builder = builder(&fake).await.stream_id("a");
        let mut producer = builder.give_up_after(patience).connect().await.unwrap();
        push_numbers(&mut producer, 0..1_000).await.unwrap();
        assert_eq!(producer.close().await.unwrap().committed, 1_000);
    };
    tokio::join!(idle(true), idle(false), slow);
}

#[tokio::test]
async fn connect_gives_up_on_an_address_where_nobody_listens() {
    let error = Producer::builder("http://127.0.0.1:1")
        .connect_timeout(Duration::from_millis(200))
        .connect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

//! Who holds a stream, and whose readings are in it.

use std::time::Duration;

use sluicegate_proto::producer::{Producer, ProducerError};
use tokio::{net::TcpListener, time::timeout};
use tonic::Code;

use crate::{
    common::{PATIENCE, assert_stored_once_in_order, builder, push_numbers},
    fake::{Fake, Incident, SILENT, Unanswered},
};

/// A producer that asks again soon when opening its stream goes unanswered.
async fn connect_unanswered(fake: &Fake) -> Producer {
    let builder = builder(fake).await.stream_id("a");
    let builder = builder.connect_timeout(Duration::from_millis(200));
    builder.give_up_after(PATIENCE).connect().await.unwrap()
}

#[tokio::test]
async fn a_second_writer_fences_the_first() {
    let fake = Fake::default();
    let builder = builder(&fake).await.stream_id("a");
    let mut first = builder.clone().connect().await.unwrap();
    push_numbers(&mut first, 0..100).await.unwrap();
    first.flush().await.unwrap();
    let mut second = builder.connect().await.unwrap();
    assert_eq!(second.next_seq(), 101);
    push_numbers(&mut first, 100..150).await.unwrap();
    let error = timeout(PATIENCE, first.flush()).await.unwrap().unwrap_err();
    assert!(matches!(error, ProducerError::Fenced { .. }), "{error}");
    assert!(push_numbers(&mut first, 150..151).await.is_err());
    push_numbers(&mut second, 100..200).await.unwrap();
    assert_eq!(second.close().await.unwrap().committed, 100);
    assert_stored_once_in_order(&fake, 200);
}

#[tokio::test]
async fn a_writer_that_comes_back_to_a_moved_stream_is_fenced() {
    let fake = Fake::default();
    let mut producer = builder(&fake).await.stream_id("a").connect().await.unwrap();
    push_numbers(&mut producer, 0..10).await.unwrap();
    producer.flush().await.unwrap();
    {
        let mut model = fake.model();
        model.streams.get_mut("a").unwrap().committed_seq += 1_000;
        model.break_every = Some(1);
    }
    push_numbers(&mut producer, 10..20).await.unwrap();
    let error = producer.close().await.unwrap_err();
    assert!(matches!(error, ProducerError::Fenced { .. }), "{error}");
}

#[tokio::test]
async fn a_writer_does_not_claim_what_another_one_committed_meanwhile() {
    for code in [Code::Aborted, Code::Unavailable, SILENT] {
        let fake = Fake::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = fake.serve_on(listener);
        let mut producer = Producer::builder(format!("http://{address}"))
            .backoff(Duration::from_millis(1), Duration::from_millis(10))
            .stream_id("a")
            .connect()
            .await
            .unwrap();
        push_numbers(&mut producer, 0..10).await.unwrap();
        producer.flush().await.unwrap();
        // Nobody listens for a while, so that no request to open the stream even goes out.
        accepting.abort();
        let _ = accepting.await;
        fake.model().incident = Some(Incident::CommittedUnseen {
            code: Code::Unavailable,
        });
        push_numbers(&mut producer, 10..20).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        fake.serve_on(TcpListener::bind(address).await.unwrap());
        producer.flush().await.unwrap();
        assert_stored_once_in_order(&fake, 20);

        fake.model().incident = Some(Incident::OtherWriter { commits: 5, code });
        push_numbers(&mut producer, 20..30).await.unwrap();
        let progress = producer.progress();
        let error = timeout(PATIENCE, producer.close()).await.unwrap();
        let error = error.expect_err("its own readings 20 to 24 are not stored");
        assert!(matches!(error, ProducerError::Fenced { .. }), "{error}");
        assert_eq!(progress.borrow().committed_seq, 20, "{code:?}");
    }
}

#[tokio::test]
async fn a_writer_that_comes_back_does_not_disturb_the_one_that_took_over() {
    let fake = Fake::default();
    let builder = builder(&fake).await.stream_id("a");
    let mut first = builder.clone().connect().await.unwrap();
    push_numbers(&mut first, 0..10).await.unwrap();
    first.flush().await.unwrap();
    // The connection of the first one breaks, and it opens the stream again.
    fake.model().incident = Some(Incident::OtherWriter {
        commits: 0,
        code: Code::Unavailable,
    });
    push_numbers(&mut first, 10..20).await.unwrap();
    let error = timeout(PATIENCE, first.flush()).await.unwrap().unwrap_err();
    assert!(matches!(error, ProducerError::Fenced { .. }), "{error}");
    let taken_over = fake.model().streams["a"].epoch;
    drop(first);
    let mut second = builder.connect().await.unwrap();
    assert_eq!(fake.model().streams["a"].epoch, taken_over + 1);
    push_numbers(&mut second, 10..30).await.unwrap();
    assert_eq!(second.close().await.unwrap().committed, 20);
    assert_stored_once_in_order(&fake, 30);
}

#[tokio::test]
async fn what_was_committed_unseen_is_known_however_often_opening_goes_unanswered() {
    use Unanswered::{AtOnce, Late};
    for unanswered in [
        vec![],
        vec![AtOnce],
        vec![Late, AtOnce],
        vec![AtOnce, Late, Late],
    ] {
        let fake = Fake::default();
        let mut producer = connect_unanswered(&fake).await;
        push_numbers(&mut producer, 0..10).await.unwrap();
        producer.flush().await.unwrap();
        {
            let mut model = fake.model();
            model.unanswered_opens = unanswered.into();
            model.incident = Some(Incident::CommittedUnseen {
                code: Code::Unavailable,
            });
        }
        push_numbers(&mut producer, 10..30).await.unwrap();
        let summary = timeout(PATIENCE, producer.close()).await.unwrap().unwrap();
        assert_eq!((summary.committed, summary.duplicate), (30, 0));
        assert!(fake.model().unanswered_opens.is_empty());
        assert_stored_once_in_order(&fake, 30);
    }
}

#[tokio::test]
async fn an_open_that_takes_effect_late_does_not_fence_its_own_producer() {
    let fake = Fake::default();
    fake.model().unanswered_opens = vec![Unanswered::Late; 2].into();
    let mut producer = connect_unanswered(&fake).await;
    let opened = fake.model().streams["a"].epoch;
    push_numbers(&mut producer, 0..100).await.unwrap();
    let summary = timeout(PATIENCE, producer.close()).await.unwrap().unwrap();
    assert_eq!(summary.committed, 100);
    assert!(fake.model().streams["a"].epoch >= opened + 3);
    assert_stored_once_in_order(&fake, 100);
}

#[tokio::test]
async fn after_an_open_that_went_unanswered_nothing_of_another_writer_is_claimed() {
    let fake = Fake::default();
    fake.model().unanswered_opens = vec![Unanswered::AtOnce].into();
    let mut producer = connect_unanswered(&fake).await;
    fake.model().incident = Some(Incident::OtherWriter {
        commits: 5,
        code: Code::Aborted,
    });
    push_numbers(&mut producer, 0..10).await.unwrap();
    let error = timeout(PATIENCE, producer.close()).await.unwrap();
    let error = error.unwrap_err();
    assert!(matches!(error, ProducerError::Fenced { .. }), "{error}");
}

#[tokio::test]
async fn a_service_that_lost_acknowledged_readings_is_called_out() {
    for forgets_the_stream in [false, true] {
        let fake = Fake::default();
        let mut producer = builder(&fake).await.stream_id("a").connect().await.unwrap();
        push_numbers(&mut producer, 0..10).await.unwrap();
        producer.flush().await.unwrap();
        {
            let mut model = fake.model();
            match forgets_the_stream {
                true => model.streams.clear(),
                false => model.streams.get_mut("a").unwrap().committed_seq = 3,
            }
        }
        push_numbers(&mut producer, 10..20).await.unwrap();
        let error = timeout(PATIENCE, producer.close()).await.unwrap();
        let error = error.unwrap_err();
        let ProducerError::PositionLost {
            acknowledged,
            found,
        } = error
        else {
            panic!("{error}");
        };
        let left = if forgets_the_stream { 0 } else { 3 };
        assert_eq!((acknowledged, found), (10, left));
    }
}

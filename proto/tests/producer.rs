//! The producer against a model of the service that breaks calls, drains, refuses and fences.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::time::Duration;

use fake::{Fake, Incident, SILENT, Unanswered};
use rand::{SeedableRng as _, rngs::SmallRng};
use sluicegate_proto::producer::{Encoding, Producer, ProducerBuilder, ProducerError};
use tokio::{net::TcpListener, time::timeout};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(20);

async fn builder(fake: &Fake) -> ProducerBuilder {
    Producer::builder(format!("http://{}", fake.serve().await))
        .backoff(Duration::from_millis(1), Duration::from_millis(10))
        .max_batch_readings(50)
}

/// Pushes readings whose value is their number, from 0, over 17 series.
async fn push_numbers(
    producer: &mut Producer,
    numbers: std::ops::Range<u64>,
) -> Result<(), ProducerError> {
    let series: Vec<_> = (0..17)
        .map(|i| producer.series(i, &format!("sensor-{i}"), "temperature"))
        .collect();
    for number in numbers {
        let seq = producer.next_seq();
        let handle = series[number as usize % series.len()];
        let pushed = producer.push(handle, number as f64, 1_000 * number as i64);
        assert_eq!(pushed.await?, seq);
    }
    Ok(())
}

fn assert_stored_once_in_order(fake: &Fake, count: u64) {
    let model = fake.model();
    let stored: Vec<u64> = model.stored.iter().map(|r| r.sensor_value as u64).collect();
    assert_eq!(stored, (0..count).collect::<Vec<_>>());
    for reading in &model.stored {
        let number = reading.sensor_value as u64;
        assert_eq!(reading.id1 as u64, number % 17);
        assert_eq!(reading.id2, format!("sensor-{}", number % 17));
        assert_eq!(reading.timestamp_us, 1_000 * number as i64);
    }
}

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
        let builder = builder(&fake).await.stream_id("a");
        let mut producer = builder
            .connect_timeout(Duration::from_millis(200))
            .give_up_after(PATIENCE)
            .connect()
            .await
            .unwrap();
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
    let builder = builder(&fake).await.stream_id("a");
    let mut producer = builder
        .connect_timeout(Duration::from_millis(200))
        .give_up_after(PATIENCE)
        .connect()
        .await
        .unwrap();
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
    let builder = builder(&fake).await.stream_id("a");
    let mut producer = builder
        .connect_timeout(Duration::from_millis(200))
        .give_up_after(PATIENCE)
        .connect()
        .await
        .unwrap();
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
        .map(|r| r.sensor_value as u64)
        .collect();
    assert!(stored.len() > 2_000, "what was half stored came again");
    stored.sort_unstable();
    stored.dedup();
    assert_eq!(stored, (0..2_000).collect::<Vec<_>>());
}

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

#[tokio::test]
async fn connect_gives_up_on_an_address_where_nobody_listens() {
    let error = Producer::builder("http://127.0.0.1:1")
        .connect_timeout(Duration::from_millis(200))
        .connect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

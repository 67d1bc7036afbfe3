//! A producer with a spool against a model of the service that breaks calls, drains, goes away and comes back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../fake/mod.rs"]
mod fake;

use std::{future::Future, net::SocketAddr, path::Path, time::Duration};

use rand::{SeedableRng as _, rngs::SmallRng};
use sluicegate_proto::{
    producer::{Producer, ProducerError},
    spool::{SpoolError, SpoolOptions, SpooledProducer, WhenFull},
};
use tokio::{net::TcpListener, time::timeout};

use crate::fake::Fake;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const NOWHERE: &str = "http://127.0.0.1:1";

fn options(folder: &Path) -> SpoolOptions {
    SpoolOptions::new(folder).sync_interval(Duration::from_millis(5))
}

async fn open(target: &str, options: SpoolOptions) -> SpooledProducer {
    let producer = Producer::builder(target)
        .stream_id("gateway-7")
        .connect_timeout(Duration::from_millis(300))
        .backoff(Duration::from_millis(1), Duration::from_millis(10))
        .max_batch_readings(50);
    loop {
        match producer.clone().spool(options.clone()).await {
            // One that was dropped has threads that are not done yet.
            Err(SpoolError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            opened => return opened.unwrap(),
        }
    }
}

async fn push(spool: &mut SpooledProducer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let series = spool.series((number % 17) as i32, "sensor", "temperature");
        let at = 1_000 * number as i64;
        let position = number.to_string();
        let pushed = spool.push_with_position(series, number as f64, at, position);
        pushed.await.unwrap();
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap()
}

fn stored(fake: &Fake) -> Vec<u64> {
    let model = fake.model();
    let values = model.stored.iter().map(|one| one.sensor_value() as u64);
    values.collect()
}

/// Where the model will be served.
async fn reserved() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn whatever_breaks_every_reading_is_stored_once_and_in_order() {
    const COUNT: u64 = 20_000;
    for seed in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        fake.model().chaos = Some(SmallRng::seed_from_u64(seed));
        let target = format!("http://{}", fake.serve().await);
        let mut next = 0;
        for part in 1..=10 {
            let mut spool = open(&target, options(folder.path())).await;
            let stands = spool.source_position().cloned();
            let stands = stands.map_or(0, |source| {
                let position = String::from_utf8(source.position).unwrap();
                position.parse::<u64>().unwrap() + 1 + source.readings_behind
            });
            assert!(stands <= next, "{stands} of {next}");
            next = COUNT / 10 * part;
            soon(push(&mut spool, stands..next)).await;
            match part % 3 {
                // Ended without a word: what was not durable is pushed again.
                0 => drop(spool),
                1 => assert_eq!(soon(spool.close()).await.unwrap().unsaved, 0),
                _ => soon(spool.drain()).await.unwrap(),
            }
        }
        let mut spool = open(&target, options(folder.path())).await;
        let source = spool.source_position().cloned().unwrap();
        let stands: u64 = String::from_utf8(source.position).unwrap().parse().unwrap();
        soon(push(&mut spool, stands + 1..COUNT)).await;
        soon(spool.drain()).await.unwrap();
        assert_eq!(stored(&fake), (0..COUNT).collect::<Vec<_>>());
        let progress = spool.progress().borrow().clone();
        assert_eq!((progress.durable, progress.dropped), (COUNT, 0));
        soon(spool.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_waited_for_and_then_gets_everything() {
    let folder = tempfile::tempdir().unwrap();
    let address = reserved().await;
    let target = format!("http://{address}");
    let mut spool = open(&target, options(folder.path())).await;
    soon(push(&mut spool, 0..5_000)).await;
    assert_eq!(soon(spool.sync()).await.unwrap(), 5_000);
    assert_eq!(spool.progress().borrow().pending, 5_000);
    let mut trouble = spool.trouble();
    let said = soon(trouble.wait_for(|trouble| trouble.persists)).await;
    let said = said.unwrap().last_failure.clone().unwrap();
    assert!(said.contains("refused"), "{said}");
    // A restart changes nothing.
    assert_eq!(soon(spool.close()).await.unwrap().progress.pending, 5_000);
    let mut spool = open(&target, options(folder.path())).await;
    let fake = Fake::default();
    fake.serve_on(TcpListener::bind(address).await.unwrap());
    soon(spool.drain()).await.unwrap();
    assert_eq!(stored(&fake), (0..5_000).collect::<Vec<_>>());
    assert!(!spool.trouble().borrow().persists);
}

#[tokio::test]
async fn a_full_spool_blocks_until_the_service_has_taken_some() {
    let folder = tempfile::tempdir().unwrap();
    let address = reserved().await;
    let small = options(folder.path()).max_bytes(1 << 20);
    let mut spool = open(&format!("http://{address}"), small).await;
    let mut progress = spool.progress();
    let filling = timeout(Duration::from_secs(20), async {
        tokio::select! {
            () = push(&mut spool, 0..1_000_000) => panic!("it takes everything"),
            full = progress.wait_for(|progress| progress.full.is_some()) => full.unwrap().durable,
        }
    });
    let taken = filling.await.unwrap();
    assert!(taken > 10_000 && spool.progress().borrow().used_bytes <= 1 << 20);
    let fake = Fake::default();
    fake.serve_on(TcpListener::bind(address).await.unwrap());
    soon(spool.drain()).await.unwrap();
    let stored = stored(&fake);
    assert!(stored.len() as u64 >= taken);
    assert_eq!(stored, (0..stored.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_spool_drops_the_oldest_if_it_is_told_to_and_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let small = || {
        options(folder.path())
            .max_bytes(1 << 20)
            .when_full(WhenFull::DropOldest)
    };
    let mut spool = open(NOWHERE, small()).await;
    soon(push(&mut spool, 0..200_000)).await;
    soon(spool.sync()).await.unwrap();
    soon(spool.close()).await.unwrap();
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let mut spool = open(&target, small()).await;
    soon(spool.drain()).await.unwrap();
    let dropped = spool.progress().borrow().dropped;
    assert!(dropped > 100_000, "{dropped}");
    assert_eq!(stored(&fake), (dropped..200_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn another_writer_ends_the_sending_and_not_the_taking() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let mut spool = open(&target, options(folder.path())).await;
    soon(push(&mut spool, 0..100)).await;
    soon(spool.drain()).await.unwrap();
    let other = Producer::builder(&target).stream_id("gateway-7").connect();
    let _other = other.await.unwrap();
    soon(push(&mut spool, 100..200)).await;
    let error = soon(spool.failed()).await;
    assert!(
        matches!(error, SpoolError::Producer(ProducerError::Fenced { .. })),
        "{error}"
    );
    soon(spool.drain()).await.unwrap_err();
    assert_eq!(soon(spool.sync()).await.unwrap(), 200);
    assert_eq!(soon(spool.close()).await.unwrap().progress.pending, 100);
}

#[tokio::test]
async fn a_new_folder_for_a_stream_that_has_readings_is_refused() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(&target, options(folder.path())).await;
        soon(push(&mut spool, 0..100)).await;
        if fake.model().stored.is_empty() {
            soon(spool.drain()).await.unwrap();
            continue;
        }
        let error = soon(spool.failed()).await.to_string();
        assert!(error.contains("another source than the spool"), "{error}");
        soon(spool.close()).await.unwrap();
        // Once it is said that this is meant, it is sent.
        let adopting = options(folder.path()).adopt_stream(true);
        let mut spool = open(&target, adopting).await;
        soon(spool.drain()).await.unwrap();
        soon(spool.close()).await.unwrap();
        let mut spool = open(&target, options(folder.path())).await;
        soon(push(&mut spool, 100..200)).await;
        soon(spool.drain()).await.unwrap();
    }
    let expected: Vec<u64> = (0..100).chain(0..200).collect();
    assert_eq!(stored(&fake), expected);
}

#[tokio::test]
async fn settings_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let opened = |builder: sluicegate_proto::producer::ProducerBuilder, options| async move {
        let opened = builder.spool(options).await;
        opened.map(drop).unwrap_err().to_string()
    };
    let named = || Producer::builder(NOWHERE).stream_id("s");
    let fine = || options(folder.path());
    assert!(
        opened(named(), fine().max_bytes(1))
            .await
            .contains("max_bytes")
    );
    let long = fine().sync_interval(Duration::from_secs(61));
    assert!(opened(named(), long).await.contains("sync_interval"));
    let anonymous = Producer::builder(NOWHERE);
    assert!(opened(anonymous, fine()).await.contains("stream_id"));
    let nowhere = Producer::builder("x y").stream_id("s");
    assert!(opened(nowhere, fine()).await.contains("target"));
    let odd = Producer::builder(NOWHERE).stream_id("a\nb");
    assert!(opened(odd, fine()).await.contains("control characters"));
}

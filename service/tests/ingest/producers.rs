//! The `Producer` against the real service: who holds a stream after a failure, and when a producer gives up.

use std::{net::SocketAddr, time::Duration};

use mysql_async::prelude::Queryable as _;
use sluicegate_proto::producer::{Producer, ProducerBuilder, ProducerError};

use crate::common::{
    database::Database,
    on_each_engine,
    program::Program,
    readings::{assert_stored, reading},
    service::Service,
};

const STREAM: &str = "gateway-7";

on_each_engine! {
    a_producer_that_comes_back_leaves_the_stream_to_whoever_took_it_over,
    a_producer_resumes_after_its_service_was_killed,
    a_producer_gives_up_while_its_call_stays_open,
}

fn builder(grpc: SocketAddr) -> ProducerBuilder {
    Producer::builder(format!("http://{grpc}"))
        .stream_id(STREAM)
        .backoff(Duration::from_millis(5), Duration::from_millis(50))
}

async fn send(producer: &mut Producer, numbers: std::ops::Range<u64>) -> Result<(), ProducerError> {
    for n in numbers {
        assert_eq!(producer.send(reading(n)).await?, n);
    }
    Ok(())
}

async fn a_producer_that_comes_back_leaves_the_stream_to_whoever_took_it_over(database: Database) {
    let near = Service::start(&database).await;
    let address = near.grpc;
    let mut old = builder(address).connect().await.expect("connects");
    send(&mut old, 1..101).await.expect("taken");
    old.flush().await.expect("durable");
    near.close().await;

    let far = Service::start(&database).await;
    let mut new = builder(far.grpc).connect().await.expect("connects");
    send(&mut new, 101..201).await.expect("taken");
    new.flush().await.expect("durable");

    send(&mut old, 101..301).await.expect("taken");
    let near = Service::start_with(&database, |settings| settings.grpc_addr = Some(address)).await;
    let fenced = old.flush().await.expect_err("another writer has it");
    assert!(matches!(fenced, ProducerError::Fenced { .. }), "{fenced}");

    send(&mut new, 201..251).await.expect("taken");
    let summary = new.close().await.expect("undisturbed");
    assert_eq!((summary.committed, summary.reconnects), (150, 0));
    assert_stored(&database, 1..251).await;
    near.close().await;
    far.close().await;
}

async fn a_producer_resumes_after_its_service_was_killed(database: Database) {
    let program = Program::start(&database.url(), &[]).await;
    let address = program.grpc;
    let mut producer = builder(address).connect().await.expect("connects");
    send(&mut producer, 1..20_001).await.expect("taken");
    // Somewhere in the middle of committing.
    let mut progress = producer.progress();
    let begun = progress.wait_for(|progress| progress.committed_seq > 0);
    begun.await.expect("goes on");
    send(&mut producer, 20_001..60_001).await.expect("taken");
    program.kill().await;
    let service =
        Service::start_with(&database, |settings| settings.grpc_addr = Some(address)).await;
    send(&mut producer, 60_001..70_001).await.expect("taken");
    let summary = producer.close().await.expect("all of it is stored");
    assert_eq!((summary.committed, summary.duplicate), (70_000, 0));
    assert!(summary.reconnects > 0);
    assert_stored(&database, 1..70_001).await;
    service.close().await;
}

async fn a_producer_gives_up_while_its_call_stays_open(database: Database) {
    let service = Service::start(&database).await;
    let mut other = database.connect().await;
    let mut next = 1;
    for acked in [true, false] {
        let builder = builder(service.grpc).acked(acked);
        let builder = builder.give_up_after(Duration::from_secs(2));
        let mut producer = builder.connect().await.expect("connects");
        other
            .query_drop("LOCK TABLES sensor_readings WRITE")
            .await
            .expect("locked");
        send(&mut producer, next..next + 100).await.expect("taken");
        let gave_up = producer.flush().await.expect_err("nothing goes forward");
        assert!(matches!(gave_up, ProducerError::GaveUp { .. }), "{gave_up}");
        assert!(producer.close().await.is_err());
        other.query_drop("UNLOCK TABLES").await.expect("unlocked");
        // What the service had by then may be stored all the same.
        next = service.open(STREAM).await.committed_seq + 1;
    }
    assert_stored(&database, 1..next).await;
    service.close().await;
}

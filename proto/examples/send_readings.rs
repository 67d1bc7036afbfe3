//! A gateway: ten thousand readings of two series, stored exactly once, whatever crashes in between.

use std::{error::Error, time::Duration};

use sluicegate_proto::producer::Producer;

/// 2026-01-01T00:00:00Z, in microseconds.
const START_US: i64 = 1_767_225_600_000_000;
const READINGS: u64 = 10_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut producer = Producer::builder("http://127.0.0.1:50051")
        .stream_id("gateway-in-rust")
        .give_up_after(Duration::from_secs(60))
        .connect()
        .await?;
    let boiler = producer.series(7, "boiler", "temperature");
    let gate = producer.series(7, "gate", "pressure");

    // After a crash this goes on behind the last reading that the service has.
    for position in producer.next_seq()..=READINGS {
        let series = if position % 2 == 0 { boiler } else { gate };
        let at_us = START_US + position as i64 * 1_000_000;
        producer.push(series, measured(position), at_us).await?;
    }
    producer.flush().await?; // from here on all of them are durable

    for rejected in producer.take_rejected() {
        eprintln!("reading {}: {}", rejected.seq, rejected.reason);
    }
    let books = producer.close().await?;
    println!(
        "{} stored by this run, durable up to position {}",
        books.committed, books.committed_seq
    );
    Ok(())
}

/// Stands for the source: it can tell the reading of a position again.
fn measured(position: u64) -> f64 {
    20.0 + (position % 100) as f64 / 10.0
}

//! A gateway that survives its own restart: a thousand readings, durable on its disk before they are sent.

use std::error::Error;

use sluicegate_proto::{producer::Producer, spool::SpoolOptions};

/// 2026-01-01T00:00:00Z, in microseconds.
const START_US: i64 = 1_767_225_600_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut spool = Producer::builder("http://127.0.0.1:50051")
        .stream_id("gateway-with-a-spool")
        .spool(SpoolOptions::new("gateway-spool").max_bytes(256 << 20))
        .await?; // whether the service can be reached or not
    let boiler = spool.series(10, "boiler", "temperature");

    // Where the source stood in what is durable, and how many readings behind that are as well.
    let begin = match spool.source_position() {
        Some(source) => {
            String::from_utf8_lossy(&source.position).parse::<u64>()? + 1 + source.readings_behind
        }
        None => 1,
    };
    for number in begin..=1_000 {
        let (value, at_us) = (number as f64 / 10.0, START_US + number as i64 * 1_000_000);
        spool
            .push_with_position(boiler, value, at_us, number.to_string())
            .await?;
    }
    spool.sync().await?; // from here on they survive this process, and its machine
    spool.drain().await?; // and from here on the service has them; a gateway need not wait for that

    let summary = spool.close().await?;
    println!(
        "{} durable, {} stored by this run, {} left",
        summary.progress.durable, summary.progress.books.committed, summary.progress.pending
    );
    Ok(())
}

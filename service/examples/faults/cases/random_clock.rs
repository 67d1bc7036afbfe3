//! A device whose clock is random, between 1971 and tomorrow, sends sixteen readings a second: what it brings lies in wide
//! partitions, and another one that sends single readings waits no longer for them.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use chrono::Utc;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sluicegate_proto::v1::{SensorReading, sensor_service_client::SensorServiceClient};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::{
    database::Schema,
    judge::{hold_books, hold_ledger, hold_stored},
    lab::Lab,
    layout::has_numbers,
    outcome::{Millis, Outcome},
    stack::{Stack, end},
    verdict::{Verdict, hold},
};

const PROBE_PAUSE: Duration = Duration::from_millis(20);
const DEVICE_PAUSE: Duration = Duration::from_micros(62_500);
const DAY_US: i64 = 86_400_000_000;
/// Partitions for the probe, whose clock is right: those of a fresh table, and wider ones once its rate is known.
const PARTITIONS_MAX: u64 = 40;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let lasts = Duration::from_secs(lab.scale.seconds(120, 10));
    let stack = Stack::start(lab, &[]).await?;
    let grpc = stack.service.grpc;
    let alone = probe(grpc, lasts).await?;
    let before = partitions(&stack.schema).await?;
    let end_device = CancellationToken::new();
    let device = device(grpc, lab.rng.random(), end_device.clone());
    let beside = probe(grpc, lasts).await?;
    end_device.cancel();
    let strays = device.await??;
    let after = partitions(&stack.schema).await?;
    hold_books(&stack.service).await?;
    hold_stored(&stack.schema, &[&stack.service]).await?;
    hold_ledger(&stack.schema).await?;
    hold!(
        after <= before.max(PARTITIONS_MAX),
        "{strays} readings of a random clock led from {before} partitions to {after}"
    );
    let stored = stack.service.readiness().await?.books.committed;
    let sent = alone.count() + beside.count() + strays;
    hold!(stored == sent, "{sent} were acknowledged, {stored} stored");
    let verdict = Verdict {
        sent,
        acknowledged: sent,
        found: stored,
        ..Verdict::none()
    };
    end(stack.service).await?;
    stack.schema.drop().await?;
    Ok(Outcome::of_verdict(1, verdict)
        .figure("probe_p99_alone_ms", alone.quantile(0.99))
        .figure("probe_p99_beside_ms", beside.quantile(0.99))
        .figure("device_readings", strays as f64)
        .figure("partitions_before", before as f64)
        .figure("partitions_after", after as f64))
}

/// Sends single readings one after the other, and takes the time of each.
async fn probe(grpc: SocketAddr, lasts: Duration) -> Result<Millis> {
    let mut client = SensorServiceClient::new(channel(grpc)?);
    let mut times = Millis::default();
    let mut ticks = interval(PROBE_PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = Instant::now();
    while began.elapsed() < lasts {
        ticks.tick().await;
        let sent = Instant::now();
        let reading = reading("probe", Utc::now().timestamp_micros());
        client.send_sensor_reading(reading).await?;
        times.add(sent.elapsed());
    }
    Ok(times)
}

/// Sends until it is told to end, and says how many readings were stored.
fn device(grpc: SocketAddr, seed: u64, end: CancellationToken) -> JoinHandle<Result<u64>> {
    tokio::spawn(async move {
        let mut client = SensorServiceClient::new(channel(grpc)?);
        let mut random = StdRng::seed_from_u64(seed);
        let mut ticks = interval(DEVICE_PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stored = 0;
        while !end.is_cancelled() {
            ticks.tick().await;
            let tomorrow_us = Utc::now().timestamp_micros() + DAY_US - 60_000_000;
            let at_us = random.random_range(366 * DAY_US..tomorrow_us);
            client.send_sensor_reading(reading("stray", at_us)).await?;
            stored += 1;
        }
        Ok(stored)
    })
}

fn channel(grpc: SocketAddr) -> Result<tonic::transport::Channel> {
    Ok(Endpoint::from_shared(format!("http://{grpc}"))?.connect_lazy())
}

fn reading(id2: &str, timestamp_us: i64) -> SensorReading {
    SensorReading {
        sensor_value: Some(1.0),
        sensor_type: "probe".to_owned(),
        id1: 1,
        id2: id2.to_owned(),
        timestamp_us: Some(timestamp_us),
    }
}

async fn partitions(schema: &Schema) -> Result<u64> {
    schema
        .number(&format!(
            "SELECT COUNT(DISTINCT PARTITION_NAME) FROM information_schema.PARTITIONS \
             WHERE TABLE_SCHEMA = '{}' AND TABLE_NAME = '{}'",
            schema.name,
            match has_numbers() {
                true => "readings",
                false => "sensor_readings",
            }
        ))
        .await
}

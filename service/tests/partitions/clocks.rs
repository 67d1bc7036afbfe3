//! Clocks that are wrong: those of devices, and the host's.

use super::*;

use crate::common::{on_each_engine, web};

on_each_engine! {
    a_device_with_a_random_clock_gets_no_partitions,
    a_stray_reading_does_not_lead_partitions_away,
    a_clock_that_has_jumped_drops_nothing_before_it_is_confirmed,
}

/// Readings of devices whose clocks are wrong, anywhere between 1971 and tomorrow, through the front door; and of some
/// whose clocks are right.
async fn a_device_with_a_random_clock_gets_no_partitions(database: Database) {
    const CALLS: u64 = 50;
    const READINGS: u64 = 10;
    let service = Service::start_with(&database, |settings| {
        settings.partitions.interval_s = Some(1);
        settings.partitions.alter_share = Some(1.0);
    })
    .await;
    let before = partitions(&database).await.len();
    let mut client = service.client().await;
    let end_us = chrono::Utc::now().timestamp_micros() + DAY_US / 2;
    let mut random = 1_u64;
    for _ in 0..CALLS {
        let mut wrong = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            365 * DAY_US + (random >> 8) as i64 % (end_us - 365 * DAY_US)
        };
        // With others in one load, and in a load of its own.
        let alone = SensorReading {
            timestamp_us: Some(wrong()),
            ..readings::reading(0)
        };
        let readings = (1..READINGS).map(|n| {
            let right_us = chrono::Utc::now().timestamp_micros();
            SensorReading {
                timestamp_us: Some(if n % 2 == 0 { wrong() } else { right_us }),
                ..readings::reading(n)
            }
        });
        let batch = SensorBatch {
            readings: readings.collect(),
            position: None,
        };
        let reply = client.send_sensor_batch(batch).await.expect("stored");
        assert_eq!(reply.into_inner().committed, READINGS - 1);
        client.send_sensor_reading(alone).await.expect("stored");
        // The manager looks meanwhile, early if it finds a reason.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let after = partitions(&database).await.len();
    assert!(after <= before + 10, "{before} partitions, then {after}");
    assert_eq!(inventory(&database).await.0, CALLS * READINGS);
    service.close().await;
}

/// Beside it, where the many readings of a stream are, partitions are made all the same.
async fn a_stray_reading_does_not_lead_partitions_away(database: Database) {
    let manager = manager(&database, minutely()).await;
    manager.pass_at(NOW_US).await.expect("passes");
    store(&database, 1, 20_000, NOON, "50000").await;
    store(&database, 50_001, 5, "2026-06-02 11:00:00", "1").await;
    manager
        .pass_at(NOW_US + 15 * MINUTE_US)
        .await
        .expect("passes");
    let names = names(&database).await;
    assert!(names.contains(&"p20260601_122000".to_owned()), "{names:?}");
    assert!(
        !names.iter().any(|name| name.starts_with("p20260602")),
        "{names:?}"
    );
}

/// The service was away for 400 days, says the clock; nobody can tell from that whether it is right.
async fn a_clock_that_has_jumped_drops_nothing_before_it_is_confirmed(database: Database) {
    let start_us = chrono::Utc::now().timestamp_micros();
    drop(manager(&database, minutely()).await);
    let old_us = start_us - 400 * DAY_US;
    database
        .run(&format!(
            "INSERT INTO retention_clock VALUES (1, {old_us}, NULL, 0, UTC_TIMESTAMP(6))"
        ))
        .await;
    let at = |at_us| {
        let at = DateTime::from_timestamp_micros(at_us).expect("a time");
        at.format("%Y-%m-%d %H:%M:%S").to_string()
    };
    store(
        &database,
        900_000_000,
        3_000,
        &at(old_us - DAY_US),
        "1000000",
    )
    .await;
    let service = Service::start_with(&database, |settings| {
        settings.partitions.retention = Some("30d".parse().expect("a retention"));
        settings.partitions.interval_s = Some(1);
    })
    .await;
    let waits = || async {
        let partitions = service.readiness().await["partitions"].clone();
        partitions["retention_waits"].as_str().map(str::to_owned)
    };
    let reason = waits().await.expect("it waits");
    assert!(reason.contains("the clock has jumped ahead"), "{reason}");
    // What is young by the time that was believed is taken, and stays.
    let young = SensorReading {
        timestamp_us: Some(old_us - 10 * DAY_US),
        ..readings::reading(1)
    };
    let mut client = service.client().await;
    client.send_sensor_reading(young).await.expect("stored");
    let old = SensorReading {
        timestamp_us: Some(old_us - 31 * DAY_US),
        ..readings::reading(2)
    };
    let refused = client.send_sensor_reading(old).await;
    let reason = refused.expect_err("rejected").message().to_owned();
    assert!(reason.contains("partitions.retention (30d)"), "{reason}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(inventory(&database).await.0, 3_001);
    assert_eq!(service.readiness().await["partitions"]["dropped"], 0);

    let api = format!("http://{}/retention/confirm", service.rest);
    let answer = web::client().put(api).send().await.expect("answers");
    assert_eq!(answer.status(), 200);
    let gone = || async { inventory(&database).await.0 == 0 };
    until("the old partitions are dropped", gone).await;
    assert_eq!(waits().await, None);
    service.close_after_deletes().await;
}

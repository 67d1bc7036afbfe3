//! Ingestion beside the partition manager.

use super::*;

use crate::common::on_each_engine;

on_each_engine! {
    a_transaction_that_runs_on_is_not_waited_for,
    a_stream_goes_on_while_partitions_are_made_and_dropped,
    a_backlog_gets_partitions_as_it_begins_to_stream_in,
    readings_ahead_of_now_get_partitions_of_their_width,
}

/// Readings of one message, and the time between two of them: the stream's clock runs two hundred times too fast, so
/// that it leaves its partitions behind and overtakes those ahead.
const MESSAGE: u64 = 2_000;
const STEP_US: i64 = 10_000;

async fn a_transaction_that_runs_on_is_not_waited_for(database: Database) {
    let manager = Arc::new(manager(&database, minutely()).await);
    let mut reader = database.connect().await;
    reader
        .query_drop("START TRANSACTION")
        .await
        .expect("begins");
    reader
        .query_drop("SELECT COUNT(*) FROM sensor_readings")
        .await
        .expect("reads");
    let passing = tokio::spawn({
        let manager = manager.clone();
        async move { manager.pass_at(NOW_US).await }
    });
    let (mut slowest, mut stored) = (Duration::ZERO, 0_u64);
    while !passing.is_finished() {
        let began = Instant::now();
        stored += 1;
        let one = format!("({stored}, 0, 't', 0, 's', '{NOON}')");
        database
            .run(&format!("INSERT INTO sensor_readings VALUES {one}"))
            .await;
        slowest = slowest.max(began.elapsed());
    }
    let ended = passing.await.expect("no panic");
    assert!(
        matches!(ended, Err(RepositoryError::Contention(_))),
        "{ended:?}"
    );
    // MariaDB makes them wait for 4 s: twice the longest patience of a pass.
    assert!(slowest < Duration::from_secs(15), "{slowest:?}");
    assert!(manager.figures().failure.is_some());

    reader.query_drop("COMMIT").await.expect("ends");
    manager.pass_at(NOW_US).await.expect("passes");
    assert_eq!(manager.figures().failure, None);
    assert_eq!(inventory(&database).await.0, stored);
}

async fn a_stream_goes_on_while_partitions_are_made_and_dropped(database: Database) {
    let start_us = chrono::Utc::now().timestamp_micros();
    drop(manager(&database, minutely()).await);
    let old = DateTime::from_timestamp_micros(start_us - DAY_US).expect("a time");
    let old = old.format("%Y-%m-%d %H:%M:%S").to_string();
    store(&database, 900_000_000, 3_000, &old, "1000000").await;
    let service = Service::start_with(&database, |settings| {
        settings.partitions.width = Some("1m".parse().expect("a width"));
        settings.partitions.retention = Some("2h".parse().expect("a retention"));
        settings.partitions.interval_s = Some(1);
        settings.partitions.alter_share = Some(1.0);
    })
    .await;
    let mut client = service.client().await;
    let at = service.open("gate").await;
    let mut call = AckedCall::resume(&mut client, "gate", &at).await;
    let made = |n: u64| SensorReading {
        timestamp_us: Some(start_us + n as i64 * STEP_US),
        ..readings::reading(n)
    };
    let until_us = Instant::now() + Duration::from_secs(12);
    let (mut sent, mut slowest) = (0, Duration::ZERO);
    while Instant::now() < until_us {
        let began = Instant::now();
        let message = (sent..sent + MESSAGE).map(made).collect();
        call.send(readings::rows(message)).await;
        sent += MESSAGE;
        call.until_acked(sent).await;
        slowest = slowest.max(began.elapsed());
    }
    call.finish().await;
    let ancient = format!(
        "sensor_readings WHERE id BETWEEN 900000000 AND 900002999 AND ts < '{old}' + INTERVAL 2 HOUR"
    );
    let dropped = || async { database.count(&ancient).await == 0 };
    until("the old partitions are dropped", dropped).await;
    let partitions = service.readiness().await["partitions"].clone();
    println!("{sent} readings, slowest acknowledgement {slowest:?}: {partitions}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");

    // All there, each once, and nothing of the old.
    let stored = database.stored().await;
    let stored = stored.iter().map(|each| &each.reading);
    let all: Vec<_> = (0..sent).map(made).collect();
    readings::assert_same(stored, &all);
    service.close().await;
}

/// Between two looks at the partitions passes a minute: what is made before, is made because of the readings.
async fn a_backlog_gets_partitions_as_it_begins_to_stream_in(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.partitions.width = Some("1m".parse().expect("a width"));
        settings.partitions.interval_s = Some(60);
        settings.partitions.alter_share = Some(1.0);
    })
    .await;
    let mut client = service.client().await;
    let at = service.open("backlog").await;
    let mut call = AckedCall::resume(&mut client, "backlog", &at).await;
    let mut sent = 0;
    // A backlog of last year, and one that is older still.
    for start_us in [NOW_US - 365 * DAY_US, NOW_US - 400 * DAY_US] {
        let expected = DateTime::from_timestamp_micros(start_us + 3 * MINUTE_US).expect("a time");
        let expected = expected.format("p%Y%m%d_%H%M00").to_string();
        let made = || async { names(&database).await.contains(&expected) };
        let until_us = Instant::now() + Duration::from_secs(30);
        while !made().await && Instant::now() < until_us {
            let message = (sent..sent + MESSAGE).map(|n| SensorReading {
                timestamp_us: Some(start_us),
                ..readings::reading(n)
            });
            call.send(readings::rows(message.collect())).await;
            sent += MESSAGE;
            call.until_acked(sent).await;
        }
        assert!(made().await, "{expected}: {:?}", names(&database).await);
    }
    call.finish().await;
    assert_eq!(inventory(&database).await.0, sent);
    assert_eq!(
        service.readiness().await["partitions"]["failure"],
        serde_json::Value::Null
    );
    service.close().await;
}

/// What a fresh table got is for now; many readings that arrive a little ahead of that get partitions before the next look
/// is due.
async fn readings_ahead_of_now_get_partitions_of_their_width(database: Database) {
    let storage = storage(&database, Layout::Partitioned).await;
    let now = chrono::Utc::now();
    let old = now - chrono::Duration::hours(2);
    let old = old.format("%Y-%m-%d %H:%M:%S").to_string();
    store(&database, 1, 1, &old, "0").await;
    let config = PartitionConfig {
        interval_s: 60,
        ..config("auto", "none")
    };
    let store = storage.partitions().expect("it has partitions");
    let manager =
        PartitionManager::new(store, clock(&storage), config.settings().expect("enabled"));
    let manager = Arc::new(manager);
    let place = now + chrono::Duration::minutes(20);
    let events = CommitEvents::default();
    let draining = CancellationToken::new();
    manager.pass().await.expect("passes");
    let running = tokio::spawn(manager.clone().run(events.subscribe(), draining.clone()));
    events.send(CommitEvent::Sealed(BatchEvent {
        rows: 20_000,
        times_us: vec![place.timestamp_micros()],
        series: std::sync::Arc::default(),
    }));
    let next = place + chrono::Duration::minutes(1);
    let end = next.format("p%Y%m%d_%H%M00").to_string();
    let made = || async { names(&database).await.contains(&end) };
    until("the place has its partition", made).await;
    draining.cancel();
    running.await.expect("no panic");
    assert_eq!(manager.figures().failure, None);
}

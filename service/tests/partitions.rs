//! The partition manager, against real MariaDB and real MySQL. `common/engines.rs` says which those are.

#[path = "common/mod.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared with tests that need more of it"
)]
mod common;

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use mysql_async::prelude::Queryable as _;
use sluicegate::{
    config::PartitionConfig,
    embedded_db::Engine,
    repository::{
        RepositoryError,
        mysql::{DatabaseSettings, Layout, MySqlStorage},
    },
    usecase::{
        clock::{Clock, TimeSettings},
        ingest::{CommitEvent, CommitEvents},
        manage::partitions::{PartitionManager, PartitionSettings, PassOutcome},
    },
};
use sluicegate_proto::v1::{SensorBatch, SensorReading};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use common::{
    database::Database,
    on_each_engine, readings,
    service::{AckedCall, Service},
    until,
};

on_each_engine! {
    partitions_are_made_ahead_on_a_fresh_table,
    an_empty_or_idle_table_gets_no_more_partitions,
    a_device_with_a_random_clock_gets_no_partitions,
    a_stray_reading_does_not_lead_partitions_away,
    a_clock_that_has_jumped_drops_nothing_before_it_is_confirmed,
    readings_in_the_catch_all_get_partitions,
    readings_of_an_unmanaged_table_get_partitions,
    a_crowd_from_the_far_future_is_not_copied_again,
    history_that_streams_in_gets_partitions,
    the_width_follows_the_rate,
    retention_drops_exactly_the_old,
    two_managers_at_once_do_no_harm,
    a_transaction_that_runs_on_is_not_waited_for,
    a_stream_goes_on_while_partitions_are_made_and_dropped,
    a_backlog_gets_partitions_as_it_begins_to_stream_in,
    readings_ahead_of_now_get_partitions_of_their_width,
    the_layout_seed_has_no_partitions_to_drop,
}

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 86_400_000_000;
/// 2026-06-01T12:00:30Z.
const NOW_US: i64 = 1_780_315_230_000_000;
const NOON: &str = "2026-06-01 12:00:00";

async fn storage(database: &Database, layout: Layout) -> MySqlStorage {
    let settings = DatabaseSettings {
        url: database.url(),
        connect_deadline: Duration::from_secs(10),
        wanted_layout: None,
        instance: "test".to_owned(),
        awaits: Default::default(),
    };
    MySqlStorage::migrate(&settings, layout)
        .await
        .expect("migrates");
    MySqlStorage::open(&settings).await.expect("opens")
}

fn minutely() -> PartitionSettings {
    settings("1m", "none")
}

fn settings(width: &str, retention: &str) -> PartitionSettings {
    config(width, retention).settings().expect("enabled")
}

fn config(width: &str, retention: &str) -> PartitionConfig {
    PartitionConfig {
        enabled: true,
        width: width.parse().expect("a width"),
        buffer_pool_share: 0.25,
        retention: retention.parse().expect("a retention"),
        // However slow the machine is.
        alter_share: 1.0,
        interval_s: 10,
    }
}

async fn manager(database: &Database, settings: PartitionSettings) -> PartitionManager {
    let storage = storage(database, Layout::Partitioned).await;
    let partitions = storage.partitions().expect("it has partitions");
    PartitionManager::new(partitions, clock(&storage), settings)
}

fn clock(storage: &MySqlStorage) -> Arc<Clock> {
    Arc::new(Clock::new(TimeSettings::default(), storage.clock()))
}

/// Name and upper bound of each partition, in order.
async fn partitions(database: &Database) -> Vec<(String, String)> {
    let sql = "SELECT PARTITION_NAME, PARTITION_DESCRIPTION FROM information_schema.PARTITIONS \
               WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'sensor_readings' \
               GROUP BY PARTITION_ORDINAL_POSITION, PARTITION_NAME, PARTITION_DESCRIPTION \
               ORDER BY PARTITION_ORDINAL_POSITION";
    let mut conn = database.connect().await;
    conn.query(sql).await.expect("reads")
}

async fn names(database: &Database) -> Vec<String> {
    let partitions = partitions(database).await;
    partitions.into_iter().map(|(name, _)| name).collect()
}

async fn count_in(database: &Database, partition: &str) -> u64 {
    database
        .count(&format!("sensor_readings PARTITION ({partition})"))
        .await
}

/// Number and sum of the ids: what no move may change.
async fn inventory(database: &Database) -> (u64, u64) {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(id), 0) AS UNSIGNED) FROM sensor_readings";
    let mut conn = database.connect().await;
    conn.query_first(sql).await.expect("reads").expect("a row")
}

/// The tables of InnoDB that a partition consists of: a copy has others.
async fn tables_of(database: &Database, partition: &str) -> Vec<u64> {
    let list = match database.engine() {
        Engine::MariaDb => "INNODB_SYS_TABLES",
        Engine::MySql => "INNODB_TABLES",
    };
    let sql = format!(
        "SELECT TABLE_ID FROM information_schema.{list} \
         WHERE LOWER(NAME) LIKE '{}/sensor_readings#p#{partition}#sp#%' ORDER BY TABLE_ID",
        database.name()
    );
    let tables: Vec<u64> = database.connect().await.query(sql).await.expect("reads");
    assert_eq!(tables.len(), 2, "one for each subpartition");
    tables
}

/// Stores `count` readings from `from` on, `step` apart; ids begin at `first_id`.
async fn store(database: &Database, first_id: u32, count: u32, from: &str, step: &str) {
    const DIGITS: &str = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 \
                          UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    let sql = format!(
        "INSERT INTO sensor_readings (id, sensor_value, sensor_type, id1, id2, ts) \
         SELECT {first_id} + n, n, 't', n % 7, CONCAT('s', n % 50), '{from}' + INTERVAL n * ({step}) MICROSECOND FROM \
         (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d + 100000 * f.d AS n FROM {DIGITS} a, {DIGITS} b, \
          {DIGITS} c, {DIGITS} d, {DIGITS} e, {DIGITS} f) AS numbers WHERE n < {count}"
    );
    database.run(&sql).await;
}

async fn partitions_are_made_ahead_on_a_fresh_table(database: Database) {
    let storage = storage(&database, Layout::Hashed).await;
    let store = storage.partitions().expect("it has partitions");
    let manager = PartitionManager::new(store, clock(&storage), minutely());
    let passed = manager.pass_at(NOW_US).await.expect("passes");
    assert_eq!(passed, PassOutcome::Done);
    let made = partitions(&database).await;
    assert_eq!(made[0].0, "p20260601_120000");
    assert!(made[0].1.contains(NOON), "{made:?}");
    assert_eq!(made[1].0, "p20260601_120100");
    assert_eq!(made[9].0, "p20260601_120900");
    assert_eq!(made[10], ("p_rest".to_owned(), "MAXVALUE".to_owned()));
    let figures = manager.figures();
    assert_eq!((figures.partitions, figures.ahead), (11, 8));
    assert_eq!((figures.width_s, figures.failure), (60, None));
    assert!(figures.last_pass.is_some());

    self::store(&database, 1, 6_000, NOON, "50000").await;
    manager
        .pass_at(NOW_US + 4 * MINUTE_US)
        .await
        .expect("passes");
    assert_eq!(partitions(&database).await, made, "enough are ahead");
    manager
        .pass_at(NOW_US + 5 * MINUTE_US)
        .await
        .expect("passes");
    assert_eq!(
        manager.figures().ahead,
        9,
        "of those that are at noon and after"
    );
}

/// A partition a minute would be 1,440 a day.
async fn an_empty_or_idle_table_gets_no_more_partitions(database: Database) {
    let manager = manager(&database, settings("auto", "none")).await;
    manager.pass_at(NOW_US).await.expect("passes");
    let made = partitions(&database).await;
    for minutes in [10, 20, 60, 600] {
        let at = NOW_US + minutes * MINUTE_US;
        manager.pass_at(at).await.expect("passes");
    }
    assert_eq!(partitions(&database).await, made);
    // Some readings, and none for hours.
    store(&database, 1, 2_000, "2026-06-02 12:00:00", "50000").await;
    manager.pass_at(NOW_US + DAY_US).await.expect("passes");
    let made = partitions(&database).await;
    for hours in 2..6 {
        let at = NOW_US + DAY_US + hours * 60 * MINUTE_US;
        manager.pass_at(at).await.expect("passes");
    }
    assert_eq!(partitions(&database).await, made);
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
        let readings = (0..READINGS).map(|n| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let wrong_us = 365 * DAY_US + (random >> 8) as i64 % (end_us - 365 * DAY_US);
            let right_us = chrono::Utc::now().timestamp_micros();
            SensorReading {
                timestamp_us: Some(if n % 2 == 0 { wrong_us } else { right_us }),
                ..readings::reading(n)
            }
        });
        let batch = SensorBatch {
            readings: readings.collect(),
            position: None,
        };
        let reply = client.send_sensor_batch(batch).await.expect("stored");
        assert_eq!(reply.into_inner().committed, READINGS);
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
    let answer = reqwest::Client::new()
        .put(api)
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), 200);
    let gone = || async { inventory(&database).await.0 == 0 };
    until("the old partitions are dropped", gone).await;
    assert_eq!(waits().await, None);
    service.close_after_deletes().await;
}

async fn readings_in_the_catch_all_get_partitions(database: Database) {
    let manager = manager(&database, minutely()).await;
    manager.pass_at(NOW_US).await.expect("passes");
    // Beyond the partitions that are there; and clocks that are wrong.
    store(&database, 1, 20_000, "2026-06-01 12:00:10", "50000").await;
    store(&database, 50_001, 3, "9999-01-01", "1").await;
    store(&database, 60_001, 2, "2500-01-01", "1").await;
    let before = inventory(&database).await;
    let in_catch_all = count_in(&database, "p_rest").await;
    assert!(in_catch_all > 5_000, "{in_catch_all}");

    manager
        .pass_at(NOW_US + 10 * MINUTE_US)
        .await
        .expect("passes");
    assert_eq!(inventory(&database).await, before);
    assert_eq!(count_in(&database, "p_rest").await, 5);
    let figures = manager.figures();
    assert_eq!(figures.catch_all_rows, 5);
    assert_eq!(figures.rehomed_rows, in_catch_all - 5);
    assert!(figures.partitions < 40, "{figures:?}");
    // A reading lies where its time says: in the partition named by the next minute.
    assert_eq!(count_in(&database, "p20260601_121000").await, 1_200);
}

async fn readings_of_an_unmanaged_table_get_partitions(database: Database) {
    let manager = manager(&database, minutely()).await;
    // 40 days, all in the only partition.
    store(&database, 1, 20_000, "2026-04-22", "172800000").await;
    let before = inventory(&database).await;
    assert_eq!(names(&database).await, ["p_rest"]);
    manager.pass_at(NOW_US).await.expect("passes");
    assert_eq!(inventory(&database).await, before);
    assert_eq!(count_in(&database, "p_rest").await, 0);
    let figures = manager.figures();
    assert_eq!(figures.rehomed_rows, 20_000);
    assert!(figures.partitions < 120, "{figures:?}");
}

async fn a_crowd_from_the_far_future_is_not_copied_again(database: Database) {
    let manager = manager(&database, minutely()).await;
    store(&database, 1, 520_000, "2199-01-01", "1").await;
    manager.pass_at(NOW_US).await.expect("passes");
    assert!(
        names(&database)
            .await
            .contains(&"p21990101_000000".to_owned())
    );
    assert_eq!(count_in(&database, "p_rest").await, 520_000);
    let before = inventory(&database).await;
    let tables = tables_of(&database, "p_rest").await;
    store(&database, 700_001, 2_000, "2026-06-01 12:05:00", "20000").await;
    manager
        .pass_at(NOW_US + 6 * MINUTE_US)
        .await
        .expect("passes");
    assert_eq!(tables_of(&database, "p_rest").await, tables);
    assert_eq!(inventory(&database).await.0, before.0 + 2_000);
    assert!(manager.figures().ahead >= 8);
}

async fn history_that_streams_in_gets_partitions(database: Database) {
    let manager = manager(&database, settings("1h", "none")).await;
    manager.pass_at(NOW_US).await.expect("passes");
    store(&database, 1, 10_000, "2010-01-01 00:30:00", "360000").await;
    manager.pass_at(NOW_US).await.expect("passes");
    let names = names(&database).await;
    for name in ["p20100101_010000", "p20100101_020000", "p20260601_130000"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert_eq!(inventory(&database).await.0, 10_000);
    let made = names.len();
    manager.pass_at(NOW_US).await.expect("passes");
    assert_eq!(manager.figures().partitions as usize, made);
}

async fn the_width_follows_the_rate(database: Database) {
    let manager = manager(&database, settings("auto", "none")).await;
    manager.pass_at(NOW_US).await.expect("passes");
    assert_eq!(
        manager.figures().width_s,
        60,
        "narrow while nothing is known"
    );
    // A reading each tenth of a second, up to now.
    store(&database, 1, 1_500, "2026-06-01 11:58:00", "100000").await;
    manager.pass_at(NOW_US).await.expect("passes");
    assert_eq!(manager.figures().width_s, 3_600);
    // 50,000 a second.
    store(&database, 100_001, 500_000, "2026-06-01 12:00:30", "20").await;
    manager.pass_at(NOW_US + 10_000_000).await.expect("passes");
    assert_eq!(manager.figures().width_s, 60);
    let (before, rows) = (partitions(&database).await, 501_500);
    manager.pass_at(NOW_US + 20_000_000).await.expect("passes");
    assert_eq!(partitions(&database).await, before);
    assert_eq!(inventory(&database).await.0, rows);
}

async fn retention_drops_exactly_the_old(database: Database) {
    let manager = manager(&database, settings("1d", "30d")).await;
    // Each noon of 60 days up to the last of May, and one far ahead.
    store(&database, 1, 60, "2026-04-02 12:00:00", "86400000000").await;
    store(&database, 1_001, 1, "9999-01-01", "1").await;
    manager.pass_at(NOW_US).await.expect("passes");
    // 30 days before now lies in the partition of 2 May, which stays.
    let stored = database.stored().await;
    let oldest = stored[0].reading.timestamp_us;
    assert_eq!(oldest, Some(NOW_US - 30_000_000 - 30 * DAY_US));
    assert_eq!(stored.len(), 30 + 1);
    let figures = manager.figures();
    assert_eq!((figures.dropped, figures.dropped_rows), (31, 30));
    assert_eq!(figures.catch_all_rows, 1);
    manager.pass_at(NOW_US + DAY_US).await.expect("passes");
    assert_eq!(manager.figures().dropped, 32);
}

async fn two_managers_at_once_do_no_harm(database: Database) {
    let managers = [
        manager(&database, settings("1m", "10m")).await,
        manager(&database, settings("1m", "10m")).await,
    ];
    store(&database, 1, 10_000, "2026-06-01 11:55:00", "50000").await;
    let mut done = 0;
    for round in 0..8 {
        let at = NOW_US + round * 3 * MINUTE_US;
        let (left, right) = tokio::join!(managers[0].pass_at(at), managers[1].pass_at(at));
        done += [left, right]
            .into_iter()
            .filter(|each| each.as_ref().expect("passes") == &PassOutcome::Done)
            .count();
        let partitions = partitions(&database).await;
        let bounds: Vec<_> = partitions.iter().map(|(_, bound)| bound).collect();
        assert!(
            bounds.windows(2).all(|pair| pair[0] < pair[1]),
            "{bounds:?}"
        );
    }
    assert!(done >= 8, "{done}");
}

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

/// Readings of one message, and the time between two of them: the stream's clock runs two hundred times too fast, so
/// that it leaves its partitions behind and overtakes those ahead.
const MESSAGE: u64 = 2_000;
const STEP_US: i64 = 10_000;

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
    events.send(CommitEvent {
        rows: 20_000,
        times_us: vec![place.timestamp_micros()],
    });
    let next = place + chrono::Duration::minutes(1);
    let end = next.format("p%Y%m%d_%H%M00").to_string();
    let made = || async { names(&database).await.contains(&end) };
    until("the place has its partition", made).await;
    draining.cancel();
    running.await.expect("no panic");
    assert_eq!(manager.figures().failure, None);
}

async fn the_layout_seed_has_no_partitions_to_drop(database: Database) {
    let refused = Service::try_start(&database, |settings| {
        settings.layout = Some(Layout::Seed);
        settings.partitions.retention = Some("30d".parse().expect("a retention"));
    })
    .await;
    let sentence = refused.err().expect("refuses");
    assert_eq!(
        sentence,
        "partitions.retention is 30d, but must be none on the layout seed, which has no partitions to drop"
    );
    let service = Service::start(&database).await;
    assert!(service.readiness().await["partitions"].is_null());
    service.close().await;
}

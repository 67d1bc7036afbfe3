//! The partition manager, against real MariaDB and real MySQL. `common/engines.rs` says which those are.

mod clocks;
#[path = "../common/mod.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared with tests that need more of it"
)]
mod common;
mod ingestion;

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use mysql_async::prelude::Queryable as _;
use sluicegate::{
    config::PartitionConfig,
    embedded_db::Engine,
    model::SeriesBounds,
    repository::{
        RepositoryError,
        mysql::{Access, DatabaseSettings, Layout, MySqlStorage, TlsFiles},
    },
    usecase::{
        clock::{Clock, TimeSettings},
        ingest::{BatchEvent, CommitEvent, CommitEvents},
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
    readings_in_the_catch_all_get_partitions,
    readings_of_an_unmanaged_table_get_partitions,
    a_crowd_from_the_far_future_is_not_copied_again,
    history_that_streams_in_gets_partitions,
    the_width_follows_the_rate,
    retention_drops_exactly_the_old,
    two_managers_at_once_do_no_harm,
    the_layout_seed_has_no_partitions_to_drop,
}

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 86_400_000_000;
/// 2026-06-01T12:00:30Z.
const NOW_US: i64 = 1_780_315_230_000_000;
const NOON: &str = "2026-06-01 12:00:00";

async fn storage(database: &Database, layout: Layout) -> MySqlStorage {
    let settings = DatabaseSettings {
        access: Access::of(database.url(), TlsFiles::default(), false),
        manage: None,
        statement_limit: Duration::from_secs(60),
        series_cache_bytes: 1 << 20,
        series_bounds: SeriesBounds {
            max: u32::MAX,
            new_per_hour: u32::MAX,
        },
        connect_deadline: Duration::from_secs(10),
        wanted_layout: None,
        table: None,
        columns: Default::default(),
        instance: "test".to_owned(),
        awaits: Default::default(),
        metrics: Default::default(),
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

async fn the_layout_seed_has_no_partitions_to_drop(database: Database) {
    let refused = Service::try_start(&database, |settings| {
        settings.layout = Some(Layout::Seed);
        settings.partitions.retention = Some("30d".parse().expect("a retention"));
    })
    .await;
    let sentence = refused.err().expect("refuses");
    assert_eq!(
        sentence,
        "partitions.retention is 30d, but must be none for a table that has no partitions to drop, as on the layout seed"
    );
    let service = Service::start(&database).await;
    assert!(service.readiness().await["partitions"].is_null());
    service.close().await;
}

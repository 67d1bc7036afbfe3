//! Rollups: every bucket is what the readings come to, whatever became of them, and answers are the same as without.

use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use sluicegate::{config::Settings, repository::mysql::Layout};
use sluicegate_proto::v1::SensorReading;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        program::{command, end_of},
        readings::{BASE_US, rows},
        service::{AckedCall, Service, connect, open, take_any_time},
        until,
    },
};

on_each_engine! {
    every_bucket_is_what_the_readings_come_to,
    answers_are_the_same_as_without_rollups_and_say_what_they_are_made_from,
    rollups_are_made_of_what_was_stored_before_they_were_set,
    an_instance_without_the_setting_notes_what_it_stores,
    rollups_outlive_the_readings_that_retention_drops,
    what_would_lose_rollups_is_refused,
}

const MINUTE_US: i64 = 60_000_000;
const LEVELS: [u32; 2] = [60, 3_600];

fn rolled(settings: &mut Settings) {
    take_any_time(settings);
    settings.layout = Some(Layout::Series);
    settings.rollups = Some("1m:none,1h:none".parse().expect("levels"));
    settings.ingest.lanes = Some(2);
}

fn reading(random: &mut StdRng, at_us: i64) -> SensorReading {
    let types = ["humidity", "temperature", "größe"];
    SensorReading {
        sensor_value: Some(random.random_range(-1e3..1e3)),
        sensor_type: types[random.random_range(0..types.len())].to_owned(),
        id1: random.random_range(1..4),
        id2: ["a", "a ", "b"][random.random_range(0..3)].to_owned(),
        timestamp_us: Some(at_us),
    }
}

/// Readings of some hours, some of them far off.
pub(crate) fn some(random: &mut StdRng, count: usize) -> Vec<SensorReading> {
    let readings = (0..count).map(|_| {
        let minutes = match random.random_range(0..50) {
            0 => random.random_range(-500_000..0),
            _ => random.random_range(0..200),
        };
        let at_us = BASE_US + minutes * MINUTE_US + random.random_range(0..MINUTE_US);
        reading(random, at_us)
    });
    readings.collect()
}

pub(crate) async fn send(grpc: std::net::SocketAddr, stream: &str, readings: Vec<SensorReading>) {
    let mut client = connect(grpc).await;
    let at = open(&mut client, stream).await;
    let mut call = AckedCall::resume(&mut client, stream, &at).await;
    let end = at.committed_seq + readings.len() as u64;
    for some in readings.chunks(500) {
        call.send(rows(some.to_vec())).await;
    }
    call.until_acked(end).await;
    call.finish().await;
}

/// Waits until nothing is to be merged or made anew.
pub(crate) async fn until_settled(schema: &Database) {
    until("the rollups are made", async || {
        schema.count("rollup_batches").await == 0 && schema.count("rollup_dirty").await == 0
    })
    .await;
}

/// What a bucket says: count, sum, lowest, highest, first and last.
type Figures = (u64, f64, f64, f64, f64, f64);

async fn figures(schema: &Database, sql: &str) -> BTreeMap<(u32, i64), (Figures, f64)> {
    use mysql_async::prelude::Queryable as _;
    let mut conn = schema.connect().await;
    // Doubles come as they are stored only where they are not written as texts.
    let rows: Vec<mysql_async::Row> = conn.exec(sql, ()).await.expect("an answer");
    let of_row = |row: mysql_async::Row| {
        let number = |index| row.get::<f64, _>(index).expect("a number");
        let count = row.get::<u64, _>(2).expect("a count");
        let figures = (count, number(3), number(4), number(5), number(6), number(7));
        let key = (row.get(0).expect("a number"), row.get(1).expect("a second"));
        (key, (figures, number(8)))
    };
    rows.into_iter().map(of_row).collect()
}

/// Every bucket of every level is what SQL says of the readings.
pub(crate) async fn assert_exact(schema: &Database) {
    for every_s in LEVELS {
        let bucket = format!(
            "CAST(FLOOR(TIMESTAMPDIFF(SECOND, TIMESTAMP'1970-01-01 00:00:00', ts) / {every_s}) * {every_s} AS SIGNED)"
        );
        let edge = |which: &str| {
            format!(
                "(SELECT edge.sensor_value FROM readings AS edge WHERE edge.series_id = found.series_id \
                 AND edge.ts = CAST(LEFT({which}, 26) AS DATETIME(6)) AND edge.id = CAST(SUBSTRING({which}, 27) AS SIGNED))"
            )
        };
        let of_readings = figures(
            schema,
            &format!(
                "SELECT series_id, bucket, CAST(n AS UNSIGNED), total, lowest, highest, {}, {}, size FROM (SELECT series_id, {bucket} AS bucket, \
                 COUNT(*) AS n, SUM(sensor_value) AS total, MIN(sensor_value) AS lowest, MAX(sensor_value) AS highest, \
                 MIN(CONCAT(ts, LPAD(id, 20, '0'))) AS earliest, MAX(CONCAT(ts, LPAD(id, 20, '0'))) AS latest, \
                 SUM(ABS(sensor_value)) AS size FROM readings GROUP BY series_id, bucket) AS found",
                edge("earliest"),
                edge("latest")
            ),
        )
        .await;
        let of_rollups = figures(
            schema,
            &format!(
                "SELECT series_id, TIMESTAMPDIFF(SECOND, TIMESTAMP'1970-01-01 00:00:00', bucket), readings, total, lowest, highest, first_sensor_value, \
                 last_sensor_value, 0e0 FROM rollups WHERE every_s = {every_s}"
            ),
        )
        .await;
        let keys =
            |of: &BTreeMap<(u32, i64), (Figures, f64)>| of.keys().copied().collect::<Vec<_>>();
        assert_eq!(
            keys(&of_rollups),
            keys(&of_readings),
            "buckets of {every_s} s"
        );
        for (key, ((count, total, lowest, highest, first, last), size)) in of_readings {
            let found = of_rollups[&key].0;
            let exact = |of: (u64, f64, f64, f64, f64, f64)| {
                (
                    of.0,
                    of.2.to_bits(),
                    of.3.to_bits(),
                    of.4.to_bits(),
                    of.5.to_bits(),
                )
            };
            let expected = (count, total, lowest, highest, first, last);
            assert_eq!(exact(found), exact(expected), "{key:?} of {every_s} s");
            let bound = count as f64 * f64::EPSILON * size;
            assert!(
                (found.1 - total).abs() <= bound,
                "{key:?}: {} {total}",
                found.1
            );
        }
    }
}

async fn every_bucket_is_what_the_readings_come_to(database: Database) {
    let service = Service::start_with(&database, rolled).await;
    let mut random = StdRng::seed_from_u64(7);
    let sent = some(&mut random, 6_000);
    send(service.grpc, "s", sent).await;
    until_settled(&database).await;
    assert_exact(&database).await;
    // Late ones are added, and no bucket is read for them.
    send(service.grpc, "late", some(&mut random, 2_000)).await;
    until_settled(&database).await;
    assert_exact(&database).await;
    let api = Api::of(&service);
    let removed = api.delete("/sensor/delete/ids?id1=1&id2=a").await.json();
    assert!(removed["deleted_count"].as_u64() > Some(100), "{removed}");
    let span = span_of(30, 95);
    api.delete(&format!("/sensor/delete/time?{span}")).await;
    let renamed = api
        .put(
            "/sensor/update/ids?id1=2,3&id2=a,b",
            &json!({"sensor_type": "other"}),
        )
        .await;
    assert!(renamed.json()["updated_count"].as_u64() > Some(100));
    api.put(
        &format!("/sensor/update/time?{}", span_of(100, 101)),
        &json!({"sensor_value": 1.5}),
    )
    .await;
    until_settled(&database).await;
    assert_exact(&database).await;
    service.close_after_deletes().await;
}

pub(crate) fn span_of(from_minute: i64, to_minute: i64) -> String {
    let at = |minute: i64| {
        let at = chrono::DateTime::from_timestamp_micros(BASE_US + minute * MINUTE_US);
        at.expect("an instant")
            .format("%Y-%m-%dT%H:%M:%S.%6fZ")
            .to_string()
    };
    format!("from_time={}&to_time={}", at(from_minute), at(to_minute))
}

async fn answers_are_the_same_as_without_rollups_and_say_what_they_are_made_from(
    database: Database,
) {
    let service = Service::start_with(&database, rolled).await;
    let mut random = StdRng::seed_from_u64(3);
    send(service.grpc, "s", some(&mut random, 5_000)).await;
    until_settled(&database).await;
    let api = Api::of(&service);
    for (span, bucket, beside, made_from) in [
        (span_of(0, 180), "1h", "", vec!["1h"]),
        (span_of(0, 200), "5m", "", vec!["1m"]),
        (span_of(0, 200), "1h", "&id1=1,2&id2=a,b", vec!["1h", "1m"]),
        (
            span_of(7, 187),
            "2h",
            "&sensor_type=humidity",
            vec!["1h", "1m"],
        ),
        (span_of(3, 150), "1m", "&id1=3&id2=b", vec!["1m"]),
        (span_of(0, 20), "30s", "", vec!["readings"]),
    ] {
        let path = format!("/sensor/aggregate?{span}&bucket={bucket}{beside}&limit=1000");
        let answer = api.get(&path).await.json();
        assert_eq!(answer["made_from"], json!(made_from), "{path}");
        let expected = of_readings(&api, &database, &path).await;
        assert_same_buckets(&answer["buckets"], &expected, &path);
    }
    // Edges that are no bucket's.
    let at = |us: i64| chrono::DateTime::from_timestamp_micros(BASE_US + us).expect("an instant");
    let odd = format!(
        "from_time={}&to_time={}",
        at(1_234_567).format("%Y-%m-%dT%H:%M:%S.%6fZ"),
        at(199 * MINUTE_US + 1).format("%Y-%m-%dT%H:%M:%S.%6fZ")
    );
    let path = format!("/sensor/aggregate?{odd}&bucket=1h&limit=1000");
    let answer = api.get(&path).await.json();
    assert_eq!(answer["made_from"], json!(["1h", "1m", "readings"]));
    assert_same_buckets(
        &answer["buckets"],
        &of_readings(&api, &database, &path).await,
        &path,
    );
    // Page by page it is the same.
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/sensor/aggregate?{odd}&bucket=1h&limit=7{cursor}");
        let page = api.get(&path).await.json();
        paged.extend(page["buckets"].as_array().expect("a list").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_same_buckets(&json!(paged), &answer["buckets"], "pages");
    service.close().await;
}

/// The same question while everything is to be made anew: answered from readings alone.
async fn of_readings(api: &Api, database: &Database, path: &str) -> Value {
    let dirty = "INSERT INTO rollup_dirty (every_s, from_s, to_s, held_until) VALUES (60, -3000000000, 9000000000, '2100-01-01')";
    database.run(dirty).await;
    let answer = api.get(path).await.json();
    assert_eq!(answer["made_from"], json!(["readings"]), "{path}");
    database
        .run("DELETE FROM rollup_dirty WHERE held_until = '2100-01-01'")
        .await;
    answer["buckets"].clone()
}

fn assert_same_buckets(found: &Value, expected: &Value, what: &str) {
    let (found, expected) = (
        found.as_array().expect("a list"),
        expected.as_array().expect("a list"),
    );
    assert!(!expected.is_empty(), "{what}");
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let without_avg = |bucket: &Value| {
            let mut bucket = bucket.clone();
            let avg = bucket["avg"].take().as_f64().expect("an average");
            (bucket, avg)
        };
        let ((found, avg), (expected, expected_avg)) = (without_avg(found), without_avg(expected));
        assert_eq!(found, expected, "{what}");
        assert!(
            (avg - expected_avg).abs() <= 1e-9,
            "{what}: {avg} {expected_avg}"
        );
    }
}

async fn rollups_are_made_of_what_was_stored_before_they_were_set(database: Database) {
    let mut random = StdRng::seed_from_u64(5);
    let service = Service::start_with(&database, |settings| {
        rolled(settings);
        settings.rollups = None;
    })
    .await;
    send(service.grpc, "s", some(&mut random, 4_000)).await;
    assert_eq!(database.count("rollup_batches").await, 0);
    service.close().await;
    let service = Service::start_with(&database, rolled).await;
    send(service.grpc, "s", some(&mut random, 500)).await;
    until_settled(&database).await;
    assert_exact(&database).await;
    // Readings that somebody changes past the service.
    database
        .run("DELETE FROM readings WHERE sensor_value < 0")
        .await;
    let rebuild = command(&["rollups", "rebuild", "--database-url", &database.url()]);
    let ended = end_of(rebuild).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    until_settled(&database).await;
    assert_exact(&database).await;
    service.close_after_deletes().await;
    // Without the setting they are given up, and set again they are made again.
    let service = Service::start_with(&database, |settings| {
        rolled(settings);
        settings.rollups = None;
    })
    .await;
    send(service.grpc, "t", some(&mut random, 500)).await;
    service.close_after_deletes().await;
    let service = Service::start_with(&database, rolled).await;
    until_settled(&database).await;
    assert_exact(&database).await;
    service.close_after_deletes().await;
}

async fn an_instance_without_the_setting_notes_what_it_stores(database: Database) {
    let mut random = StdRng::seed_from_u64(6);
    // It was there before the other one set them.
    let other = Service::start_with(&database, |settings| {
        rolled(settings);
        settings.rollups = None;
        settings.instance = Some("other".to_owned());
    })
    .await;
    send(other.grpc, "s", some(&mut random, 300)).await;
    let service = Service::start_with(&database, rolled).await;
    send(other.grpc, "s", some(&mut random, 300)).await;
    assert!(database.count("rollup_batches").await > 0);
    let api = Api::of(&service);
    let path = format!("/sensor/aggregate?{}&bucket=1m&limit=1000", span_of(0, 200));
    let answer = api.get(&path).await.json();
    assert_same_buckets(
        &answer["buckets"],
        &of_readings(&api, &database, &path).await,
        &path,
    );
    // After ten minutes nobody waits for it any more.
    database
        .run("UPDATE rollup_batches SET noted_at = noted_at - INTERVAL 11 MINUTE")
        .await;
    other.close().await;
    service.close().await;
    let service = Service::start_with(&database, rolled).await;
    until_settled(&database).await;
    assert_exact(&database).await;
    service.close().await;
}

async fn rollups_outlive_the_readings_that_retention_drops(database: Database) {
    let mut random = StdRng::seed_from_u64(8);
    let service = Service::start_with(&database, |settings| {
        rolled(settings);
        settings.partitions.enabled = Some(false);
    })
    .await;
    send(service.grpc, "s", some(&mut random, 3_000)).await;
    until_settled(&database).await;
    let api = Api::of(&service);
    let hours = format!("/sensor/aggregate?{}&bucket=1h&limit=1000", span_of(0, 180));
    let before = api.get(&hours).await.json();
    service.close().await;
    database
        .run(
            "ALTER TABLE readings REORGANIZE PARTITION p_rest INTO (PARTITION p_old VALUES LESS THAN ('2026-01-01 02:00:00'), \
             PARTITION p_rest VALUES LESS THAN (MAXVALUE))",
        )
        .await;
    let service = Service::start_with(&database, |settings| {
        rolled(settings);
        settings.partitions.retention = Some("30d".parse().expect("a span"));
    })
    .await;
    until("retention has dropped them", async || {
        database
            .count("readings WHERE ts < '2026-01-01 02:00:00'")
            .await
            == 0
    })
    .await;
    let api = Api::of(&service);
    let after = api.get(&hours).await.json();
    assert_same_buckets(&after["buckets"], &before["buckets"], "after retention");
    assert_eq!(after["made_from"], json!(["1h"]));
    // A whole hour can go, a part of one cannot.
    let refused = api
        .delete(&format!("/sensor/delete/time?{}", span_of(10, 60)))
        .await;
    let problem = refused.problem(400, "invalid-parameter", Some("from_time"));
    assert!(
        problem["detail"]
            .as_str()
            .expect("a text")
            .contains("rollups of 1h"),
        "{problem}"
    );
    api.delete(&format!(
        "/sensor/delete/time?{}&dry_run=true",
        span_of(0, 60)
    ))
    .await;
    api.delete(&format!("/sensor/delete/time?{}", span_of(0, 60)))
        .await
        .json();
    until_settled(&database).await;
    let left = api.get(&hours).await.json();
    let behind = |bucket: &&Value| bucket["bucket_us"].as_i64() >= Some(BASE_US + 60 * MINUTE_US);
    let expected: Vec<&Value> = before["buckets"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(behind)
        .collect();
    assert_same_buckets(&left["buckets"], &json!(expected), "without an hour");
    // What is dropped stays away, and the rollups of it stay, whatever is made anew.
    let rebuilt = end_of(command(&[
        "rollups",
        "rebuild",
        "--database-url",
        &database.url(),
    ]))
    .await;
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    until_settled(&database).await;
    let rebuilt = api.get(&hours).await.json();
    assert_same_buckets(&rebuilt["buckets"], &json!(expected), "made anew");
    service.close_after_deletes().await;
    // A level that alone has what is gone does not go unasked.
    let refusal = Service::try_start(&database, |settings| {
        rolled(settings);
        settings.rollups = Some("1h:none".parse().expect("levels"));
    });
    let refusal = refusal.await.err().expect("refused");
    assert!(
        refusal.contains("sluicegate rollups drop --every 1m"),
        "{refusal}"
    );
    let dropped = command(&[
        "rollups",
        "drop",
        "--every",
        "1m",
        "--database-url",
        &database.url(),
    ]);
    let dropped = end_of(dropped).await;
    assert_eq!(dropped.code, Some(0), "{}", dropped.stderr);
    let service = Service::start_with(&database, |settings| {
        rolled(settings);
        settings.rollups = Some("1h:none".parse().expect("levels"));
    })
    .await;
    let left = Api::of(&service).get(&hours).await.json();
    assert_same_buckets(&left["buckets"], &json!(expected), "without minutes");
    service.close_after_deletes().await;
}

async fn what_would_lose_rollups_is_refused(database: Database) {
    for (layout, levels, retention, reason) in [
        (
            Layout::Partitioned,
            "1m:30d",
            "none",
            "only the layout series has rollups",
        ),
        (
            Layout::Series,
            "1m:30d,1d:none",
            "6h",
            "no longer than partitions.retention",
        ),
    ] {
        let refusal = Service::try_start(&database, |settings| {
            settings.layout = Some(layout);
            settings.rollups = Some(levels.parse().expect("levels"));
            settings.partitions.retention = Some(retention.parse().expect("a span"));
        });
        let refusal = refusal.await.err().expect("refused");
        assert!(
            refusal.contains(reason) && refusal.contains("rollups"),
            "{refusal}"
        );
        if layout == Layout::Partitioned {
            database.run("DROP TABLE sensor_readings").await;
        }
    }
}

//! Readings go into a table of the user's own, with names and columns of its own.

use mysql_async::{Row, prelude::Queryable as _};
use reqwest::Method;
use serde_json::{Value, json};
use sluicegate::config::Settings;

use crate::common::{
    database::Database,
    http, on_each_engine,
    program::{command, end_of},
    readings::{BASE_US, reading, readings, rows},
    service::{AckedCall, Service},
    web,
};

on_each_engine! {
    readings_go_into_a_table_of_ones_own,
    a_table_of_ones_own_may_have_partitions_and_odd_names,
    all_that_does_not_fit_is_said_before_anything_is_made,
    a_table_of_ones_own_is_neither_made_nor_moved,
    names_that_cannot_be_meant_are_refused,
    a_reading_without_its_row_in_another_table_hurts_no_other,
    columns_of_any_name_are_left_alone,
}

const MEASURED: &str = "CREATE TABLE measured (nr BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, temp DOUBLE NOT NULL, \
    kind VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, site INT NOT NULL, \
    device VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, at DATETIME(6) NOT NULL, \
    note VARCHAR(50) NULL, checked TINYINT NOT NULL DEFAULT 7, id INT NULL, KEY of_device (site, device, at), KEY of_time (at)) ENGINE = InnoDB";
const COLUMNS: &str = "id=nr,sensor_value=temp,sensor_type=kind,id1=site,id2=device,ts=at";

fn own(table: &str, columns: &str) -> impl FnOnce(&mut Settings) + use<> {
    let (table, columns) = (
        table.parse().expect("a name"),
        columns.parse().expect("names"),
    );
    move |settings| {
        settings.layout = None;
        settings.table = Some(table);
        settings.columns = Some(columns);
    }
}

async fn made(database: &Database, statement: &str) {
    let mut conn = database.connect().await;
    conn.query_drop(statement).await.expect("made");
}

async fn send(service: &Service, count: u64) {
    let at = service.open("own").await;
    let mut call = AckedCall::resume(&mut service.client().await, "own", &at).await;
    call.send(rows(readings(1..count + 1))).await;
    assert_eq!(call.until_acked(count).await.rejected, 0);
    call.finish().await;
}

async fn asked(service: &Service, path: &str) -> Value {
    let (status, answer) = http::get(service.rest, path).await.expect("answers");
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn changed(service: &Service, method: Method, path: &str, body: Option<Value>) -> Value {
    let url = format!("http://{}{path}", service.rest);
    let mut request = web::client().request(method, url);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("answers");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

/// What a table holds, by its columns.
async fn rows_of(database: &Database, sql: &str) -> Vec<Row> {
    database.connect().await.query(sql).await.expect("reads")
}

/// Every question and change reaches the table.
async fn assert_management_reaches_it(service: &Service) {
    let one = reading(1);
    let pair = format!("id1={}&id2={}", one.id1, one.id2);
    let page = asked(service, &format!("/api/v1/sensor/ids?{pair}")).await;
    assert_eq!(page["readings"].as_array().expect("a page").len(), 5);
    assert_eq!(page["readings"][0]["timestamp_us"], BASE_US + 1);
    let time = format!(
        "from_time={}&to_time={}",
        BASE_US / 1_000 - 1,
        BASE_US / 1_000 + 1
    );
    let page = asked(
        service,
        &format!("/api/v1/sensor/time?{time}&sensor_type=temperature&order=desc&limit=7"),
    )
    .await;
    assert_eq!(page["readings"][6]["sensor_value"], 24.0);
    let latest = asked(service, &format!("/api/v1/sensor/latest?{pair}")).await;
    assert_eq!(latest["latest"][0]["reading"]["sensor_value"], 29.0);
    let buckets = asked(
        service,
        &format!("/api/v1/sensor/aggregate?{time}&bucket=1d&{pair}"),
    )
    .await;
    let bucket = &buckets["buckets"][0];
    assert_eq!(
        (&bucket["count"], &bucket["first"], &bucket["last"]),
        (&json!(5), &json!(1.0), &json!(29.0))
    );
    let new = json!({"sensor_value": 0.5, "sensor_type": "gauge"});
    let path = format!("/api/v1/sensor/update/ids-time?{pair}&{time}");
    assert_eq!(
        changed(service, Method::PUT, &path, Some(new)).await["updated_count"],
        5
    );
    let page = asked(
        service,
        &format!("/api/v1/sensor/ids?{pair}&sensor_type=gauge"),
    )
    .await;
    assert_eq!(page["readings"].as_array().expect("a page").len(), 5);
    let path = format!("/api/v1/sensor/delete/ids?{pair}&dry_run=true");
    assert_eq!(
        changed(service, Method::DELETE, &path, None).await["deleted_count"],
        5
    );
    let path = format!("/api/v1/sensor/delete/ids?{pair}");
    assert_eq!(
        changed(service, Method::DELETE, &path, None).await["deleted_count"],
        5
    );
}

async fn readings_go_into_a_table_of_ones_own(database: Database) {
    made(&database, MEASURED).await;
    made(&database, "INSERT INTO measured (temp, kind, site, device, at, note) VALUES (1, 'k', 1, 'd', '2020-01-01', 'mine')").await;
    let service = Service::start_with(&database, own("measured", COLUMNS)).await;
    send(&service, 30).await;
    assert_management_reaches_it(&service).await;
    // A reading that the table refuses is in quarantine, and hurts no other.
    let mut bad = reading(31);
    bad.sensor_type = "k".repeat(21);
    let reply = service.client().await.send_sensor_reading(bad).await;
    assert!(reply.is_err() || reply.is_ok_and(|it| it.into_inner().committed == 0));
    let left = rows_of(
        &database,
        "SELECT nr, temp, kind, site, device, at, note, checked, id FROM measured ORDER BY nr",
    )
    .await;
    assert_eq!(left.len(), 26);
    let text = |row: &Row, index: usize| row.get::<Option<String>, _>(index).flatten();
    assert_eq!(text(&left[0], 6).as_deref(), Some("mine"));
    for row in &left[1..] {
        assert_eq!(
            (text(row, 6), text(row, 7).as_deref(), text(row, 8)),
            (None, Some("7"), None)
        );
    }
    assert_eq!(database.count("information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'sensor_readings'").await, 0);
    assert_eq!(service.readiness().await["storage"]["layout"], "own");
    service.close_after_deletes().await;
}

async fn a_table_of_ones_own_may_have_partitions_and_odd_names(database: Database) {
    let table = "my `odd` table";
    let create = "CREATE TABLE `my ``odd`` table` (`the id` BIGINT NOT NULL, `select` DOUBLE NOT NULL, \
        `ts` VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, id1 INT NOT NULL, \
        id2 VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, `größe` DATETIME(6) NOT NULL, \
        PRIMARY KEY (`größe`, `the id`), KEY by_ids (id1, id2, `größe`)) ENGINE = InnoDB \
        PARTITION BY RANGE COLUMNS (`größe`) (PARTITION p_rest VALUES LESS THAN (MAXVALUE))";
    made(&database, create).await;
    // A name of ours for a column of another meaning.
    let columns = "id=the id,sensor_value=select,sensor_type=ts,ts=größe";
    let adjust = own(table, columns);
    let service = Service::start_with(&database, |settings| {
        adjust(settings);
        settings.partitions.width = Some("1h".parse().expect("a width"));
    })
    .await;
    send(&service, 30).await;
    assert_management_reaches_it(&service).await;
    assert_eq!(service.readiness().await["storage"]["layout"], "own");
    let partitions = "information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'my `odd` table'";
    assert!(database.count(partitions).await > 1, "they are made ahead");
    service.close_after_deletes().await;
}

async fn all_that_does_not_fit_is_said_before_anything_is_made(database: Database) {
    made(
        &database,
        "CREATE TABLE measured (nr INT NOT NULL PRIMARY KEY, temp FLOAT NULL, kind VARCHAR(20) CHARACTER SET latin1 NOT NULL, \
         site INT UNSIGNED NOT NULL, device VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
         note VARCHAR(50) NOT NULL, UNIQUE KEY once (site, device)) ENGINE = InnoDB",
    )
    .await;
    let columns = "id=nr,sensor_value=temp,sensor_type=kind,id1=site,id2=device";
    let refused = Service::try_start(&database, own("measured", columns)).await;
    let sentence = refused.err().expect("refused");
    for part in [
        "the table measured (settings table and columns) does not fit",
        "nr is int",
        "has to be bigint",
        "temp is float, and has to be double",
        "temp may be NULL",
        "kind has the collation latin1",
        "site is int",
        "has to be signed",
        "it has no column ts: say which one stands for it (columns: ts=NAME)",
        "note has no default",
        "it has the unique index once",
    ] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    assert_eq!(
        database
            .count("information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()")
            .await,
        1
    );
    made(&database, "CREATE VIEW seen AS SELECT * FROM measured").await;
    let refused = Service::try_start(&database, own("seen", columns)).await;
    assert!(refused.err().expect("refused").contains("it is a view"));
}

async fn a_table_of_ones_own_is_neither_made_nor_moved(database: Database) {
    let refused = Service::try_start(&database, own("nowhere", "")).await;
    let sentence = refused.err().expect("refused");
    assert!(
        sentence.contains("the table nowhere (settings table and columns) is not there"),
        "{sentence}"
    );
    made(&database, MEASURED).await;
    let url = database.url();
    let own = [
        "--table",
        "measured",
        "--columns",
        COLUMNS,
        "--database-url",
        &url,
    ];
    let migrated = end_of(command(&[&["migrate"][..], &own].concat())).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let moved = end_of(command(
        &[&["migrate", "--to", "series"][..], &own].concat(),
    ))
    .await;
    assert_eq!(moved.code, Some(2), "{moved:?}");
    assert!(moved.stderr.contains("stay where they are"), "{moved:?}");
    // The ledger is there, and no other table of readings.
    assert_eq!(database.count("ingest_streams").await, 0);
    assert!(!database.tries("SELECT 1 FROM sensor_readings").await);
}

async fn names_that_cannot_be_meant_are_refused(database: Database) {
    let url = database.url();
    for (flags, said) in [
        (["--columns", "value=temp"], "is none of id, sensor_value"),
        (["--columns", "ts=id"], "stands for two columns"),
        (["--columns", "temp"], "is not COLUMN=NAME"),
        (["--table", "a.b"], "is no name"),
    ] {
        let ended = end_of(command(
            &[&["migrate", "--database-url", &url], &flags[..]].concat(),
        ))
        .await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
}

async fn a_reading_without_its_row_in_another_table_hurts_no_other(database: Database) {
    for statement in [
        "CREATE TABLE devices (device VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY) ENGINE = InnoDB",
        "INSERT INTO devices VALUES ('A'), ('B')",
        MEASURED,
        "ALTER TABLE measured ADD FOREIGN KEY (device) REFERENCES devices (device) ON DELETE CASCADE",
    ] {
        made(&database, statement).await;
    }
    let adjust = own("measured", COLUMNS);
    let service = Service::start_with(&database, |settings| {
        adjust(settings);
        settings.ingest.lanes = Some(1);
    })
    .await;
    let of = |device: &str| {
        let mut one = reading(1);
        one.id2 = device.to_owned();
        one
    };
    let mut client = service.client().await;
    let stored = client.send_sensor_reading(of("A")).await;
    assert_eq!(stored.expect("stored").into_inner().committed, 1);
    // What the table took last it takes no more.
    made(&database, "DELETE FROM devices WHERE device = 'A'").await;
    let refused = client.send_sensor_reading(of("A")).await;
    assert!(refused.is_err() || refused.is_ok_and(|it| it.into_inner().committed == 0));
    let stored = client.send_sensor_reading(of("B")).await;
    assert_eq!(stored.expect("stored").into_inner().committed, 1);
    assert_eq!(database.count("rejected_readings").await, 1);
    assert_eq!(database.count("measured").await, 1);
    service.close_after_deletes().await;
}

async fn columns_of_any_name_are_left_alone(database: Database) {
    made(
        &database,
        "CREATE TABLE measured (nr BIGINT NOT NULL, Temp DOUBLE NOT NULL, bucket VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
         site INT NOT NULL, device VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, at DATETIME(6) NOT NULL, \
         id_hash BIGINT NULL, id2_bytes INT NULL, type_bytes INT NULL, kind ENUM('x', 'y') NOT NULL, PRIMARY KEY (at, nr), \
         KEY of_hash (id_hash, at), KEY of_device (site, device, at)) ENGINE = InnoDB",
    )
    .await;
    made(&database, "INSERT INTO measured (nr, Temp, bucket, site, device, at) VALUES (0, 1, 'k', 1, 'd', '2020-01-01')").await;
    // Columns have no case.
    let columns = "id=NR,sensor_value=temp,sensor_type=bucket,id1=site,id2=device,ts=AT";
    for _twice in 0..2 {
        let service = Service::start_with(&database, own("measured", columns)).await;
        service.close_after_deletes().await;
    }
    let service = Service::start_with(&database, own("measured", columns)).await;
    send(&service, 30).await;
    assert_management_reaches_it(&service).await;
    assert_eq!(database.count("measured WHERE kind = 'x'").await, 26);
    service.close_after_deletes().await;
}

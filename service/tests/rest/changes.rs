//! Deletes and updates: exactly what is selected, and nothing else.

use std::time::Duration;

use mysql_async::{Conn, prelude::Queryable as _};
use reqwest::Method;
use serde_json::json;
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorReading;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        readings::{self as numbered, BASE_US, assert_same},
        service::Service,
        until,
    },
    sample::{Chosen, LAYOUTS, PAIRS, filled, readings, service},
};

on_each_engine! {
    a_delete_takes_exactly_what_is_selected,
    an_update_changes_exactly_what_is_selected,
    an_update_leaves_the_time_alone_where_the_server_would_change_it,
    a_dry_run_counts_and_changes_nothing,
    without_a_selection_nothing_is_changed,
    values_that_cannot_be_stored_are_refused,
    any_double_that_is_sent_is_the_one_that_is_stored,
    a_change_of_many_readings_reaches_each,
    a_client_that_is_gone_stops_its_delete,
    a_client_that_is_gone_stops_its_update,
    what_comes_in_meanwhile_is_let_be,
}

fn selections() -> [Chosen; 4] {
    [
        Chosen {
            seconds: Some((60, 90)),
            ..Chosen::default()
        },
        Chosen {
            pairs: vec![PAIRS[1], PAIRS[4], (8, "nobody")],
            ..Chosen::default()
        },
        Chosen {
            seconds: Some((100, 200)),
            pairs: PAIRS.to_vec(),
            sensor_type: Some("humidity"),
            ..Chosen::default()
        },
        Chosen {
            seconds: Some((0, 300)),
            sensor_type: Some("Humidity"),
            ..Chosen::default()
        },
    ]
}

/// All readings but those that any of the selections takes, in the order of arrival.
fn without(stored: &[SensorReading], chosen: &Chosen) -> Vec<SensorReading> {
    let taken = chosen.expected(stored);
    let stays = |it: &&SensorReading| !taken.contains(it);
    stored.iter().filter(stays).cloned().collect()
}

async fn stored(database: &Database) -> Vec<SensorReading> {
    let stored = database.stored().await;
    stored.into_iter().map(|row| row.reading).collect()
}

async fn a_delete_takes_exactly_what_is_selected(database: Database) {
    for layout in LAYOUTS {
        let (database, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        let mut left = readings();
        for chosen in selections() {
            let count = chosen.expected(&left).len();
            let path = format!("/sensor/delete/{}?{}", chosen.route(), chosen.selection());
            let answer = api.delete(&path).await.json();
            assert_eq!(answer, json!({"deleted_count": count, "dry_run": false}));
            left = without(&left, &chosen);
            assert_same(&stored(&database).await, &left);
            let again = api.delete(&path).await.json();
            assert_eq!(again["deleted_count"], 0);
        }
        assert!(left.len() > 100 && left.len() < 300, "{}", left.len());
        service.close_after_deletes().await;
    }
}

async fn an_update_changes_exactly_what_is_selected(database: Database) {
    for layout in LAYOUTS {
        let (database, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        let mut expected = readings();
        for (chosen, body) in selections().into_iter().zip([
            json!({"sensor_value": 1.5}),
            json!({"sensor_type": " größe'\\\"\n\u{0} "}),
            json!({"sensor_value": -0.1, "sensor_type": "gauge"}),
            json!({"sensor_value": 9}),
        ]) {
            let taken = chosen.expected(&expected);
            let path = format!("/sensor/update/{}?{}", chosen.route(), chosen.selection());
            let answer = api.put(&path, &body).await.json();
            let counted = json!({"updated_count": taken.len(), "dry_run": false});
            assert_eq!(answer, counted, "{layout:?} {path}");
            for reading in expected.iter_mut().filter(|it| taken.contains(it)) {
                if let Some(value) = body["sensor_value"].as_f64() {
                    reading.sensor_value = Some(value);
                }
                if let Some(sensor_type) = body["sensor_type"].as_str() {
                    reading.sensor_type = sensor_type.to_owned();
                }
            }
            assert_same(&stored(&database).await, &expected);
            // What stays as it is counts as well.
            if body.get("sensor_type").is_none() {
                assert_eq!(api.put(&path, &body).await.json(), counted);
            }
        }
        service.close().await;
    }
}

/// As MySQL made every first TIMESTAMP of a table before 8.0, and MariaDB before 10.10.
async fn an_update_leaves_the_time_alone_where_the_server_would_change_it(database: Database) {
    let (database, service) = filled(&database, Layout::Seed, readings()).await;
    service.close().await;
    let touched = "DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP";
    let alter = format!("ALTER TABLE sensor_readings MODIFY ts TIMESTAMP NOT NULL {touched}");
    database.run(&alter).await;
    let service = Service::start(&database).await;
    let path = "/sensor/update/time?from_time=0&to_time=9999999999999";
    let answer = Api::of(&service)
        .put(path, &json!({"sensor_value": 4.5}))
        .await;
    assert_eq!(answer.json()["updated_count"], readings().len());
    let expected: Vec<_> = readings()
        .into_iter()
        .map(|reading| SensorReading {
            sensor_value: Some(4.5),
            ..reading
        })
        .collect();
    assert_same(&stored(&database).await, &expected);
    service.close().await;
}

async fn a_dry_run_counts_and_changes_nothing(database: Database) {
    for layout in LAYOUTS {
        let (database, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        for chosen in selections() {
            let count = chosen.expected(&readings()).len();
            let selection = format!("{}?{}&dry_run=true", chosen.route(), chosen.selection());
            let deleted = api.delete(&format!("/sensor/delete/{selection}")).await;
            let counted = json!({"deleted_count": count, "dry_run": true});
            assert_eq!(deleted.json(), counted);
            let path = format!("/sensor/update/{selection}");
            let updated = api.put(&path, &json!({"sensor_value": 0})).await;
            let counted = json!({"updated_count": count, "dry_run": true});
            assert_eq!(updated.json(), counted);
            let refused = api.put(&path, &json!({"sensor_type": ""})).await;
            refused.problem(422, "invalid-change", Some("sensor_type"));
        }
        assert_same(&stored(&database).await, &readings());
        service.close().await;
    }
}

async fn without_a_selection_nothing_is_changed(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let body = json!({"sensor_value": 0});
    for (route, query, parameter) in [
        ("time", "", "from_time"),
        ("time", "?", "from_time"),
        ("time", "?sensor_type=humidity", "from_time"),
        ("time", "?from_time=0", "to_time"),
        ("time", "?dry_run=false", "from_time"),
        ("ids", "", "id1"),
        ("ids", "?id1=0", "id2"),
        ("ids", "?id2=A", "id1"),
        ("ids-time", "", "from_time"),
        ("ids-time", "?from_time=0&to_time=9999999999999", "id1"),
        ("ids-time", "?id1=0&id2=A", "from_time"),
    ] {
        let refused = api.delete(&format!("/sensor/delete/{route}{query}")).await;
        refused.problem(400, "missing-parameter", Some(parameter));
        let refused = api
            .put(&format!("/sensor/update/{route}{query}"), &body)
            .await;
        refused.problem(400, "missing-parameter", Some(parameter));
    }
    for (query, parameter) in [
        ("?id1=&id2=A", "id1"),
        ("?id1=0&id2=", "id2"),
        ("?id1=0,1&id2=A", "id2"),
    ] {
        let refused = api.delete(&format!("/sensor/delete/ids{query}")).await;
        refused.problem(400, "invalid-parameter", Some(parameter));
    }
    let refused = api
        .delete("/sensor/delete/ids?id1=0&id2=A&dry_run=yes")
        .await;
    refused.problem(400, "invalid-parameter", Some("dry_run"));
    assert_same(&stored(&database).await, &readings());
    service.close().await;
}

async fn values_that_cannot_be_stored_are_refused(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let path = "/sensor/update/ids?id1=0&id2=A";
    let long = "x".repeat(51);
    for (body, parameter) in [
        (json!({}), None),
        (json!({"sensor_value": null}), None),
        (json!({"sensor_type": ""}), Some("sensor_type")),
        (json!({"sensor_type": long}), Some("sensor_type")),
        (json!({"sensor_type": 5}), Some("sensor_type")),
        (json!({"sensor_value": "5"}), Some("sensor_value")),
        (json!({"sensor_value": [5]}), Some("sensor_value")),
        (json!({"sensor_value": 5, "id1": 3}), Some("id1")),
        (json!([]), None),
        (json!("sensor_value"), None),
        (json!(null), None),
    ] {
        let refused = api.put(path, &body).await;
        refused.problem(422, "invalid-change", parameter);
    }
    let raw = |body: &str| {
        let request = api.request(Method::PUT, path);
        request
            .header("content-type", "application/json")
            .body(body.to_owned())
    };
    for body in [
        r#"{"sensor_value": 1, "sensor_value": 2}"#,
        r#"{"sensor_value": 1e400}"#,
    ] {
        let refused = api.send(raw(body)).await;
        refused.problem(422, "invalid-change", Some("sensor_value"));
    }
    for body in ["", "{", "nul", r#"{"sensor_value": NaN}"#, "{} {}"] {
        let refused = api.send(raw(body)).await;
        refused.problem(400, "malformed-body", None);
    }
    assert_same(&stored(&database).await, &readings());
    service.close().await;
}

async fn any_double_that_is_sent_is_the_one_that_is_stored(database: Database) {
    let (database, service) =
        filled(&database, Layout::Partitioned, vec![readings()[0].clone()]).await;
    let api = Api::of(&service);
    let path = "/sensor/update/ids?id1=0&id2=A";
    let mut bits = 0x3fb9_9999_9999_999a_u64;
    for _ in 0..200 {
        // A walk through all doubles, by a generator of Knuth's.
        bits = bits
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let value = f64::from_bits(bits);
        if !value.is_finite() {
            continue;
        }
        let answer = api.put(path, &json!({"sensor_value": value})).await;
        assert_eq!(answer.json()["updated_count"], 1);
        let stored = stored(&database).await[0].sensor_value();
        assert_eq!(stored.to_bits(), value.to_bits(), "{value:e}");
        let shown = api.get("/sensor/ids?id1=0&id2=A").await.json();
        assert_eq!(shown["readings"][0]["sensor_value"], value);
    }
    service.close().await;
}

/// More than fit into two transactions.
const MANY: u64 = 12_000;
/// Exactly four transactions.
const FOUR_STRETCHES: u64 = 20_000;

/// The selection of all numbered readings, in time order.
fn all_numbered() -> String {
    format!(
        "from_time={}&to_time={}",
        BASE_US / 1_000,
        BASE_US / 1_000 + 60_000
    )
}

async fn many(database: &Database, layout: Layout, count: u64) -> (Database, Service) {
    let (database, service) = service(database, layout).await;
    let mut client = service.client().await;
    let batch = numbered::columns(numbered::column_batch(0..count));
    let sent = client.stream_readings(tokio_stream::iter([batch])).await;
    assert_eq!(sent.expect("stored").into_inner().committed, count);
    (database, service)
}

async fn a_change_of_many_readings_reaches_each(database: Database) {
    for layout in LAYOUTS {
        let (database, service) = many(&database, layout, MANY).await;
        let api = Api::of(&service);
        let path = format!("/sensor/update/time?{}", all_numbered());
        let body = json!({"sensor_type": "gauge"});
        let answer = api.put(&path, &body).await.json();
        assert_eq!(answer["updated_count"], MANY);
        let gauges = database
            .count("sensor_readings WHERE sensor_type = 'gauge'")
            .await;
        assert_eq!(gauges, MANY);
        let path = format!("/sensor/delete/time?{}&sensor_type=gauge", all_numbered());
        assert_eq!(api.delete(&path).await.json()["deleted_count"], MANY);
        assert_eq!(database.count("sensor_readings").await, 0);
        service.close_after_deletes().await;
    }
}

/// Holds a row that the second transaction of a change needs.
async fn hold_up(database: &Database) -> Conn {
    let mut holder = database.connect().await;
    // No more than the row: where it is not found, the gap up to the end would be held.
    for sql in [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "START TRANSACTION",
    ] {
        holder.query_drop(sql).await.expect("begins");
    }
    let at = "ts = '2026-01-01 00:00:00.007000'";
    let lock = format!("SELECT id FROM sensor_readings WHERE {at} FOR UPDATE");
    let held: Option<u64> = holder.query_first(lock).await.expect("locks");
    assert!(held.is_some());
    holder
}

/// Begins a change that is held up in its second transaction, lets its client go, and then lets the change go on:
/// what it had done before stays, and it does no more. `done` counts what the change has done.
async fn assert_stops(database: Database, request: String, done: &str) {
    let (database, service) = many(&database, Layout::Partitioned, FOUR_STRETCHES).await;
    let mut holder = hold_up(&database).await;
    let mut client = TcpStream::connect(service.rest).await.expect("connects");
    client
        .write_all(request.as_bytes())
        .await
        .expect("takes it");
    let done = || async {
        let done: Option<u64> = database
            .connect()
            .await
            .query_first(done)
            .await
            .expect("counts");
        done.expect("a count")
    };
    until("the first transaction is through", || async {
        done().await == 5_000
    })
    .await;
    until("the second waits", || is_changing(&database)).await;
    client.shutdown().await.expect("says that it is gone");
    // The service closes its side once it has seen that.
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(60), client.read_to_end(&mut answer));
    closed.await.expect("in time").expect("is closed");
    assert_eq!(String::from_utf8_lossy(&answer), "");
    holder.query_drop("COMMIT").await.expect("lets go");
    until("the second has ended", || async {
        !is_changing(&database).await
    })
    .await;
    service.close_after_deletes().await;
    let done = done().await;
    assert!((5_000..=10_000).contains(&done), "{done}");
}

/// Whether a change of this schema's readings is under way.
async fn is_changing(database: &Database) -> bool {
    let changes = ["DELETE %sensor_readings%", "UPDATE %sensor_readings%"];
    database.running(&changes).await > 0
}

async fn a_client_that_is_gone_stops_its_delete(database: Database) {
    let request = format!(
        "DELETE /sensor/delete/time?{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        all_numbered()
    );
    let deleted = format!("SELECT {FOUR_STRETCHES} - COUNT(*) FROM sensor_readings");
    assert_stops(database, request, &deleted).await;
}

async fn a_client_that_is_gone_stops_its_update(database: Database) {
    let body = json!({"sensor_type": "gauge"}).to_string();
    let request = format!(
        "PUT /sensor/update/time?{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n\
         {body}",
        all_numbered(),
        body.len()
    );
    let changed = "SELECT COUNT(*) FROM sensor_readings WHERE sensor_type = 'gauge'";
    assert_stops(database, request, changed).await;
}

async fn what_comes_in_meanwhile_is_let_be(database: Database) {
    let (database, service) = many(&database, Layout::Partitioned, MANY).await;
    let mut holder = hold_up(&database).await;
    let api = Api::of(&service);
    let path = format!("/sensor/delete/time?{}", all_numbered());
    let deleting = api.delete(&path);
    // Behind the last that was there when the delete began, and within its range of time.
    let storing = async {
        until("the first transaction is through", || async {
            database.count("sensor_readings").await == MANY - 5_000
        })
        .await;
        until("the second waits", || is_changing(&database)).await;
        let mut client = service.client().await;
        let batch = numbered::columns(numbered::column_batch(50_000..60_000));
        let sent = client.stream_readings(tokio_stream::iter([batch])).await;
        assert_eq!(sent.expect("stored").into_inner().committed, 10_000);
        holder.query_drop("COMMIT").await.expect("lets go");
    };
    let (answer, ()) = tokio::join!(deleting, storing);
    assert_eq!(answer.json()["deleted_count"], MANY);
    numbered::assert_stored(&database, 50_000..60_000).await;
    service.close_after_deletes().await;
}

//! Pages through time on the layout `series`: the service remembers names by their numbers, and never tells those of another table.

use reqwest::Method;
use serde_json::json;
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorReading;

use crate::{
    api::Api,
    common::{alone_on_each_engine, database::Database, readings::BASE_US, service::Service},
    plans::logged,
    sample::store,
};

alone_on_each_engine! {
    a_page_whose_names_are_known_is_not_asked_for_them,
    names_of_another_table_are_not_told,
    a_series_that_changes_its_type_is_told_by_its_new_name,
    readings_without_a_name_leave_no_gap_in_pages,
}

const EVERYTHING: &str = "/sensor/time?from_time=2026-01-01T00:00:00Z&to_time=2026-01-02T00:00:00Z";

async fn start_as(database: &Database, instance: &str) -> Service {
    Service::start_with(database, |settings| {
        settings.layout = Some(Layout::Series);
        settings.instance = Some(instance.to_owned());
    })
    .await
}

/// A reading of each of these names, a second apart.
fn of(names: &[&str]) -> Vec<SensorReading> {
    let reading = |(n, id2): (i64, &&str)| SensorReading {
        sensor_value: Some(n as f64),
        sensor_type: "t".to_owned(),
        id1: 1,
        id2: (*id2).to_owned(),
        timestamp_us: Some(BASE_US + n * 1_000_000),
    };
    (0..).zip(names).map(reading).collect()
}

/// The names of all readings in order, `limit` to a page.
async fn told(api: &Api, limit: usize) -> Vec<String> {
    let readings = api.pages(EVERYTHING, "readings", limit).await;
    let name = |one: &serde_json::Value| {
        let text = |field: &str| one[field].as_str().expect("a text").to_owned();
        text("id2") + "/" + &text("sensor_type")
    };
    readings.iter().map(name).collect()
}

async fn a_page_whose_names_are_known_is_not_asked_for_them(database: Database) {
    database.run("SET GLOBAL log_output = 'TABLE'").await;
    let schema = database.server.schema().await;
    let service = start_as(&schema, "one").await;
    let api = Api::of(&service);
    store(&service, "sample", of(&["a", "b", "a"])).await;
    let mut log = schema.connect().await;
    let mut joined = Vec::new();
    for more in [None, None, Some("c"), None, None] {
        if let Some(name) = more {
            store(&service, "more", of(&[name])).await;
        }
        let asking = async {
            told(&api, 100).await;
        };
        let statements = logged(&mut log, "Execute", asking).await;
        joined.push(
            statements
                .iter()
                .map(|sql| sql.contains("JOIN series ON"))
                .collect::<Vec<_>>(),
        );
    }
    // A name that is not known is asked for with all of its page, and then a page is left out before the next try.
    let expected = [
        vec![true],
        vec![false],
        vec![false, true],
        vec![true],
        vec![false],
    ];
    assert_eq!(joined, expected);
    assert_eq!(told(&api, 100).await, ["a/t", "c/t", "b/t", "a/t"]);
    service.close().await;
}

async fn names_of_another_table_are_not_told(database: Database) {
    let service = start_as(&database, "one").await;
    let api = Api::of(&service);
    store(&service, "sample", of(&["a", "b", "c"])).await;
    for _ in 0..3 {
        assert_eq!(told(&api, 100).await, ["a/t", "b/t", "c/t"]);
    }
    // Everything is gone, and somebody else gives the same numbers to others.
    for statement in [
        "TRUNCATE TABLE readings",
        "TRUNCATE TABLE series",
        "UPDATE id_blocks SET next_id = 1 WHERE name = 'series'",
    ] {
        database.run(statement).await;
    }
    let other = start_as(&database, "other").await;
    for (one, stream) in of(&["c", "b", "z", "a"])
        .into_iter()
        .zip(["p", "q", "r", "s"])
    {
        store(&other, stream, vec![one]).await;
    }
    for _ in 0..3 {
        assert_eq!(told(&api, 100).await, ["c/t", "b/t", "z/t", "a/t"]);
    }
    other.close_after_deletes().await;
    service.close_after_deletes().await;
}

async fn a_series_that_changes_its_type_is_told_by_its_new_name(database: Database) {
    let service = start_as(&database, "one").await;
    let api = Api::of(&service);
    store(&service, "sample", of(&["a", "b", "a"])).await;
    for _ in 0..2 {
        assert_eq!(told(&api, 100).await, ["a/t", "b/t", "a/t"]);
    }
    let change = api.request(Method::PUT, "/sensor/update/ids?id1=1&id2=a");
    let changed = api.send(change.json(&json!({"sensor_type": "p"}))).await;
    assert_eq!(changed.json()["updated_count"], 2);
    for _ in 0..3 {
        assert_eq!(told(&api, 100).await, ["a/p", "b/t", "a/p"]);
    }
    service.close().await;
}

async fn readings_without_a_name_leave_no_gap_in_pages(database: Database) {
    let service = start_as(&database, "one").await;
    let api = Api::of(&service);
    store(&service, "sample", of(&["a", "b", "c", "b", "a", "c"])).await;
    assert_eq!(told(&api, 100).await.len(), 6);
    // As a restore of an older copy leaves it.
    database.run("CREATE TABLE less LIKE series").await;
    database.run("INSERT INTO less (series_id, id1, id2, sensor_type, first_seen) SELECT series_id, id1, id2, sensor_type, first_seen FROM series WHERE id2 = 'a'").await;
    database
        .run("RENAME TABLE series TO lost, less TO series")
        .await;
    for limit in [100, 2, 1, 3] {
        assert_eq!(told(&api, limit).await, ["a/t", "a/t"], "{limit}");
    }
    service.close_after_deletes().await;
}

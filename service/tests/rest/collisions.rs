//! On `hashed`, two ids with the same CRC32 share a place in the index and are still two.

use serde_json::json;
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorReading;

use crate::{
    api::Api,
    common::{database::Database, on_each_engine, readings::assert_same},
    sample::{Chosen, filled, read, readings},
};

on_each_engine! {
    ids_that_collide_stay_apart_in_queries_and_figures,
    ids_that_collide_stay_apart_in_changes,
}

/// Known words with one CRC32.
const COLLIDING: [(i32, &str); 2] = [(5, "plumless"), (5, "buckeroo")];

fn of(pair: (i32, &'static str)) -> Chosen {
    Chosen {
        pairs: vec![pair],
        ..Chosen::default()
    }
}

/// Those of the one with even values, of the other with odd ones, at the same instants.
fn colliding() -> Vec<SensorReading> {
    let reading = |n: u32| {
        let (id1, id2) = COLLIDING[n as usize % 2];
        SensorReading {
            id1,
            id2: id2.to_owned(),
            sensor_value: Some(f64::from(n)),
            ..readings()[n as usize / 2].clone()
        }
    };
    (0..200).map(reading).collect()
}

async fn collided(database: &Database) -> (Database, crate::common::service::Service) {
    let [one, other] = COLLIDING.map(|(_, id2)| crc32fast::hash(id2.as_bytes()));
    assert_eq!(one, other);
    let (database, service) = filled(database, Layout::Hashed, colliding()).await;
    let hashes = database
        .count("(SELECT DISTINCT id_hash FROM sensor_readings) AS hashes")
        .await;
    assert_eq!(hashes, 1, "the database sees the collision");
    (database, service)
}

async fn ids_that_collide_stay_apart_in_queries_and_figures(database: Database) {
    let (_, service) = collided(&database).await;
    let api = Api::of(&service);
    for pair in COLLIDING {
        let chosen = of(pair);
        let found = api.pages(&chosen.query(), "readings", 7).await;
        let found: Vec<_> = found.iter().map(read).collect();
        assert_eq!(found, chosen.expected(&colliding()));
        let path = format!("/sensor/latest?{}", chosen.selection());
        let latest = api.get(&path).await.json();
        assert_eq!(Some(&read(&latest["latest"][0]["reading"])), found.last());
        let path = format!(
            "/sensor/aggregate?from_time=0&to_time=9999999999999&bucket=30d&{}",
            chosen.selection()
        );
        let buckets = api.pages(&path, "buckets", 100).await;
        let counts = buckets
            .iter()
            .map(|it| it["count"].as_u64().expect("a count"));
        assert_eq!(counts.sum::<u64>(), 100);
        assert!(buckets.iter().all(|it| it["id2"] == pair.1), "{buckets:?}");
    }
    let both = Chosen {
        pairs: COLLIDING.to_vec(),
        ..Chosen::default()
    };
    let found = api.pages(&both.query(), "readings", 30).await;
    let found: Vec<_> = found.iter().map(read).collect();
    assert_eq!(found, both.expected(&colliding()));
    service.close().await;
}

async fn ids_that_collide_stay_apart_in_changes(database: Database) {
    let (database, service) = collided(&database).await;
    let api = Api::of(&service);
    let [one, other] = COLLIDING.map(of);
    let path = format!("/sensor/update/ids?{}", one.selection());
    let answer = api.put(&path, &json!({"sensor_value": -1})).await.json();
    assert_eq!(answer["updated_count"], 100);
    let path = format!("/sensor/delete/ids?{}", other.selection());
    for dry_run in [true, false] {
        let path = format!("{path}&dry_run={dry_run}");
        let answer = api.delete(&path).await.json();
        assert_eq!(answer["deleted_count"], 100);
    }
    let changed = |reading| SensorReading {
        sensor_value: Some(-1.0),
        ..reading
    };
    let expected: Vec<_> = one
        .expected(&colliding())
        .into_iter()
        .map(changed)
        .collect();
    let stored = database.stored().await;
    assert_same(stored.iter().map(|row| &row.reading), &expected);
    service.close_after_deletes().await;
}

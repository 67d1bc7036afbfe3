//! Readings that are half moved into another layout: every question and every change reaches both tables.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use reqwest::Method;
use serde_json::json;
use sluicegate::{
    app::AppError,
    config::Config,
    repository::mysql::{Layout, MoveExtent, MoveOrder, Moved, MySqlStorage},
};
use tokio::sync::Notify;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        readings::{assert_same, exact},
        service::{Service, settings, take_any_time, with_a_source},
    },
    same_answers::transcript,
    sample::{filled, readings, store},
};

on_each_engine! {
    answers_are_the_same_while_readings_are_moved_to_series,
    answers_are_the_same_while_readings_are_moved_back,
    tags_select_readings_that_are_not_yet_moved,
    each_sensor_type_has_its_newest_reading_wherever_it_is,
    counts_and_groups_miss_no_series_that_gets_its_number_meanwhile,
}

const STEP: u32 = 50;

fn order(to: Layout, max_rate: Option<u32>) -> MoveOrder {
    MoveOrder {
        to,
        extent: MoveExtent::All,
        max_rate,
        step_readings: STEP,
    }
}

/// Moves readings, some steps of them, or all.
async fn move_readings(database: &Database, to: Layout, steps: Option<u64>) -> Option<Moved> {
    let config = Config::resolve(settings(database.url()), None).expect("settings");
    let settings = config.database_settings(database.url());
    let (moved, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let told = {
        let (moved, enough) = (moved.clone(), enough.clone());
        move |_| {
            if Some(moved.fetch_add(1, Ordering::SeqCst) + 1) == steps {
                enough.notify_one();
            }
        }
    };
    // It rests behind each step, and is ended there.
    let rate = steps.map(|_| STEP * 2);
    tokio::select! {
        biased;
        () = enough.notified() => None,
        moved = MySqlStorage::move_readings(&settings, order(to, rate), &told) => Some(moved.expect("moved")),
    }
}

/// A service whose readings are half moved, and which started anew for it.
async fn half_moved(database: &Database, from: Layout, to: Layout) -> (Database, Service) {
    let (database, service) = filled(database, from, readings()).await;
    assert!(move_readings(&database, to, Some(4)).await.is_none());
    let ended = service.stopped().await;
    assert!(matches!(ended, Err(AppError::TablesMoved)), "{ended:?}");
    let service = start(&database).await;
    let readiness = service.readiness().await;
    let storage = &readiness["storage"];
    let name = |layout: Layout| json!(layout.to_string());
    assert_eq!(
        (&storage["layout"], &storage["moving_from"]),
        (&name(to), &name(from))
    );
    (database, service)
}

async fn start(database: &Database) -> Service {
    Service::start_with(database, |settings| {
        settings.layout = None;
        settings.instance = Some("here".to_owned());
        take_any_time(settings);
        with_a_source(settings);
    })
    .await
}

async fn count(database: &Database, table: &str) -> u64 {
    database.count(table).await
}

async fn assert_the_same(database: Database, from: Layout, to: Layout) {
    let (plain, unmoved) = filled(&database, Layout::Partitioned, readings()).await;
    let (moving, service) = half_moved(&database, from, to).await;
    let (old, new) = match to {
        Layout::Series => ("sensor_readings_moving", "readings"),
        _ => ("readings_moving", "sensor_readings"),
    };
    let all = readings().len() as u64;
    assert_eq!(count(&moving, new).await, 4 * u64::from(STEP));
    assert_eq!(count(&moving, old).await, all - 4 * u64::from(STEP));
    // What comes in lies between.
    for service in [&unmoved, &service] {
        store(service, "sample", readings()[..100].to_vec()).await;
    }
    let expected = transcript(&Api::of(&unmoved)).await;
    let found = transcript(&Api::of(&service)).await;
    for ((asked, found), (_, expected)) in found.iter().zip(&expected) {
        assert_eq!(rounded(found), rounded(expected), "{asked}: {from} to {to}");
    }
    // The service goes on while the old table goes.
    let moved = move_readings(&moving, to, None).await;
    assert!(matches!(moved, Some(Moved::All(_))), "{moved:?}");
    assert!(!moving.tries(&format!("SELECT 1 FROM {old}")).await);
    let expected = transcript(&Api::of(&unmoved)).await;
    let found = transcript(&Api::of(&service)).await;
    for ((asked, found), (_, expected)) in found.iter().zip(&expected) {
        assert_eq!(
            rounded(found),
            rounded(expected),
            "afterwards, {asked}: {from} to {to}"
        );
    }
    crate::common::until("nobody says that readings are being moved", async || {
        service.readiness().await["storage"]["moving_from"].is_null()
    })
    .await;
    let of = |stored: Vec<crate::common::database::Stored>| -> Vec<_> {
        stored.into_iter().map(|row| row.reading).collect()
    };
    assert_same(&of(moving.stored().await), &of(plain.stored().await));
    assert!(matches!(
        move_readings(&moving, to, None).await,
        Some(Moved::Nothing)
    ));
    service.close_after_deletes().await;
    unmoved.close_after_deletes().await;
}

async fn answers_are_the_same_while_readings_are_moved_to_series(database: Database) {
    for from in [Layout::Seed, Layout::Partitioned, Layout::Hashed] {
        assert_the_same(database.clone(), from, Layout::Series).await;
    }
}

async fn answers_are_the_same_while_readings_are_moved_back(database: Database) {
    assert_the_same(database, Layout::Series, Layout::Partitioned).await;
}

/// With averages to nine digits: that of a group in two tables is put together from two.
fn rounded(answer: &str) -> String {
    let mut parts = answer.split("\"avg\":");
    let mut rounded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (average, rest) = part.split_once(',').expect("more fields");
        let average: f64 = average.parse().expect("a number");
        rounded += &format!("\"avg\":{average:.9},{rest}");
    }
    rounded
}

/// What is shown of readings, in any order.
fn shown(answer: &crate::api::Answer) -> Vec<(i64, i32, String, String, u64)> {
    let body = answer.json();
    let items = body["readings"].as_array().expect("readings");
    let mut shown: Vec<_> = items
        .iter()
        .map(|item| exact(&crate::sample::read(item)))
        .collect();
    shown.sort();
    shown
}

async fn tags_select_readings_that_are_not_yet_moved(database: Database) {
    let (_, service) = half_moved(&database, Layout::Partitioned, Layout::Series).await;
    let api = Api::of(&service);
    let tag = json!({"id1": 0, "id2": "A", "sensor_type": "humidity", "tags": {"site": "north"}});
    let request = api
        .request(Method::PATCH, "/series")
        .header("content-type", "application/x-ndjson")
        .body(tag.to_string());
    assert_eq!(api.send(request).await.status, 200);
    let by_tag = api.get("/sensor/ids?tags=site:north&limit=1000").await;
    let by_name = api
        .get("/sensor/ids?id1=0&id2=A&sensor_type=humidity&limit=1000")
        .await;
    let all = readings();
    let expected = all
        .iter()
        .filter(|it| (it.id1, it.id2.as_str(), it.sensor_type.as_str()) == (0, "A", "humidity"));
    let mut expected: Vec<_> = expected.map(exact).collect();
    expected.sort();
    assert!(expected.len() > 10);
    assert_eq!(shown(&by_name), expected);
    assert_eq!(shown(&by_tag), expected);
    let latest = api.get("/sensor/latest?tags=site:north").await.json();
    let newest = expected.last().expect("some").0;
    assert_eq!(latest["latest"][0]["reading"]["timestamp_us"], newest);
    let buckets = api
        .get("/sensor/aggregate?from_time=0&to_time=4000000000000&bucket=30d&tags=site:north")
        .await
        .json();
    assert_eq!(buckets["buckets"][0]["count"], expected.len());
    service.close_after_deletes().await;
}

async fn each_sensor_type_has_its_newest_reading_wherever_it_is(database: Database) {
    let (_, service) = half_moved(&database, Layout::Partitioned, Layout::Series).await;
    let api = Api::of(&service);
    // Newer than all that was moved, and older than all that was not.
    let mut between = readings().remove(0);
    between.sensor_type = "between".to_owned();
    store(&service, "sample", vec![between.clone()]).await;
    let path = format!("/sensor/latest?id1={}&id2={}", between.id1, between.id2);
    let latest = api.get(&path).await.json();
    let latest = latest["latest"].as_array().expect("readings");
    let types: Vec<_> = latest
        .iter()
        .map(|each| each["reading"]["sensor_type"].as_str().expect("a type"))
        .collect();
    assert!(types.contains(&"between"), "{types:?}");
    let newest = latest
        .iter()
        .map(|each| each["reading"]["timestamp_us"].as_i64().expect("a time"));
    let of_pair = readings();
    let of_pair = of_pair
        .iter()
        .filter(|it| (it.id1, &it.id2) == (between.id1, &between.id2));
    let expected = of_pair.map(|it| it.timestamp_us()).max();
    assert_eq!(newest.max(), expected, "{latest:?}");
    service.close_after_deletes().await;
}

async fn counts_and_groups_miss_no_series_that_gets_its_number_meanwhile(database: Database) {
    let all: Vec<_> = (0..300)
        .map(|n| {
            let mut one = readings().remove(0);
            (one.id1, one.id2) = (5, format!("s{n}"));
            one
        })
        .collect();
    let (database, service) = filled(&database, Layout::Partitioned, all).await;
    assert!(
        move_readings(&database, Layout::Series, Some(1))
            .await
            .is_none()
    );
    assert!(service.stopped().await.is_err());
    let service = start(&database).await;
    let api = Api::of(&service);
    let config = Config::resolve(settings(database.url()), None).expect("settings");
    let settings = config.database_settings(database.url());
    let one_by_one = MoveOrder {
        step_readings: 1,
        ..order(Layout::Series, Some(60))
    };
    let told = |_| ();
    let moving = MySqlStorage::move_readings(&settings, one_by_one, &told);
    let ids1 = vec!["5"; 250].join(",");
    let ids2: Vec<_> = (50..300).map(|n| format!("s{n}")).collect();
    let pairs = format!("id1={ids1}&id2={}", ids2.join(","));
    let asking = async {
        let mut asked = 0;
        loop {
            let path = format!(
                "/sensor/aggregate?from_time=0&to_time=4000000000000&bucket=30d&{pairs}&limit=1000"
            );
            let answer = api.get(&path).await.json();
            let buckets = answer["buckets"].as_array().expect("buckets");
            assert_eq!(buckets.len(), 250, "after {asked} answers");
            let dry = format!("/sensor/delete/ids?{pairs}&dry_run=true");
            assert_eq!(
                api.delete(&dry).await.json()["deleted_count"],
                250,
                "after {asked} answers"
            );
            asked += 1;
        }
    };
    tokio::select! {
        moved = moving => assert!(matches!(moved, Ok(Moved::All(_))), "{moved:?}"),
        () = asking => {}
    }
    service.close().await;
}

//! `/sensor/latest` where a cache is set: what it answers is what the table holds, and never older than it may be.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{ColumnBatch, Series};

use crate::{
    api::Api,
    common::{
        cache_server::CacheServer,
        database::Database,
        engines::layout,
        on_each_engine,
        program::Program,
        readings::{BASE_US, columns},
        service::{AckedCall, Client, Service, connect, open},
        until, web,
    },
};

on_each_engine! {
    the_newest_readings_come_from_the_cache_and_follow_what_is_committed,
    what_is_changed_or_removed_is_forgotten,
    a_cache_that_is_away_or_slow_changes_no_answer,
    what_another_instance_commits_is_answered_in_time,
    an_instance_that_is_killed_leaves_nothing_old_behind,
    an_instance_without_the_cache_has_the_database_answer,
    a_cache_that_cannot_be_used_is_refused_or_left_alone,
}

const STALENESS: Duration = Duration::from_millis(1_000);
/// What a request and a busy machine may take beyond it.
const BESIDE: Duration = Duration::from_millis(1_500);

/// Readings of pairs with id1 = 1: id2, type, value, time behind the base.
type Row<'a> = (&'a str, &'a str, f64, i64);

fn batch(rows: &[Row<'_>]) -> ColumnBatch {
    let series = |&(id2, sensor_type, _, _): &Row<'_>| Series {
        id1: 1,
        id2: id2.to_owned(),
        sensor_type: sensor_type.to_owned(),
    };
    ColumnBatch {
        series: rows.iter().map(series).collect(),
        extend_dictionary: false,
        series_index: (0..rows.len() as u32).collect(),
        sensor_value: rows.iter().map(|row| row.2).collect(),
        base_timestamp_us: BASE_US,
        timestamp_delta_us: rows.iter().map(|row| row.3).collect(),
        series_tags: Vec::new(),
    }
}

async fn send(client: &mut Client, stream: &str, rows: &[Row<'_>]) {
    let at = open(client, stream).await;
    let mut call = AckedCall::resume(client, stream, &at).await;
    call.send(columns(batch(rows))).await;
    call.until_acked(at.committed_seq + rows.len() as u64).await;
    call.finish().await;
}

async fn cached(database: &Database, cache: &CacheServer, instance: &str) -> Service {
    cached_on(database, cache, instance, layout()).await
}

async fn cached_on(
    database: &Database,
    cache: &CacheServer,
    instance: &str,
    layout: Option<Layout>,
) -> Service {
    Service::start_with(database, |settings| {
        settings.layout = layout;
        settings.cache.url = Some(cache.url());
        settings.instance = Some(instance.to_owned());
    })
    .await
}

/// What is answered of these pairs, and by whom: id2, type, value and time behind the base.
async fn latest(api: &Api, ids: &str) -> (Vec<(String, String, f64, i64)>, String) {
    let ones = vec!["1"; ids.split(',').count()].join(",");
    let answer = api
        .get(&format!("/sensor/latest?id1={ones}&id2={ids}"))
        .await;
    let row = |one: &Value| {
        let reading = one.get("reading").filter(|it| !it.is_null())?;
        Some((
            reading["id2"].as_str()?.to_owned(),
            reading["sensor_type"].as_str()?.to_owned(),
            reading["sensor_value"].as_f64()?,
            reading["timestamp_us"].as_i64()? - BASE_US,
        ))
    };
    let latest = answer.json()["latest"].as_array().expect("a list").clone();
    let from = answer.header("cache-status").to_owned();
    (latest.iter().filter_map(row).collect(), from)
}

fn row(id2: &str, sensor_type: &str, value: f64, at: i64) -> (String, String, f64, i64) {
    (id2.to_owned(), sensor_type.to_owned(), value, at)
}

const HIT: &str = "sluicegate; hit";
const AWAY: &str = "sluicegate; fwd=bypass; detail=cache-away";

/// Asks until all comes from the cache; then it is that.
async fn hits(api: &Api, ids: &str, expected: &[(String, String, f64, i64)]) {
    until("the cache answers", async || {
        let (found, from) = latest(api, ids).await;
        assert_eq!(found, expected, "from {from}");
        from == HIT
    })
    .await;
}

/// Asks until that is answered, which must not take longer than an answer may be old.
async fn in_time(api: &Api, ids: &str, expected: &[(String, String, f64, i64)]) {
    let began = Instant::now();
    loop {
        // What was answered before was asked before, too.
        let late = began.elapsed() > STALENESS + BESIDE;
        let (found, from) = latest(api, ids).await;
        if found == expected {
            return;
        }
        assert!(!late, "{found:?} from {from}, and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn the_newest_readings_come_from_the_cache_and_follow_what_is_committed(database: Database) {
    let Some(cache) = CacheServer::start().await else {
        return;
    };
    for layout in [Layout::Partitioned, Layout::Hashed, Layout::Series] {
        let database = database.server.schema().await;
        let service = cached_on(&database, &cache, "one", Some(layout)).await;
        the_newest_readings_come_from_the_cache_on(layout, &database, service).await;
    }
}

async fn the_newest_readings_come_from_the_cache_on(
    layout: Layout,
    database: &Database,
    service: Service,
) {
    let (api, mut client) = (Api::of(&service), service.client().await);
    let (_, from) = latest(&api, "a,b,none").await;
    assert_ne!(from, HIT);
    hits(&api, "a,b,none", &[]).await;
    send(
        &mut client,
        "s",
        &[("a", "t", 1.0, 10), ("b", "t", 2.0, 20)],
    )
    .await;
    let both = [row("a", "t", 1.0, 10), row("b", "t", 2.0, 20)];
    in_time(&api, "a,b,none", &both).await;
    hits(&api, "a,b,none", &both).await;
    // A late reading is not the newest; of two at the same time that with the higher id is.
    send(
        &mut client,
        "s",
        &[("a", "t", 3.0, 9), ("b", "t", 4.0, 20), ("b", "t", 5.0, 20)],
    )
    .await;
    let both = [row("a", "t", 1.0, 10), row("b", "t", 5.0, 20)];
    in_time(&api, "a,b", &both).await;
    hits(&api, "a,b", &both).await;
    // A second type of a pair: one each where there are series, the newest of all otherwise.
    send(&mut client, "s", &[("a", "other", -0.0, 30)]).await;
    let a = match layout == Layout::Series {
        true => vec![row("a", "other", -0.0, 30), row("a", "t", 1.0, 10)],
        false => vec![row("a", "other", -0.0, 30)],
    };
    in_time(&api, "a", &a).await;
    hits(&api, "a", &a).await;
    let uncached = api.get("/sensor/latest?id1=1&id2=a&sensor_type=t").await;
    let of_type = uncached.json()["latest"][0]["reading"]["sensor_value"].clone();
    assert_eq!(of_type, json!(1.0));
    // The whole answer is the same, ids included.
    let from_cache = api.get("/sensor/latest?id1=1,1&id2=a,b").await;
    assert_eq!(from_cache.header("cache-status"), HIT);
    let plain = Service::start_with(database, |settings| settings.layout = Some(layout)).await;
    let from_table = Api::of(&plain).get("/sensor/latest?id1=1,1&id2=a,b").await;
    assert_eq!(from_table.header("cache-status"), "");
    assert_eq!(from_cache.json(), from_table.json());
    plain.close().await;
    service.close().await;
}

async fn what_is_changed_or_removed_is_forgotten(database: Database) {
    let Some(cache) = CacheServer::start().await else {
        return;
    };
    for layout in [Layout::Partitioned, Layout::Hashed, Layout::Series] {
        let database = database.server.schema().await;
        let service = cached_on(&database, &cache, "one", Some(layout)).await;
        what_is_changed_or_removed_is_forgotten_on(service).await;
    }
}

async fn what_is_changed_or_removed_is_forgotten_on(service: Service) {
    let (api, mut client) = (Api::of(&service), service.client().await);
    let rows = [
        ("a", "t", 1.0, 10),
        ("a", "t", 2.0, 20),
        ("b", "t", 3.0, 30),
    ];
    send(&mut client, "s", &rows).await;
    let before = [row("a", "t", 2.0, 20), row("b", "t", 3.0, 30)];
    in_time(&api, "a,b", &before).await;
    hits(&api, "a,b", &before).await;
    // Of a change that has been answered the next answer knows.
    let change = json!({ "sensor_value": 7.0 });
    let changed = api.put("/sensor/update/ids?id1=1&id2=a", &change).await;
    assert_eq!(changed.json()["updated_count"], json!(2));
    let after = [row("a", "t", 7.0, 20), row("b", "t", 3.0, 30)];
    let (found, from) = latest(&api, "a,b").await;
    assert_eq!(found, after, "from {from}");
    assert_ne!(from, HIT, "a is forgotten, and b is not");
    hits(&api, "a,b", &after).await;
    let newest = "from_time=2026-01-01T00:00:00.000020Z&to_time=2026-01-01T00:00:00.000021Z";
    let removed = api
        .delete(&format!("/sensor/delete/ids-time?id1=1&id2=a&{newest}"))
        .await;
    assert_eq!(removed.json()["deleted_count"], json!(1));
    let after = [row("a", "t", 7.0, 10), row("b", "t", 3.0, 30)];
    assert_eq!(latest(&api, "a,b").await.0, after);
    hits(&api, "a,b", &after).await;
    // By time, which names no pair.
    let all = "from_time=2026-01-01T00:00:00Z&to_time=2026-01-01T00:00:01Z";
    let removed = api.delete(&format!("/sensor/delete/time?{all}")).await;
    assert_eq!(removed.json()["deleted_count"], json!(2));
    assert_eq!(latest(&api, "a,b").await.0, []);
    hits(&api, "a,b", &[]).await;
    service.close_after_deletes().await;
}

async fn a_cache_that_is_away_or_slow_changes_no_answer(database: Database) {
    let Some(mut cache) = CacheServer::start().await else {
        return;
    };
    let service = cached(&database, &cache, "one").await;
    let (api, mut client) = (Api::of(&service), service.client().await);
    send(&mut client, "s", &[("a", "t", 1.0, 1)]).await;
    hits(&api, "a", &[row("a", "t", 1.0, 1)]).await;
    cache.kill();
    send(&mut client, "s", &[("a", "t", 2.0, 2)]).await;
    assert_eq!(
        latest(&api, "a").await,
        (vec![row("a", "t", 2.0, 2)], AWAY.to_owned())
    );
    let changed = api
        .put(
            "/sensor/update/ids?id1=1&id2=a",
            &json!({ "sensor_value": 3.0 }),
        )
        .await;
    assert_eq!(changed.json()["updated_count"], json!(2));
    assert_eq!(latest(&api, "a").await.0, [row("a", "t", 3.0, 2)]);
    // It is empty, and used again.
    cache.restart().await;
    hits(&api, "a", &[row("a", "t", 3.0, 2)]).await;
    // One that stands still holds nobody up, and what it has when it goes on is not believed.
    cache.pause().await;
    send(&mut client, "s", &[("a", "t", 4.0, 3)]).await;
    let began = Instant::now();
    for _ in 0..20 {
        let (found, from) = latest(&api, "a").await;
        assert_eq!((found, &*from), (vec![row("a", "t", 4.0, 3)], AWAY));
    }
    println!(
        "20 answers beside a cache that stands still: {:?}",
        began.elapsed()
    );
    let removed = api.delete("/sensor/delete/ids?id1=1&id2=a").await;
    assert_eq!(removed.json()["deleted_count"], json!(3));
    cache.resume();
    hits(&api, "a", &[]).await;
    service.close_after_deletes().await;
}

async fn what_another_instance_commits_is_answered_in_time(database: Database) {
    let Some(cache) = CacheServer::start().await else {
        return;
    };
    let one = cached(&database, &cache, "one").await;
    let api = Api::of(&one);
    hits(&api, "a", &[]).await;
    let two = cached(&database, &cache, "two").await;
    let mut client = two.client().await;
    for n in 1..6_i64 {
        send(&mut client, "s", &[("a", "t", n as f64, n)]).await;
        in_time(&api, "a", &[row("a", "t", n as f64, n)]).await;
    }
    hits(&api, "a", &[row("a", "t", 5.0, 5)]).await;
    // Changes of the other one, too.
    let api_of_two = Api::of(&two);
    api_of_two
        .put(
            "/sensor/update/ids?id1=1&id2=a",
            &json!({ "sensor_value": 9.0 }),
        )
        .await;
    in_time(&api, "a", &[row("a", "t", 9.0, 5)]).await;
    // One that has ended in order leaves nothing to be waited for.
    two.close().await;
    hits(&api, "a", &[row("a", "t", 9.0, 5)]).await;
    one.close().await;
}

async fn an_instance_that_is_killed_leaves_nothing_old_behind(database: Database) {
    let Some(cache) = CacheServer::start().await else {
        return;
    };
    let one = cached(&database, &cache, "one").await;
    let api = Api::of(&one);
    hits(&api, "a", &[]).await;
    for n in 1..4_i64 {
        let url = cache.url();
        let arguments = ["--instance", "two", "--cache-url", &url];
        let two = Program::start(&database.url(), &arguments).await;
        hits(
            &api,
            "a",
            &(1..n)
                .last()
                .map(|n| row("a", "t", n as f64, n))
                .into_iter()
                .collect::<Vec<_>>(),
        )
        .await;
        send(
            &mut connect(two.grpc).await,
            "s",
            &[("a", "t", n as f64, n)],
        )
        .await;
        // Often before it has kept a copy.
        two.kill().await;
        in_time(&api, "a", &[row("a", "t", n as f64, n)]).await;
        // Nobody speaks for its lanes any more, and the cache is used nevertheless.
        hits(&api, "a", &[row("a", "t", n as f64, n)]).await;
    }
    one.close().await;
}

async fn an_instance_without_the_cache_has_the_database_answer(database: Database) {
    let Some(cache) = CacheServer::start().await else {
        return;
    };
    let one = cached(&database, &cache, "one").await;
    let two = Service::start_with(&database, |settings| {
        settings.instance = Some("two".to_owned());
    })
    .await;
    let api = Api::of(&one);
    let mut client = two.client().await;
    for n in 1..10_i64 {
        send(&mut client, "s", &[("a", "t", n as f64, n)]).await;
        in_time(&api, "a", &[row("a", "t", n as f64, n)]).await;
    }
    // What it changes is not missed either.
    Api::of(&two)
        .put(
            "/sensor/update/ids?id1=1&id2=a",
            &json!({ "sensor_value": 0.5 }),
        )
        .await;
    in_time(&api, "a", &[row("a", "t", 0.5, 9)]).await;
    hits(&api, "a", &[row("a", "t", 0.5, 9)]).await;
    Api::of(&two).delete("/sensor/delete/ids?id1=1&id2=a").await;
    in_time(&api, "a", &[]).await;
    two.close_after_deletes().await;
    one.close_after_deletes().await;
}

async fn a_cache_that_cannot_be_used_is_refused_or_left_alone(database: Database) {
    let refused = Service::try_start(&database, |settings| {
        settings.cache.url = Some("http://cache.example".to_owned());
    });
    let error = refused.await.err().expect("refused");
    assert!(
        error.starts_with("cache.url is \"http://cache.example\""),
        "{error}"
    );
    // One that is not there at the start keeps nobody waiting.
    let service = Service::start_with(&database, |settings| {
        settings.cache.url = Some("redis://127.0.0.1:1".to_owned());
    })
    .await;
    let api = Api::of(&service);
    send(&mut service.client().await, "s", &[("a", "t", 1.0, 1)]).await;
    let (found, from) = latest(&api, "a").await;
    assert_eq!((found, &*from), (vec![row("a", "t", 1.0, 1)], AWAY));
    let metrics = web::client()
        .get(format!("http://{}/metrics", service.rest))
        .send()
        .await;
    let metrics = metrics.expect("answers").text().await.expect("a text");
    let failures = metrics
        .lines()
        .find_map(|line| line.strip_prefix("sluicegate_cache_failures_total "));
    let failures: u64 = failures.expect("a figure").parse().expect("a number");
    assert!(failures > 0);
    service.close().await;
}

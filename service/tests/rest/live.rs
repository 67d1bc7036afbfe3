//! `/live`: what watchers are told of readings as they are committed.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{ColumnBatch, Series};

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        readings::{BASE_US, columns, header},
        service::{AckedCall, Service},
        tokens::Tokens,
        until,
    },
};

on_each_engine! {
    a_watcher_is_told_what_was_stored_and_then_what_comes,
    a_watcher_that_reads_slowly_gets_fewer_events_and_every_count,
    what_is_not_stored_is_not_told,
    tags_and_types_choose_what_is_told,
    a_watcher_is_told_why_its_events_end,
    what_cannot_be_watched_is_refused_with_its_reason,
    who_goes_leaves_nothing_behind,
    who_watches_leaves_connections_to_others,
}

/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The events of a request, as they come.
struct Events {
    response: reqwest::Response,
    come: String,
}

impl Events {
    async fn of(api: &Api, query: &str) -> Self {
        Self::sent(api.request(Method::GET, &format!("/live?{query}"))).await
    }

    async fn sent(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{response:?}");
        let headers = response.headers();
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-store");
        Self {
            response,
            come: String::new(),
        }
    }

    /// The next event, by its name; None at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.come.split_once("\n\n") {
                let event = event.to_owned();
                self.come = rest.to_owned();
                let Some((name, data)) = event.split_once('\n') else {
                    assert_eq!(event, ":", "a sign of life");
                    continue;
                };
                let name = name.strip_prefix("event: ").expect("a name");
                let data = data.strip_prefix("data: ").expect("data");
                return Some((name.to_owned(), serde_json::from_str(data).expect("JSON")));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("something within the patience") {
                Ok(Some(chunk)) => self.come += std::str::from_utf8(&chunk).expect("UTF-8"),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The readings of the next event: id2, type, value, time behind the base, count; sorted.
    async fn readings(&mut self) -> Vec<(String, String, f64, i64, u64)> {
        let (name, data) = self.next().await.expect("an event");
        assert_eq!(name, "readings");
        let readings = data["readings"].as_array().expect("readings").iter();
        let row = |one: &Value| {
            let text = |field: &str| one[field].as_str().expect("a text").to_owned();
            let number = |field: &str| one[field].as_i64().expect("a number");
            let value = one["sensor_value"].as_f64().expect("a value");
            (
                text("id2"),
                text("sensor_type"),
                value,
                number("timestamp_us") - BASE_US,
                number("count") as u64,
            )
        };
        let mut readings: Vec<_> = readings.map(row).collect();
        readings.sort_by(|one, two| one.partial_cmp(two).expect("numbers"));
        readings
    }
}

pub(crate) fn row(
    id2: &str,
    sensor_type: &str,
    value: f64,
    at: i64,
    count: u64,
) -> (String, String, f64, i64, u64) {
    (id2.to_owned(), sensor_type.to_owned(), value, at, count)
}

/// Readings of pairs with this id2 and id1 = 1: type, value, time behind the base.
fn batch(readings: &[(&str, &str, f64, i64)]) -> ColumnBatch {
    let series = |&(id2, sensor_type, _, _): &(&str, &str, f64, i64)| Series {
        id1: 1,
        id2: id2.to_owned(),
        sensor_type: sensor_type.to_owned(),
    };
    ColumnBatch {
        series: readings.iter().map(series).collect(),
        extend_dictionary: false,
        series_index: (0..readings.len() as u32).collect(),
        sensor_value: readings.iter().map(|one| one.2).collect(),
        base_timestamp_us: BASE_US,
        timestamp_delta_us: readings.iter().map(|one| one.3).collect(),
        series_tags: Vec::new(),
    }
}

pub(crate) async fn send(service: &Service, readings: &[(&str, &str, f64, i64)]) {
    let at = service.open("live").await;
    let mut call = AckedCall::resume(&mut service.client().await, "live", &at).await;
    call.send(columns(batch(readings))).await;
    call.until_acked(at.committed_seq + readings.len() as u64)
        .await;
    call.finish().await;
}

async fn a_watcher_is_told_what_was_stored_and_then_what_comes(database: Database) {
    let service = Service::start(&database).await;
    let api = Api::of(&service);
    send(
        &service,
        &[("a", "t", 1.0, 10), ("a", "t", 2.0, 20), ("b", "t", 3.0, 5)],
    )
    .await;
    let mut both = Events::of(&api, "id1=1,1&id2=a,b&interval_ms=20").await;
    let mut one = Events::of(&api, "id1=1&id2=b&interval_ms=20").await;
    let mut none = Events::of(&api, "id1=1&id2=none&limit=2&interval_ms=20").await;
    assert_eq!(
        both.readings().await,
        [row("a", "t", 2.0, 20, 0), row("b", "t", 3.0, 5, 0)]
    );
    assert_eq!(one.readings().await, [row("b", "t", 3.0, 5, 0)]);
    assert_eq!(none.readings().await, []);
    send(&service, &[("a", "t", 4.0, 30)]).await;
    assert_eq!(both.readings().await, [row("a", "t", 4.0, 30, 1)]);
    // A reading that comes late is told as any other.
    send(&service, &[("b", "t", 5.0, 1), ("c", "t", 6.0, 2)]).await;
    assert_eq!(both.readings().await, [row("b", "t", 5.0, 1, 1)]);
    assert_eq!(one.readings().await, [row("b", "t", 5.0, 1, 1)]);
    // It was told nothing meanwhile, and ends after its second event.
    send(&service, &[("none", "t", 7.0, 3)]).await;
    assert_eq!(none.readings().await, [row("none", "t", 7.0, 3, 1)]);
    assert_eq!(none.next().await, None);
    service.close().await;
}

async fn a_watcher_that_reads_slowly_gets_fewer_events_and_every_count(database: Database) {
    let service = Service::start(&database).await;
    let api = Api::of(&service);
    let mut slow = Events::of(&api, "id1=1&id2=a&interval_ms=1000").await;
    assert_eq!(slow.readings().await, []);
    let batches = 40_i64;
    for n in 0..batches {
        let readings: Vec<_> = (0..25).map(|m| ("a", "t", n as f64, n * 25 + m)).collect();
        send(&service, &readings).await;
    }
    let (mut events, mut count, mut last) = (0, 0, -1);
    while count < batches as u64 * 25 {
        let told = slow.readings().await;
        let [(_, _, value, at, readings)] = told.as_slice() else {
            panic!("one series: {told:?}");
        };
        assert!(
            *at > last && *value == (at / 25) as f64,
            "{told:?} behind {last}"
        );
        (events, count, last) = (events + 1, count + readings, *at);
    }
    assert_eq!((count, last), (batches as u64 * 25, batches * 25 - 1));
    assert!(events < batches, "{events} events for {batches} batches");
    service.close().await;
}

async fn what_is_not_stored_is_not_told(database: Database) {
    let service = Service::start(&database).await;
    let api = Api::of(&service);
    let mut events = Events::of(&api, "id1=1&id2=a&interval_ms=20").await;
    assert_eq!(events.readings().await, []);
    // One that the service rejects between two that are good.
    send(
        &service,
        &[
            ("a", "t", 1.0, 1),
            ("a", "t", f64::NAN, 2),
            ("a", "t", 3.0, 0),
        ],
    )
    .await;
    assert_eq!(events.readings().await, [row("a", "t", 1.0, 1, 2)]);
    // Those of before once more, and one behind them.
    let at = service.open("live").await;
    let first = header("live", at.epoch, 1);
    let mut call = AckedCall::begin(&mut service.client().await, first).await;
    let again = batch(&[
        ("a", "t", 1.0, 1),
        ("a", "t", 2.0, 2),
        ("a", "t", 3.0, 0),
        ("a", "t", 4.0, 4),
    ]);
    call.send(columns(again)).await;
    call.until_acked(4).await;
    call.finish().await;
    assert_eq!(events.readings().await, [row("a", "t", 4.0, 4, 1)]);
    service.close().await;
}

async fn tags_and_types_choose_what_is_told(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Series);
    })
    .await;
    let api = Api::of(&service);
    send(
        &service,
        &[("a", "t", 1.0, 1), ("a", "p", 2.0, 1), ("b", "t", 3.0, 1)],
    )
    .await;
    for (id2, sensor_type) in [("a", "p"), ("b", "t")] {
        let page = api
            .get(&format!("/series?id2={id2}&sensor_type={sensor_type}"))
            .await;
        let number = page.json()["series"][0]["series_id"]
            .as_u64()
            .expect("a number");
        let put = api.request(Method::PUT, &format!("/series/{number}/tags"));
        assert_eq!(
            api.send(put.json(&json!({"site": "north"}))).await.status,
            200
        );
    }
    let mut tagged = Events::of(&api, "tags=site:north&interval_ms=20").await;
    let mut of_a = Events::of(&api, "tags=site:north&id1=1&id2=a&interval_ms=20").await;
    let mut typed = Events::of(&api, "id1=1,1&id2=a,b&sensor_type=t&interval_ms=20").await;
    assert_eq!(
        tagged.readings().await,
        [row("a", "p", 2.0, 1, 0), row("b", "t", 3.0, 1, 0)]
    );
    assert_eq!(of_a.readings().await, [row("a", "p", 2.0, 1, 0)]);
    assert_eq!(
        typed.readings().await,
        [row("a", "t", 1.0, 1, 0), row("b", "t", 3.0, 1, 0)]
    );
    send(
        &service,
        &[("a", "t", 4.0, 2), ("a", "p", 5.0, 2), ("b", "p", 6.0, 2)],
    )
    .await;
    assert_eq!(tagged.readings().await, [row("a", "p", 5.0, 2, 1)]);
    assert_eq!(of_a.readings().await, [row("a", "p", 5.0, 2, 1)]);
    assert_eq!(typed.readings().await, [row("a", "t", 4.0, 2, 1)]);
    service.close().await;
}

async fn a_watcher_is_told_why_its_events_end(database: Database) {
    let tokens = Tokens::new();
    let (stays, goes) = (tokens.make("stays", "read"), tokens.make("goes", "read"));
    let service = Service::start_with(&database, |settings| tokens.asked_for(settings)).await;
    let api = Api::of(&service);
    let watch = |token: &str| {
        let request = api.request(Method::GET, "/live?id1=1&id2=a");
        Events::sent(request.bearer_auth(token))
    };
    let (mut one, mut other) = (watch(&stays).await, watch(&goes).await);
    assert_eq!(
        (one.readings().await, other.readings().await),
        (vec![], vec![])
    );
    tokens.revoke(&goes);
    let (name, data) = other.next().await.expect("an event");
    assert_eq!(
        (name.as_str(), &data["reason"]),
        ("end", &json!("the token is no longer valid"))
    );
    assert_eq!(other.next().await, None);
    // Nobody who watches keeps the service from its end.
    let closing = tokio::time::timeout(Duration::from_secs(30), service.close());
    let (ended, closed) = tokio::join!(one.next(), closing);
    let (name, data) = ended.expect("an event");
    assert_eq!(
        (name.as_str(), &data["reason"]),
        ("end", &json!("the service is shutting down"))
    );
    closed.expect("closed");
}

async fn what_cannot_be_watched_is_refused_with_its_reason(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Partitioned);
        settings.rest.live_bytes = Some(1 << 20);
    })
    .await;
    let api = Api::of(&service);
    for (query, status, kind, parameter) in [
        ("", 400, "missing-parameter", Some("id1")),
        (
            "id1=1&id2=a&interval_ms=19",
            400,
            "invalid-parameter",
            Some("interval_ms"),
        ),
        (
            "id1=1&id2=a&interval_ms=x",
            400,
            "invalid-parameter",
            Some("interval_ms"),
        ),
        (
            "id1=1&id2=a&limit=0",
            400,
            "invalid-parameter",
            Some("limit"),
        ),
        (
            "id1=1&id2=a&every=5s",
            400,
            "unknown-parameter",
            Some("every"),
        ),
        ("tags=site:north", 404, "not-found", None),
    ] {
        let answer = api.get(&format!("/live?{query}")).await;
        answer.problem(status, kind, parameter);
    }
    // 20 KiB each.
    let mut watchers = Vec::new();
    for _ in 0..51 {
        watchers.push(Events::of(&api, "id1=1&id2=a").await);
    }
    let crowded = api
        .send_any(api.request(Method::GET, "/live?id1=1&id2=a"))
        .await;
    let problem = crowded.problem(503, "busy", None);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("rest.live_bytes"), "{detail}");
    drop(watchers);
    service.close().await;
}

async fn who_watches_leaves_connections_to_others(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.rest.max_connections = Some(6);
    })
    .await;
    let api = Api::of(&service);
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(Events::of(&api, "id1=1&id2=a").await);
    }
    let one_more = api.send_any(api.request(Method::GET, "/live?id1=1&id2=a"));
    let problem = one_more.await.problem(503, "busy", None);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("rest.max_connections"), "{detail}");
    assert_eq!(api.get("/healthz").await.status, 200);
    watchers.pop();
    until("a place is free", async || {
        let again = api.request(Method::GET, "/live?id1=1&id2=a&limit=1");
        api.send_any(again).await.status == 200
    })
    .await;
    drop(watchers);
    service.close().await;
}

async fn who_goes_leaves_nothing_behind(database: Database) {
    let service = Service::start(&database).await;
    let api = Api::of(&service);
    let watchers = async || {
        let page = api.get("/metrics").await;
        let mut lines = page.text().lines();
        let value = lines.find_map(|line| line.strip_prefix("sluicegate_live_watchers "));
        value.map(|value| value.parse::<u64>().expect("a number"))
    };
    let mut first = Events::of(&api, "id1=1&id2=a").await;
    let second = Events::of(&api, "id1=1&id2=a").await;
    first.readings().await;
    assert_eq!(watchers().await, Some(2));
    drop(second);
    until("one is left", async || watchers().await == Some(1)).await;
    drop(first);
    until("nobody is left", async || watchers().await == Some(0)).await;
    service.close().await;
}

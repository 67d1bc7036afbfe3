//! Services that fetch numbers from brokers, and what became of them.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use serde_json::Value;
use sluicegate::config::{Settings, SourceSettings};

use crate::common::{
    database::Database,
    http,
    service::{Service, take_any_time},
    until,
};

/// A source whose values are the numbers of messages such as `{"n":1}`.
pub(crate) fn source_of(broker: &str) -> SourceSettings {
    let text = format!(
        "{{name: plant, \
          mapping: {{format: json, value: {{pointer: /n}}, sensor_type: {{constant: count}}, id1: {{constant: 4}}, \
                     id2: {{constant: LINE}}}}, \
          {broker}}}"
    );
    serde_norway::from_str(&text).expect("a source")
}

/// The message of a number.
pub(crate) fn message(n: u64) -> Vec<u8> {
    format!(r#"{{"n":{n}}}"#).into_bytes()
}

pub(crate) async fn service(database: &Database, source: SourceSettings) -> Service {
    service_with(database, source, |_| {}).await
}

pub(crate) async fn service_with(
    database: &Database,
    source: SourceSettings,
    adjust: impl FnOnce(&mut Settings),
) -> Service {
    let adjust = |settings: &mut Settings| {
        take_any_time(settings);
        settings.sources = Some(vec![source]);
        adjust(settings);
    };
    Service::start_with(database, adjust).await
}

/// What `/sources` says of the first one.
pub(crate) async fn standing(service: &Service) -> Value {
    let (status, sources) = http::get(service.rest, "/sources").await.expect("answers");
    assert_eq!(status, 200);
    sources["sources"][0].clone()
}

pub(crate) async fn until_state(service: &Service, state: &str) -> Value {
    until(&format!("the source is {state}"), || async {
        standing(service).await["state"] == state
    })
    .await;
    standing(service).await
}

/// Each number is the value of one reading, and no other is.
pub(crate) async fn until_stored_once(database: &Database, numbers: u64) {
    until(&format!("{numbers} are stored"), || async {
        database.count("sensor_readings").await >= numbers
    })
    .await;
    assert_eq!(stored(database).await, (numbers, numbers));
}

/// As `until_stored_once`, and says what the source was about when they are not.
pub(crate) async fn until_fetched_once(service: &Service, database: &Database, numbers: u64) {
    let limit = Duration::from_secs(25); // shorter than that of `until`
    let storing = until_stored_once(database, numbers);
    if tokio::time::timeout(limit, storing).await.is_err() {
        let (_, metrics) = http::text(service.rest, "/metrics").await.expect("answers");
        let is_of_sources = |line: &&str| line.starts_with("sluicegate_source_");
        let figures: Vec<_> = metrics.lines().filter(is_of_sources).collect();
        panic!(
            "stored {:?} of {numbers}, {}, {}, {figures:#?}",
            stored(database).await,
            standing(service).await,
            service.readiness().await
        );
    }
}

/// Services that are told to stop while they read: what they took is theirs, and `source` brings the rest to the last one.
pub(crate) async fn assert_stored_once_over_stops(
    database: &Database,
    numbers: u64,
    source: impl Fn() -> SourceSettings,
) {
    for stop in 0..3 {
        let before = database.count("sensor_readings").await;
        let stopped = service(database, source()).await;
        until(&format!("it is in mid-work for stop {stop}"), || async {
            database.count("sensor_readings").await > before
        })
        .await;
        stopped.shutdown.draining.cancel();
        stopped.stopped().await.expect("ends well");
    }
    let in_mid_work = database.count("sensor_readings").await;
    assert!(
        in_mid_work < numbers,
        "too few: none was left to the last one"
    );
    let last = service(database, source()).await;
    until_stored_once(database, numbers).await;
    last.close().await;
}

/// Each number is the value of a reading, or of more than one.
pub(crate) async fn until_all_stored(database: &Database, numbers: u64) {
    until(&format!("{numbers} are stored"), || async {
        stored(database).await.1 >= numbers
    })
    .await;
    assert_eq!(stored(database).await.1, numbers);
}

/// How many readings there are, and of how many numbers.
pub(crate) async fn stored(database: &Database) -> (u64, u64) {
    let sql = "SELECT COUNT(*), COUNT(DISTINCT sensor_value) FROM sensor_readings";
    let mut conn = database.connect().await;
    let counts: Option<(u64, u64)> = conn.query_first(sql).await.expect("counts");
    counts.expect("a row")
}

//! Exports: all of a selection, as lines.

use std::io::Read as _;

use futures::StreamExt as _;
use reqwest::{Method, Version};
use serde_json::Value;
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorReading;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        readings::{self as numbered, BASE_US, exact},
        service::Service,
    },
    sample::{Chosen, LAYOUTS, PAIRS, SPAN_S, filled, read, readings, service},
};

on_each_engine! {
    an_export_brings_the_whole_selection_in_order,
    an_export_goes_on_from_a_cursor_and_up_to_a_limit,
    csv_quotes_what_has_to_be_quoted,
    a_large_export_is_complete_compressed_or_not,
    the_format_is_by_parameter_or_by_accept,
    a_slow_reader_holds_nothing_up,
    over_http_1_0_an_export_is_refused_and_a_page_is_not,
}

fn lines(text: &str) -> Vec<SensorReading> {
    let line = |line| read(&serde_json::from_str::<Value>(line).expect("JSON"));
    text.lines().map(line).collect()
}

fn records(text: &str) -> Vec<SensorReading> {
    let mut records = csv::Reader::from_reader(text.as_bytes());
    let header = [
        "id",
        "id1",
        "id2",
        "sensor_type",
        "sensor_value",
        "timestamp",
        "timestamp_us",
    ];
    assert_eq!(
        records.headers().expect("a header"),
        &csv::StringRecord::from(header.to_vec())
    );
    let record = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.expect("CSV");
        let reading = SensorReading {
            id1: record[1].parse().expect("a number"),
            id2: record[2].to_owned(),
            sensor_type: record[3].to_owned(),
            sensor_value: Some(record[4].parse().expect("a number")),
            timestamp_us: Some(record[6].parse().expect("a number")),
        };
        let at = chrono::DateTime::parse_from_rfc3339(&record[5]).expect("RFC 3339");
        assert_eq!(at.timestamp_micros(), reading.timestamp_us());
        reading
    };
    records.records().map(record).collect()
}

fn all_exact(readings: &[SensorReading]) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    readings.iter().map(exact).collect()
}

async fn an_export_brings_the_whole_selection_in_order(database: Database) {
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        for descending in [false, true] {
            for (seconds, pairs) in [
                (Some((0, SPAN_S)), vec![]),
                (None, PAIRS.to_vec()),
                (Some((40, 222)), vec![PAIRS[4], (3, "nobody"), PAIRS[0]]),
                (Some((2 * SPAN_S, 3 * SPAN_S)), vec![]),
            ] {
                let chosen = Chosen {
                    seconds,
                    pairs,
                    descending,
                    ..Chosen::default()
                };
                let expected = all_exact(&chosen.expected(&readings()));
                let answer = api.get(&format!("{}&format=ndjson", chosen.query())).await;
                assert_eq!(answer.header("content-type"), "application/x-ndjson");
                assert_eq!(all_exact(&lines(answer.text())), expected);
                let answer = api.get(&format!("{}&format=csv", chosen.query())).await;
                assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
                assert_eq!(all_exact(&records(answer.text())), expected);
            }
        }
        service.close().await;
    }
}

async fn an_export_goes_on_from_a_cursor_and_up_to_a_limit(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let chosen = Chosen {
        pairs: PAIRS.to_vec(),
        ..Chosen::default()
    };
    let expected = chosen.expected(&readings());
    let page = api
        .get(&format!("{}&limit=100", chosen.query()))
        .await
        .json();
    let cursor = page["next_cursor"].as_str().expect("there is more");
    let rest = format!("{}&format=ndjson&cursor={cursor}", chosen.query());
    let answer = api.get(&rest).await;
    assert_eq!(
        all_exact(&lines(answer.text())),
        all_exact(&expected[100..])
    );
    let answer = api.get(&format!("{rest}&limit=50")).await;
    assert_eq!(
        all_exact(&lines(answer.text())),
        all_exact(&expected[100..150])
    );
    // More than a page of JSON may have.
    let answer = api
        .get(&format!("{}&format=csv&limit=10000000000", chosen.query()))
        .await;
    assert_eq!(records(answer.text()).len(), 420);
    service.close().await;
}

async fn csv_quotes_what_has_to_be_quoted(database: Database) {
    let ids = ["A, b", "say \"no\"", "größe 🚿", "'", "=1+1", "a;b"];
    let named = |id2: &&str| SensorReading {
        id2: (*id2).to_owned(),
        sensor_type: (*id2).to_owned(),
        ..readings()[0].clone()
    };
    let sent: Vec<_> = ids.iter().map(named).collect();
    let (_, service) = filled(&database, Layout::Partitioned, sent.clone()).await;
    let api = Api::of(&service);
    let path = "/sensor/time?from_time=0&to_time=9999999999999&format=";
    let answer = api.get(&format!("{path}csv")).await;
    assert_eq!(all_exact(&records(answer.text())), all_exact(&sent));
    let answer = api.get(&format!("{path}ndjson")).await;
    assert_eq!(all_exact(&lines(answer.text())), all_exact(&sent));
    service.close().await;
}

/// Twelve pages of an export and a bit.
const MANY: u64 = 60_001;

fn all_numbered() -> String {
    format!(
        "from_time={}&to_time={}",
        BASE_US / 1_000,
        BASE_US / 1_000 + 60_000
    )
}

async fn many(database: &Database) -> (Database, Service) {
    let (database, service) = service(database, Layout::Partitioned).await;
    let mut client = service.client().await;
    let batch = numbered::columns(numbered::column_batch(0..MANY));
    let sent = client.stream_readings(tokio_stream::iter([batch])).await;
    assert_eq!(sent.expect("stored").into_inner().committed, MANY);
    (database, service)
}

async fn a_large_export_is_complete_compressed_or_not(database: Database) {
    let (_, service) = many(&database).await;
    let api = Api::of(&service);
    let expected = numbered::readings(0..MANY);
    let path = format!("/sensor/time?{}&format=ndjson", all_numbered());
    let plain = api.get(&path).await;
    assert!(!plain.headers.contains_key("content-encoding"));
    assert!(lines(plain.text()) == expected, "plain");
    let request = api
        .request(Method::GET, &path)
        .header("accept-encoding", "gzip");
    let packed = api.send(request).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() * 3 < plain.body.len(), "it is smaller");
    let mut text = String::new();
    let mut unpacking = flate2::read::GzDecoder::new(packed.body.as_slice());
    unpacking.read_to_string(&mut text).expect("gzip");
    assert!(lines(&text) == expected, "compressed");
    service.close().await;
}

async fn the_format_is_by_parameter_or_by_accept(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let path = "/sensor/ids?id1=0&id2=A";
    for (parameter, accept, expected) in [
        ("", "application/x-ndjson", "application/x-ndjson"),
        ("", "text/csv", "text/csv; charset=utf-8"),
        ("", "*/*", "application/json"),
        ("&format=json", "text/csv", "application/json"),
        ("&format=csv", "application/json", "text/csv; charset=utf-8"),
    ] {
        let request = api.request(Method::GET, &format!("{path}{parameter}"));
        let answer = api.send(request.header("accept", accept)).await;
        assert_eq!(
            answer.header("content-type"),
            expected,
            "{parameter} {accept}"
        );
    }
    let request = api.request(Method::GET, path).header("accept", "image/png");
    api.send(request).await.problem(406, "not-acceptable", None);
    let refused = api.get(&format!("{path}&format=xml")).await;
    refused.problem(400, "invalid-parameter", Some("format"));
    service.close().await;
}

/// A client that reads the first piece and then nothing keeps no transaction open and no row locked.
async fn a_slow_reader_holds_nothing_up(database: Database) {
    use mysql_async::prelude::Queryable as _;
    let (database, service) = many(&database).await;
    let api = Api::of(&service);
    let path = format!("/sensor/time?{}&format=ndjson", all_numbered());
    let response = api
        .request(Method::GET, &path)
        .send()
        .await
        .expect("answers");
    let mut pieces = response.bytes_stream();
    let first = pieces.next().await.expect("a piece").expect("no error");
    assert!(first.starts_with(b"{"));

    // No statement and no transaction has the table: what needs it for itself gets it.
    let mut conn = database.connect().await;
    conn.query_drop("SET lock_wait_timeout = 5")
        .await
        .expect("sets");
    conn.query_drop("LOCK TABLES sensor_readings WRITE")
        .await
        .expect("nobody holds the table");
    conn.query_drop("UNLOCK TABLES").await.expect("lets go");
    let mut client = service.client().await;
    let batch = numbered::columns(numbered::column_batch(70_000..71_000));
    let sent = client.stream_readings(tokio_stream::iter([batch])).await;
    assert_eq!(sent.expect("stored").into_inner().committed, 1_000);

    // The export goes on where it was.
    let mut body = first.to_vec();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.expect("no error"));
    }
    let text = String::from_utf8(body).expect("UTF-8");
    let found = lines(&text);
    assert!(
        found[..MANY as usize] == numbered::readings(0..MANY),
        "each once, in order"
    );
    service.close().await;
}

async fn over_http_1_0_an_export_is_refused_and_a_page_is_not(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let asked = |path: &str| api.request(Method::GET, path).version(Version::HTTP_10);
    let range = "from_time=0&to_time=9999999999999";
    for path in [
        format!("/sensor/time?{range}"),
        "/sensor/ids?id1=0&id2=A".to_owned(),
        format!("/sensor/ids-time?id1=0&id2=A&{range}"),
    ] {
        for format in ["ndjson", "csv"] {
            let refused = api
                .send_any(asked(&format!("{path}&format={format}")))
                .await;
            let problem = refused.problem(505, "http-too-old", None);
            let detail = problem["detail"].as_str().expect("a detail");
            assert!(detail.contains("HTTP/1.1"), "{detail}");
            assert!(detail.contains("proxy_http_version 1.1"), "{detail}");
        }
        let refused = api
            .send_any(asked(&path).header("accept", "text/csv"))
            .await;
        refused.problem(505, "http-too-old", None);
        // It says its length.
        let page = api.send(asked(&path)).await;
        assert!(page.json()["count"].as_u64().is_some_and(|count| count > 0));
        assert_eq!(page.header("content-length"), page.body.len().to_string());
    }
    service.close().await;
}

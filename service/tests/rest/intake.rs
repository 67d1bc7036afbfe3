//! Readings that come in over `POST /readings`.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sluicegate_decode::MappingSettings;

use crate::{
    api::{Answer, Api},
    common::{
        database::Database,
        on_each_engine,
        service::{Service, take_any_time},
        tokens::Tokens,
        until,
    },
};

on_each_engine! {
    readings_are_the_same_in_every_format,
    an_export_can_be_sent_again,
    a_bad_line_is_told_by_its_number_and_hurts_no_other,
    a_stream_takes_each_reading_once_however_often_it_is_sent,
    a_writer_that_was_fenced_or_leaves_a_gap_is_told,
    a_mapping_is_chosen_by_its_name_or_by_the_format,
    a_name_that_is_too_long_is_cut_and_kept,
    a_token_brings_what_it_may,
    a_large_body_streams_through,
}

const JSON: &str = r#"[
{"sensor_value": 81.5, "sensor_type": "temperature", "id1": 4, "id2": "BOILER", "timestamp": "2026-01-31T12:00:00.25Z"},
{"sensor_value": -3, "sensor_type": "pressure", "id1": 4, "id2": "BOILER", "timestamp": "2026-01-31T13:00:00+01:00"}
]"#;
const NDJSON: &str = r#"{"sensor_value":81.5,"sensor_type":"temperature","id1":4,"id2":"BOILER","timestamp":"2026-01-31T12:00:00.25Z"}
{"sensor_value":-3,"sensor_type":"pressure","id1":4,"id2":"BOILER","timestamp":"2026-01-31T12:00:00Z"}"#;
const CSV: &str = "timestamp_us,id1,id2,sensor_type,sensor_value
1769860800250000,4,BOILER,temperature,81.5
1769860800000000,4,BOILER,pressure,-3
";
pub(crate) const LINE_PROTOCOL: &str = "application/vnd.influxdata.line-protocol";

pub(crate) async fn service(database: &Database) -> Service {
    Service::start_for_any_time(database).await
}

pub(crate) fn post(
    api: &Api,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> RequestBuilder {
    let request = api.request(Method::POST, path);
    request.header("content-type", content_type).body(body)
}

pub(crate) async fn send(api: &Api, content_type: &str, body: &str) -> Answer {
    api.send(post(api, "/readings", content_type, body.to_owned()))
        .await
}

/// The body of any answer.
pub(crate) fn told(answer: &Answer) -> Value {
    json_of(&answer.body)
}

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text).expect("packs");
    packed.finish().expect("packs")
}

async fn readings_are_the_same_in_every_format(database: Database) {
    let service = service(&database).await;
    let api = Api::of(&service);
    let first = NDJSON.lines().next().expect("a line");
    for (content_type, body, readings) in [
        ("application/json", JSON, 2),
        ("application/json", first, 1),
        ("application/json", NDJSON, 2),
        ("application/x-ndjson", NDJSON, 2),
        ("text/csv; header=present", CSV, 2),
    ] {
        database.run("DELETE FROM sensor_readings").await;
        let answer = send(&api, content_type, body).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let stored = database.stored().await;
        assert_eq!(stored.len(), readings, "{content_type}");
        let temperature = &stored.last().expect("a reading").reading;
        assert_eq!(temperature.sensor_value, Some(81.5));
        assert_eq!(temperature.sensor_type, "temperature");
        assert_eq!((temperature.id1, &*temperature.id2), (4, "BOILER"));
        assert_eq!(temperature.timestamp_us, Some(1_769_860_800_250_000));
    }
    database.run("DELETE FROM sensor_readings").await;
    let request = post(
        &api,
        "/readings?format=csv",
        "text/plain",
        gzip(CSV.as_bytes()),
    );
    let answer = api.send(request.header("content-encoding", "gzip")).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(database.count("sensor_readings").await, 2);
    database.run("DELETE FROM sensor_readings").await;
    let lines = "boiler,id1=4,id2=BOILER temperature=81.5,pressure=-3 1769860800250";
    let request = post(&api, "/readings?precision=ms", LINE_PROTOCOL, lines);
    assert_eq!(api.send(request).await.status, 204);
    assert_eq!(
        database.stored().await[1].reading.sensor_type,
        "boiler.pressure"
    );
    // What was deleted is missing in the books on purpose.
    service.close_after_deletes().await;
}

async fn an_export_can_be_sent_again(database: Database) {
    let service = service(&database).await;
    let api = Api::of(&service);
    assert_eq!(send(&api, "application/json", JSON).await.status, 204);
    for (format, content_type) in [("csv", "text/csv"), ("ndjson", "application/x-ndjson")] {
        let all = "from_time=2026-01-01T00:00:00Z&to_time=2027-01-01T00:00:00Z";
        let export = api
            .get(&format!("/sensor/time?{all}&format={format}"))
            .await;
        let before = database.count("sensor_readings").await;
        let exported = String::from_utf8(export.body).expect("text");
        assert_eq!(send(&api, content_type, &exported).await.status, 204);
        assert_eq!(database.count("sensor_readings").await, 2 * before);
    }
    service.close().await;
}

async fn a_bad_line_is_told_by_its_number_and_hurts_no_other(database: Database) {
    let service = service(&database).await;
    let api = Api::of(&service);
    let lines = "\
# a comment
boiler,id1=4,id2=A t=1,p=2 1000
boiler t=hot 1000
boiler,id1=4,id2=A t=3

boiler,id1=4,id2=A t=4 99999999999999999999
";
    let answer = send(&api, LINE_PROTOCOL, lines).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let problem = told(&answer);
    assert_eq!(problem["type"], "urn:sluicegate:problem:invalid-readings");
    let intake = &problem["intake"];
    assert_eq!(intake["received"], 5);
    assert_eq!(
        (&intake["committed"], &intake["rejected"]),
        (&json!(3), &json!(2))
    );
    let place = |n: usize| {
        (
            intake["rejections"][n]["line"].clone(),
            intake["rejections"][n]["seq"].clone(),
        )
    };
    assert_eq!(place(0), (json!(3), json!(3)));
    assert_eq!(place(1), (json!(6), json!(5)));
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("The first is line 3") && detail.contains("hot"),
        "{detail}"
    );
    let quarantined = api.get("/rejections").await.json();
    let first = &quarantined["rejections"][0];
    assert_eq!(first["origin"], "line 3");
    assert_eq!(first["payload"], "Ym9pbGVyIHQ9aG90IDEwMDA=");
    assert_eq!(first["sensor_value"], "absent");
    // One that the table does not take is told by its line as well.
    let far = JSON.replace("2026-01-31T13", "0001-01-31T13");
    let answer = send(&api, "application/json", &far).await;
    let intake = told(&answer)["intake"].clone();
    assert_eq!(intake["rejections"][0]["record"], 2, "{intake}");
    assert_eq!(intake["rejections"][0]["field"], "timestamp_us");
    // Nothing of a table whose columns are not named is taken.
    let answer = send(&api, "text/csv", CSV.split_once('\n').expect("lines").1).await;
    assert_eq!(answer.status, 400);
    assert!(
        told(&answer)["detail"]
            .as_str()
            .expect("a detail")
            .contains("Line 1"),
        "{answer:?}"
    );
    service.close().await;
}

fn of_stream(api: &Api, first_seq: u64, epoch: Option<u64>, lines: &str) -> RequestBuilder {
    let request = post(api, "/readings", LINE_PROTOCOL, lines.to_owned());
    let request = request
        .header("stream-id", "gateway-7")
        .header("first-seq", first_seq);
    match epoch {
        Some(epoch) => request.header("stream-epoch", epoch),
        None => request,
    }
}

async fn a_stream_takes_each_reading_once_however_often_it_is_sent(database: Database) {
    let service = service(&database).await;
    let api = Api::of(&service);
    let lines = "a,id2=x t=1 1000\na,id2=x t=2 2000\na,id2=x t=3 3000\n";
    let mut epochs = Vec::new();
    for (time, duplicates) in [0, 3, 3].into_iter().enumerate() {
        let answer = api.send(of_stream(&api, 1, None, lines)).await.json();
        assert_eq!(answer["committed"], 3 - duplicates, "{time}: {answer}");
        assert_eq!(answer["duplicate"], duplicates, "{answer}");
        assert_eq!(answer["committed_seq"], 3, "{answer}");
        epochs.push(answer["epoch"].as_u64().expect("an epoch"));
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    // Some that are new behind some that are known, under the epoch that was told.
    let more = "a,id2=x t=3 3000\na,id2=x t=bad\na,id2=x t=5 5000\n";
    let answer = api.send(of_stream(&api, 3, Some(epochs[2]), more)).await;
    assert_eq!(answer.status, 400);
    let intake = told(&answer)["intake"].clone();
    assert_eq!(
        (&intake["duplicate"], &intake["committed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(intake["rejections"][0]["line"], 2);
    assert_eq!(intake["committed_seq"], 5);
    let values: Vec<_> = database
        .stored()
        .await
        .iter()
        .map(|it| it.reading.sensor_value)
        .collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 5.0].map(Some));
    service.close().await;
}

async fn a_writer_that_was_fenced_or_leaves_a_gap_is_told(database: Database) {
    let service = service(&database).await;
    let api = Api::of(&service);
    let line = "a,id2=x t=1 1000\n";
    let first = api.send(of_stream(&api, 1, None, line)).await.json();
    let epoch = first["epoch"].as_u64();
    assert_eq!(api.send(of_stream(&api, 2, None, line)).await.status, 200);
    for (first_seq, epoch, word) in [
        (3, epoch, "leave stream-epoch out"),
        (9, None, "go on at 3"),
        (3, Some(9_999), "restored from a backup"),
    ] {
        let answer = api.send(of_stream(&api, first_seq, epoch, line)).await;
        let problem = told(&answer);
        assert_eq!(answer.status, 409, "{problem}");
        assert_eq!(problem["type"], "urn:sluicegate:problem:stream-conflict");
        assert!(
            problem["detail"].as_str().expect("a detail").contains(word),
            "{problem}"
        );
    }
    let request = post(&api, "/readings", LINE_PROTOCOL, line).header("stream-id", "gateway-7");
    let answer = told(&api.send(request).await);
    assert_eq!(answer["parameter"], "first-seq", "{answer}");
    assert_eq!(database.count("sensor_readings").await, 2);
    service.close().await;
}

async fn a_mapping_is_chosen_by_its_name_or_by_the_format(database: Database) {
    let mapping =
        |text: &str| -> MappingSettings { serde_norway::from_str(text).expect("a mapping") };
    let influx = mapping("{format: influx, id1: {tag: plant}, ignored_tags: [host]}");
    let plant = mapping(
        "{format: json, value: {pointer: /v}, sensor_type: {pointer: /n}, id1: {constant: 7}, id2: {constant: P}, \
         time: {pointer: /t, unit: ms}}",
    );
    let adjust = |settings: &mut sluicegate::config::Settings| {
        take_any_time(settings);
        let mappings = [
            ("influx".to_owned(), influx.clone()),
            ("plant".to_owned(), plant.clone()),
        ];
        settings.rest.mappings = Some(mappings.into());
    };
    let service = Service::start_with(&database, adjust).await;
    let api = Api::of(&service);
    let lines = "boiler,plant=4,host=h,line=2 t=1 1000";
    assert_eq!(send(&api, LINE_PROTOCOL, lines).await.status, 204);
    let stored = database.stored().await;
    assert_eq!(
        (stored[0].reading.id1, &*stored[0].reading.id2),
        (4, "line=2")
    );
    let body = r#"{"v":1.5,"n":"speed","t":5}"#;
    let request = post(&api, "/readings?mapping=plant", "application/json", body);
    assert_eq!(api.send(request).await.status, 204);
    assert_eq!(database.stored().await[1].reading.id1, 7);
    for (path, content_type, word) in [
        (
            "/readings?mapping=plan",
            "application/json",
            "influx, plant",
        ),
        ("/readings?mapping=plant", "text/csv", "this one is of json"),
    ] {
        let answer = told(&api.send(post(&api, path, content_type, body)).await);
        assert_eq!(answer["parameter"], "mapping");
        assert!(
            answer["detail"].as_str().expect("a detail").contains(word),
            "{answer}"
        );
    }
    service.close().await;
    let wrong = mapping("{format: json, value: {pointer: v}}");
    let adjust = |settings: &mut sluicegate::config::Settings| {
        settings.rest.mappings = Some([("plant".to_owned(), wrong.clone())].into());
    };
    let refused = Service::try_start(&database, adjust)
        .await
        .err()
        .expect("is refused");
    assert!(
        refused.contains("rest.mappings.plant: mapping.value"),
        "{refused}"
    );
    assert!(refused.contains("A payload with its mapping"), "{refused}");
}

async fn a_name_that_is_too_long_is_cut_and_kept(database: Database) {
    let service = service(&database).await;
    let api = Api::of(&service);
    let host = "very-".repeat(30);
    let line = format!("boiler,host={host} t=1 1000\n");
    assert_eq!(send(&api, LINE_PROTOCOL, &line.repeat(3)).await.status, 204);
    let id2 = database.stored().await[0].reading.id2.clone();
    assert_eq!(id2.chars().count(), 50);
    until("its full text is kept", || async {
        database.count("long_names").await == 1
    })
    .await;
    let sql = "SELECT full_name FROM long_names WHERE name = ?";
    let mut conn = database.connect().await;
    let full: Option<String> = mysql_async::prelude::Queryable::exec_first(&mut conn, sql, (id2,))
        .await
        .expect("reads");
    assert_eq!(full, Some(format!("host={host}")));
    service.close().await;
}

async fn a_token_brings_what_it_may(database: Database) {
    let tokens = Tokens::new();
    let (read, ingest, prefix) = (
        tokens.make("desk", "read"),
        tokens.make("gate", "ingest"),
        tokens.make("press", "ingest:press/"),
    );
    let adjust = |settings: &mut sluicegate::config::Settings| {
        take_any_time(settings);
        tokens.asked_for(settings);
    };
    let service = Service::start_with(&database, adjust).await;
    let api = Api::of(&service);
    let line = "a,id2=x t=1 1000";
    let sent = |token: &str, stream: Option<&str>| {
        let request = post(&api, "/readings", LINE_PROTOCOL, line).bearer_auth(token);
        let request = match stream {
            Some(stream) => request.header("stream-id", stream).header("first-seq", 1),
            None => request,
        };
        api.send(request)
    };
    assert_eq!(sent(&read, None).await.status, 403);
    assert_eq!(sent(&ingest, None).await.status, 204);
    assert_eq!(sent(&prefix, None).await.status, 403);
    assert_eq!(sent(&prefix, Some("mill/1")).await.status, 403);
    assert_eq!(sent(&prefix, Some("press/1")).await.status, 200);
    assert_eq!(
        sent(&ingest, Some("press/1")).await.status,
        403,
        "it belongs to another"
    );
    service.close().await;
}

async fn a_large_body_streams_through(database: Database) {
    const LINES: u32 = 200_000;
    let service = service(&database).await;
    let api = Api::of(&service);
    let mut lines = String::new();
    for line in 0..LINES {
        use std::fmt::Write as _;
        let _ = writeln!(
            lines,
            "boiler,id1={},id2=B t={line},p=1i {}000",
            line % 50,
            1_000_000 + line
        );
    }
    let request = post(&api, "/readings", LINE_PROTOCOL, gzip(lines.as_bytes()));
    let request = request
        .header("content-encoding", "gzip")
        .timeout(Duration::from_secs(300));
    let answer = api.send(request).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(
        database.count("sensor_readings").await,
        2 * u64::from(LINES)
    );
    service.close().await;
}

/// As JSON, for other tests.
pub(crate) fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

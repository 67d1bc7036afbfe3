//! Requests that clients of InfluxDB have sent, recorded. Each gets what its client expects, without any setting unless one
//! is named.

use std::{fs, path::Path};

use reqwest::{Method, RequestBuilder};
use sluicegate_decode::MappingSettings;

use crate::{
    common::{
        database::Database,
        on_each_engine,
        service::{Service, take_any_time},
        tokens::Tokens,
        web,
    },
    intake::{LINE_PROTOCOL, gzip, json_of},
};

on_each_engine! {
    every_recorded_request_gets_what_its_client_expects,
    a_bad_line_is_told_as_an_influxdb_does,
    a_client_finds_its_database_and_its_health,
    a_token_comes_in_any_of_the_ways_of_these_clients,
}

/// What a user of Telegraf's HTTP output has to set for JSON.
const TELEGRAF: &str = "
format: json
records: /metrics
value: { each: /fields }
sensor_type: { pointer: /name }
tags: /tags
time: { pointer: /timestamp, unit: s }
";

struct Recorded {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A request as it was recorded; its body lies there unpacked.
fn recorded(name: &str) -> Recorded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("decode/tests/requests");
    let read = |kind: &str| fs::read(folder.join(format!("{name}.{kind}"))).expect("a recording");
    let head = String::from_utf8(read("head")).expect("text");
    let mut lines = head.lines();
    let mut request_line = lines.next().expect("a request").split(' ');
    let method = request_line
        .next()
        .expect("a method")
        .parse()
        .expect("a method");
    let path = request_line.next().expect("a path").to_owned();
    // Those that the client of the test says itself.
    let own = ["host", "content-length", "transfer-encoding", "connection"];
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            (!own.contains(&&*name)).then(|| (name, value.trim().to_owned()))
        });
    let headers: Vec<_> = headers.collect();
    let is_packed = headers
        .iter()
        .any(|(name, value)| name == "content-encoding" && value == "gzip");
    let body = match is_packed {
        true => gzip(&read("body")),
        false => read("body"),
    };
    Recorded {
        method,
        path,
        headers,
        body,
    }
}

fn request(service: &Service, recorded: &Recorded) -> RequestBuilder {
    let client = web::builder().build().expect("a client");
    let url = format!("http://{}{}", service.rest, recorded.path);
    let mut request = client
        .request(recorded.method.clone(), url)
        .body(recorded.body.clone());
    for (name, value) in &recorded.headers {
        request = request.header(name, value);
    }
    request
}

async fn sent(request: RequestBuilder) -> (u16, Vec<u8>) {
    let answer = request.send().await.expect("answers");
    let status = answer.status().as_u16();
    (status, answer.bytes().await.expect("a body").to_vec())
}

async fn service(database: &Database) -> Service {
    let json: MappingSettings = serde_norway::from_str(TELEGRAF).expect("a mapping");
    let adjust = |settings: &mut sluicegate::config::Settings| {
        take_any_time(settings);
        settings.rest.mappings = Some([("json".to_owned(), json.clone())].into());
    };
    Service::start_with(database, adjust).await
}

async fn every_recorded_request_gets_what_its_client_expects(database: Database) {
    let service = service(&database).await;
    let mut readings = 0;
    for (name, status, more) in [
        ("telegraf-influxdb-001", 200, 0),
        ("telegraf-influxdb-002", 204, 118),
        ("telegraf-influxdb_v2-001", 204, 118),
        ("telegraf-influxdb_v2-002", 204, 148),
        ("telegraf-http-json-001", 204, 118),
        ("telegraf-http-json-002", 204, 148),
        ("telegraf-http-influx-001", 415, 0),
        ("telegraf-http-influx-002", 415, 0),
        ("python-influxdb-client-001", 204, 2),
        ("python-influxdb-client-002", 204, 1),
        ("python-influxdb-001", 204, 2),
        ("python-influxdb3-001", 204, 1),
    ] {
        let (found, body) = sent(request(&service, &recorded(name))).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(found, status, "{name}: {text}");
        readings += more;
        assert_eq!(database.count("sensor_readings").await, readings, "{name}");
        match status {
            200 => assert_eq!(text, r#"{"results":[{"statement_id":0}]}"#),
            415 => {
                assert!(
                    text.contains(LINE_PROTOCOL) && text.contains("?format=influx"),
                    "{text}"
                );
            }
            _ => {}
        }
    }
    for name in ["telegraf-http-influx-001", "telegraf-http-influx-002"] {
        let mut by_parameter = recorded(name);
        by_parameter.path += "?format=influx";
        assert_eq!(sent(request(&service, &by_parameter)).await.0, 204);
        let mut by_type = recorded(name);
        by_type.headers.retain(|(name, _)| name != "content-type");
        by_type
            .headers
            .push(("content-type".to_owned(), LINE_PROTOCOL.to_owned()));
        assert_eq!(sent(request(&service, &by_type)).await.0, 204);
    }
    assert_eq!(
        database.count("sensor_readings").await,
        readings + 2 * (118 + 148)
    );
    let stored = database.stored().await;
    let found = |sensor_type: &str| {
        let mut readings = stored.iter().map(|it| &it.reading);
        readings
            .find(|it| it.sensor_type == sensor_type)
            .expect(sensor_type)
    };
    let open = found("boiler.open");
    assert_eq!(
        (open.sensor_value, open.id1, &*open.id2),
        (Some(1.0), 4, "BOILER")
    );
    service.close().await;
}

async fn a_bad_line_is_told_as_an_influxdb_does(database: Database) {
    let service = service(&database).await;
    for name in ["python-influxdb-client-001", "python-influxdb-001"] {
        let mut bad = recorded(name);
        bad.body = [
            bad.body.trim_ascii_end(),
            b"\nboiler t=hot\nboiler,id1=4,id2=B t=5 1795771800250",
        ]
        .concat();
        let before = database.count("sensor_readings").await;
        let (status, body) = sent(request(&service, &bad)).await;
        let error = json_of(&body);
        assert_eq!(status, 400, "{error}");
        assert_eq!(
            (&error["code"], &error["line"]),
            (&"invalid".into(), &2.into())
        );
        let message = error["message"].as_str().expect("a message");
        assert!(
            message.contains("line 2") && message.contains("hot"),
            "{message}"
        );
        assert_eq!(error["error"], error["message"]);
        assert!(
            database.count("sensor_readings").await > before,
            "the good ones are stored"
        );
    }
    service.close().await;
}

async fn a_client_finds_its_database_and_its_health(database: Database) {
    let service = service(&database).await;
    let client = web::builder().build().expect("a client");
    for (path, status) in [("/ping", 204), ("/health", 200), ("/ready", 200)] {
        let url = format!("http://{}{path}", service.rest);
        let answer = client.get(&url).send().await.expect("answers");
        assert_eq!(answer.status(), status, "{path}");
        if path == "/ping" {
            assert!(answer.headers()["x-influxdb-version"].to_str().is_ok());
        }
        if path == "/health" {
            let body = answer.bytes().await.expect("a body");
            assert_eq!(json_of(&body)["status"], "pass");
        }
    }
    let url = format!(
        "http://{}/query?db=sensors&q=SELECT%20*%20FROM%20cpu",
        service.rest
    );
    let (status, body) = sent(client.post(url)).await;
    assert_eq!(status, 400);
    let error = json_of(&body)["error"]
        .as_str()
        .expect("an error")
        .to_owned();
    assert!(
        error.contains("no query engine") && error.contains("/swagger"),
        "{error}"
    );
    service.close().await;
}

async fn a_token_comes_in_any_of_the_ways_of_these_clients(database: Database) {
    let tokens = Tokens::new();
    let token = tokens.make("telegraf", "ingest");
    let adjust = |settings: &mut sluicegate::config::Settings| {
        take_any_time(settings);
        tokens.asked_for(settings);
    };
    let service = Service::start_with(&database, adjust).await;
    let recorded = recorded("python-influxdb3-001");
    let bare = || {
        let mut bare = request(&service, &recorded).build().expect("a request");
        bare.headers_mut().remove("authorization");
        RequestBuilder::from_parts(web::builder().build().expect("a client"), bare)
    };
    assert_eq!(sent(bare()).await.0, 401);
    assert_eq!(sent(request(&service, &recorded)).await.0, 401);
    for with_token in [
        bare().bearer_auth(&token),
        bare().header("authorization", format!("Token {token}")),
        bare().basic_auth("anybody", Some(&token)),
    ] {
        assert_eq!(sent(with_token).await.0, 204);
    }
    assert_eq!(database.count("sensor_readings").await, 3);
    service.close().await;
}

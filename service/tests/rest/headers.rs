//! What answers carry beside their body: request ids, ETags, compression, CORS.

use std::io::Read as _;

use reqwest::{Method, RequestBuilder};
use sluicegate::repository::mysql::Layout;

use crate::{
    api::Api,
    common::{database::Database, on_each_engine, service::Service},
    sample::{filled, readings, store},
};

on_each_engine! {
    a_question_whose_answer_is_the_same_gets_no_body,
    a_head_is_a_get_without_its_body,
    answers_are_compressed_for_those_who_take_it,
    a_request_id_is_taken_over_or_made,
    pages_of_other_origins_are_let_in_by_configuration_only,
    headers_beyond_their_limit_are_refused,
}

const PATH: &str = "/sensor/time?from_time=0&to_time=9999999999999";

fn get(api: &Api, path: &str) -> RequestBuilder {
    api.request(Method::GET, path)
}

async fn a_question_whose_answer_is_the_same_gets_no_body(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    for path in [PATH, "/sensor/latest?id1=0&id2=A", "/streams/sample"] {
        let first = api.get(path).await;
        let etag = first.header("etag").to_owned();
        assert!(etag.starts_with("W/\""), "{path}: {etag}");
        assert_eq!(first.header("cache-control"), "private, no-cache");
        let strong = etag.trim_start_matches("W/");
        for known in [&etag, strong, "*", &format!("\"other\", {etag}")] {
            for encoding in ["gzip", "identity"] {
                let request = get(&api, path).header("if-none-match", known);
                let same = api.send(request.header("accept-encoding", encoding)).await;
                assert_eq!((same.status, same.body.len()), (304, 0), "{path} {known}");
                assert_eq!(same.header("etag"), etag);
                assert!(!same.headers.contains_key("content-type"));
                assert!(!same.headers.contains_key("content-encoding"), "{path}");
            }
        }
        let request = get(&api, path).header("if-none-match", "W/\"0000000000000000\"");
        assert_eq!(api.send(request).await.body, first.body);
    }
    let etag = api.get(PATH).await.header("etag").to_owned();
    let late = sluicegate_proto::v1::SensorReading {
        timestamp_us: Some(1),
        ..readings()[0].clone()
    };
    store(&service, "late", vec![late]).await;
    let request = get(&api, PATH).header("if-none-match", etag);
    assert_eq!(api.send(request).await.json()["count"], 421);
    // A change is never left undone for an ETag.
    let request = api.request(Method::DELETE, "/sensor/delete/time?from_time=0&to_time=1");
    let answer = api.send(request.header("if-none-match", "*")).await;
    assert_eq!(answer.json()["deleted_count"], 1);
    service.close_after_deletes().await;
}

async fn a_head_is_a_get_without_its_body(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    for path in [
        PATH,
        "/healthz",
        "/openapi.json",
        "/streams",
        "/nowhere",
        "/sensor/time",
    ] {
        let whole = api.get(path).await;
        let head = api.send(api.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.body.len()), (whole.status, 0), "{path}");
        for name in ["content-type", "etag"] {
            assert_eq!(head.header(name), whole.header(name), "{path}: {name}");
        }
        assert_eq!(head.header("content-length"), whole.body.len().to_string());
    }
    let export = format!("{PATH}&format=csv");
    let head = api.send(api.request(Method::HEAD, &export)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), "text/csv; charset=utf-8");
    service.close().await;
}

async fn answers_are_compressed_for_those_who_take_it(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let plain = api.get(PATH).await;
    assert!(plain.header("vary").contains("accept-encoding"));
    for (accepted, expected) in [
        ("gzip", true),
        ("br, GZIP;q=0.5", true),
        ("identity", false),
        ("gzip;q=0", false),
        ("gzip; q=0.0, identity", false),
        ("deflate", false),
    ] {
        let request = get(&api, PATH).header("accept-encoding", accepted);
        let answer = api.send(request).await;
        if !expected {
            assert_eq!(answer.body, plain.body, "{accepted}");
            continue;
        }
        assert_eq!(answer.header("content-encoding"), "gzip", "{accepted}");
        assert!(answer.body.len() * 3 < plain.body.len());
        let mut unpacked = Vec::new();
        let mut unpacking = flate2::read::GzDecoder::new(answer.body.as_slice());
        unpacking.read_to_end(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, plain.body);
        assert_eq!(answer.header("etag"), plain.header("etag"));
    }
    let small = get(&api, "/healthz").header("accept-encoding", "gzip");
    assert_eq!(api.send(small).await.text(), "ok\n");
    service.close().await;
}

async fn a_request_id_is_taken_over_or_made(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let ask = async |given: &str| -> String {
        let request = get(&api, "/sensor/time").header("x-request-id", given);
        let refused = api.send(request).await;
        let document = refused.problem(400, "missing-parameter", Some("from_time"));
        document["request_id"].as_str().expect("an id").to_owned()
    };
    assert_eq!(ask("trace/7:a").await, "trace/7:a");
    // What would not fit a line of the log gets another one.
    for given in ["", "two words", "tab\there", &"x".repeat(129)] {
        let made = ask(given).await;
        assert!(made.len() == 16 && made != given, "{made}");
    }
    let [one, other] = [api.get("/healthz").await, api.get("/healthz").await];
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    service.close().await;
}

const ORIGIN: &str = "https://dash.example";

async fn with_origins(database: &Database, origins: &[&str]) -> (Service, Api) {
    let schema = database.server.schema().await;
    let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    let service = Service::start_with(&schema, |settings| {
        settings.rest.cors_origins = Some(origins);
    })
    .await;
    let api = Api::of(&service);
    (service, api)
}

fn preflight(api: &Api, origin: &str, method: &str) -> RequestBuilder {
    api.request(Method::OPTIONS, "/sensor/delete/ids")
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header(
            "access-control-request-headers",
            "content-type,x-request-id",
        )
}

async fn pages_of_other_origins_are_let_in_by_configuration_only(database: Database) {
    let allowed = "access-control-allow-origin";
    let (service, api) = with_origins(&database, &[]).await;
    let answer = api
        .send(get(&api, "/version").header("origin", ORIGIN))
        .await;
    assert_eq!((answer.status, answer.headers.get(allowed)), (200, None));
    let refused = api.send(preflight(&api, ORIGIN, "DELETE")).await;
    refused.problem(405, "method-not-allowed", None);
    service.close().await;

    let (service, api) = with_origins(&database, &[ORIGIN, "http://localhost:3000"]).await;
    for origin in [ORIGIN, "http://localhost:3000"] {
        let answer = api
            .send(get(&api, "/version").header("origin", origin))
            .await;
        assert_eq!((answer.status, answer.header(allowed)), (200, origin));
        assert!(
            answer
                .header("access-control-expose-headers")
                .contains("x-request-id")
        );
        // Problems can be read by the page as well.
        let answer = api
            .send(get(&api, "/sensor/time").header("origin", origin))
            .await;
        assert_eq!((answer.status, answer.header(allowed)), (400, origin));
        let request = preflight(&api, origin, "DELETE")
            .build()
            .expect("a request");
        let answer = api.client.execute(request).await.expect("answers");
        assert_eq!(answer.status(), 200);
        let methods = answer.headers()["access-control-allow-methods"].to_str();
        assert!(methods.expect("ASCII").contains("DELETE"));
    }
    let stranger = "https://elsewhere.example";
    let refused = api
        .send(get(&api, "/version").header("origin", stranger))
        .await;
    refused.problem(403, "cross-origin-refused", None);
    let refused = api.send(preflight(&api, stranger, "DELETE")).await;
    refused.problem(403, "cross-origin-refused", None);
    let refused = api.send(preflight(&api, ORIGIN, "PATCH")).await;
    refused.problem(403, "cross-origin-refused", None);
    assert_eq!(api.get("/version").await.status, 200, "not from a page");
    service.close().await;

    let (service, api) = with_origins(&database, &["*"]).await;
    let answer = api
        .send(get(&api, "/version").header("origin", stranger))
        .await;
    assert_eq!(answer.status, 200);
    assert!(
        ["*", stranger].contains(&answer.header(allowed)),
        "{answer:?}"
    );
    service.close().await;
}

async fn headers_beyond_their_limit_are_refused(database: Database) {
    let (long, longer) = ("x".repeat(20_000), "x".repeat(140_000));
    for (given, taken, refused) in [
        (None, &long, &longer),
        (Some(8 << 10), &long[..5_000].to_owned(), &long),
    ] {
        let service = Service::start_with(&database, |settings| {
            settings.rest.max_header_bytes = given;
        })
        .await;
        let api = Api::of(&service);
        let asked = |text: &str| get(&api, "/version").header("x-padding", text);
        assert_eq!(api.send(asked(taken)).await.status, 200, "{given:?}");
        let answer = asked(refused).send().await.expect("an answer");
        assert_eq!(answer.status(), 431, "{given:?}");
        assert_eq!(api.get("/version").await.status, 200);
        service.close().await;
    }
}

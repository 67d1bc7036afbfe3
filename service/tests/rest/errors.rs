//! Bad input gets a problem document that names what is wrong, and changes nothing.

use futures::StreamExt as _;
use reqwest::{Body, Method};
use serde_json::json;
use sluicegate::repository::mysql::Layout;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    api::Api,
    common::{
        database::Database, on_each_engine, program::Program, readings::assert_same,
        service::Service, web,
    },
    sample::{filled, readings},
};

on_each_engine! {
    what_is_wrong_with_a_request_is_named,
    what_no_route_takes_gets_a_problem_too,
    a_body_has_to_be_small_and_json,
    a_body_that_does_not_come_is_not_waited_for,
    what_is_no_http_ends_no_more_than_its_connection,
    the_log_tells_what_a_request_failed_at,
}

const TIME: &str = "from_time=0&to_time=9999999999999";

async fn what_is_wrong_with_a_request_is_named(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let many = (0..1_001)
        .map(|n| n.to_string())
        .collect::<Vec<_>>()
        .join(",");
    let many = format!("/sensor/ids?id1={many}&id2={many}");
    for (path, kind, parameter) in [
        ("/sensor/time", "missing-parameter", "from_time"),
        ("/sensor/time?from_time=0", "missing-parameter", "to_time"),
        (
            "/sensor/time?from_time=2&to_time=1",
            "invalid-parameter",
            "to_time",
        ),
        (
            "/sensor/time?from_time=1&to_time=1",
            "invalid-parameter",
            "to_time",
        ),
        (
            "/sensor/time?from_time=yesterday&to_time=1",
            "invalid-parameter",
            "from_time",
        ),
        (
            "/sensor/time?from_time=0&to_time=2026-02-30T00:00:00Z",
            "invalid-parameter",
            "to_time",
        ),
        (
            "/sensor/time?from_time=0&to_time=99999999999999999999",
            "invalid-parameter",
            "to_time",
        ),
        (
            "/sensor/time?from_time=0&from_time=1&to_time=2",
            "repeated-parameter",
            "from_time",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&limit=0",
            "invalid-parameter",
            "limit",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&limit=10001",
            "invalid-parameter",
            "limit",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&limit=-5",
            "invalid-parameter",
            "limit",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&limit=1&limit=2",
            "repeated-parameter",
            "limit",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&order=up",
            "invalid-parameter",
            "order",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&sensor_type=",
            "invalid-parameter",
            "sensor_type",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&sensor_type=%ff",
            "invalid-parameter",
            "sensor_type",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&id1=1",
            "unknown-parameter",
            "id1",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&offset=1",
            "unknown-parameter",
            "offset",
        ),
        (
            "/sensor/time?from_time=0&to_time=2&dry_run=true",
            "unknown-parameter",
            "dry_run",
        ),
        ("/sensor/ids", "missing-parameter", "id1"),
        ("/sensor/ids?id1=1,2&id2=A", "invalid-parameter", "id2"),
        ("/sensor/ids?id1=1,&id2=A,B", "invalid-parameter", "id1"),
        (
            "/sensor/ids?id1=2147483648&id2=A",
            "invalid-parameter",
            "id1",
        ),
        ("/sensor/ids?id1=1.5&id2=A", "invalid-parameter", "id1"),
        (&many, "invalid-parameter", "id1"),
        (
            "/sensor/latest?from_time=0",
            "unknown-parameter",
            "from_time",
        ),
        ("/sensor/latest", "missing-parameter", "id1"),
        (
            "/sensor/aggregate?from_time=0&to_time=1",
            "missing-parameter",
            "bucket",
        ),
        (
            "/sensor/aggregate?from_time=0&to_time=1&bucket=31d",
            "invalid-parameter",
            "bucket",
        ),
        (
            "/sensor/aggregate?from_time=0&to_time=1&bucket=1m&id1=1",
            "missing-parameter",
            "id2",
        ),
        (
            "/sensor/aggregate?from_time=0&to_time=1&bucket=1m&order=desc",
            "unknown-parameter",
            "order",
        ),
        ("/streams?limit=x", "invalid-parameter", "limit"),
        ("/streams?cursor=x", "invalid-cursor", "cursor"),
        ("/rejections?anonymous=1", "invalid-parameter", "anonymous"),
    ] {
        let refused = api.get(path).await;
        let problem = refused.problem(400, kind, Some(parameter));
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(parameter), "{path}: {detail}");
        assert!(detail.len() < 400, "{detail}");
    }
    let lengths = api.get("/sensor/ids?id1=1,2,3&id2=A,B").await;
    let lengths = lengths.problem(400, "invalid-parameter", Some("id2"));
    assert_eq!(
        lengths["detail"],
        "id1 has 3 values and id2 has 2: they are paired by position, so both need the same number."
    );
    // A value that is quoted back is cut, and never breaks the document.
    let long = "%22%0A".repeat(5_000);
    let refused = api
        .get(&format!("/sensor/time?from_time={long}&to_time=1"))
        .await;
    let refused = refused.problem(400, "invalid-parameter", Some("from_time"));
    assert!(
        refused["detail"].as_str().is_some_and(|it| it.len() < 400),
        "{refused}"
    );
    unharmed(&database, service).await;
}

async fn what_no_route_takes_gets_a_problem_too(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    for path in ["", "/"] {
        let leads = api.send(api.request(Method::GET, path)).await;
        assert_eq!(leads.status, 200);
        assert_eq!(leads.header("content-type"), "text/html; charset=utf-8");
    }
    for path in [
        "/sensor",
        "/sensor/",
        "/sensor/times",
        "/sensor/time/5",
        "/sensor/delete",
        "/streams/a/b",
        "/streams//rejections",
        "/swagger/swagger-ui/nothing.js",
        "/swagger/swagger-ui/..%2F..%2Fetc%2Fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%00",
    ] {
        api.get(path).await.problem(404, "not-found", None);
    }
    let at_root = format!("http://{}", service.rest);
    for base in [&api.base, &at_root] {
        for (method, path, allow) in [
            (Method::POST, "/sensor/time", "GET, HEAD"),
            (Method::DELETE, "/sensor/time", "GET, HEAD"),
            (Method::GET, "/sensor/delete/time", "DELETE"),
            (Method::HEAD, "/sensor/delete/ids", "DELETE"),
            (Method::POST, "/sensor/update/ids", "PUT"),
            (Method::PATCH, "/sensor/update/ids-time", "PUT"),
            (Method::PUT, "/streams/a", "GET, HEAD"),
            (Method::DELETE, "/streams/a/rejections", "GET, HEAD"),
            (Method::OPTIONS, "/readyz", "GET, HEAD"),
            (Method::POST, "/swagger", "GET, HEAD"),
        ] {
            let is_head = method == Method::HEAD;
            let asked = format!("{base}{path}?{TIME}");
            let refused = api.send(api.client.request(method, asked)).await;
            assert_eq!(
                (refused.status, refused.header("allow")),
                (405, allow),
                "{path}"
            );
            if !is_head {
                refused.problem(405, "method-not-allowed", None);
            }
        }
    }
    unharmed(&database, service).await;
}

async fn a_body_has_to_be_small_and_json(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let path = format!("/sensor/update/time?{TIME}");
    let put = || api.request(Method::PUT, &path);
    let body = r#"{"sensor_value": 1}"#;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/json; charset=iso-8859-1",
        "application/json;v=1; Charset=\"UTF-16\"",
        "json",
        "",
    ] {
        let request = put().header("content-type", content_type).body(body);
        let refused = api.send(request).await;
        refused.problem(415, "unsupported-media-type", None);
    }
    for content_type in [
        "Application/JSON;charset=\"UTF-8\"",
        "application/json; v=1",
    ] {
        let dry = api.request(Method::PUT, &format!("{path}&dry_run=true"));
        let request = dry.header("content-type", content_type).body(body);
        assert_eq!(api.send(request).await.status, 200, "{content_type}");
    }
    api.send(put().body(body))
        .await
        .problem(415, "unsupported-media-type", None);

    let json = || put().header("content-type", "application/json; charset=utf-8");
    for kib in [65, 512, 2_000] {
        let padded = format!("{}{body}", " ".repeat(kib << 10));
        let refused = api.send(json().body(padded.clone())).await;
        refused.problem(413, "body-too-large", None);
        // Of unknown length.
        let pieces = padded.into_bytes();
        let pieces = pieces.chunks(4_096).map(<[u8]>::to_vec);
        let pieces: Vec<_> = pieces.map(Ok::<_, std::io::Error>).collect();
        let streamed = Body::wrap_stream(futures::stream::iter(pieces));
        let refused = api.send(json().body(streamed)).await;
        refused.problem(413, "body-too-large", None);
    }
    // One without end is not read to its end: the client may find the connection closed.
    let piece = || Ok::<_, std::io::Error>(vec![b' '; 65_536]);
    let endless = futures::stream::repeat_with(piece);
    let sent = json().body(Body::wrap_stream(endless)).send().await;
    assert!(sent.is_err() || sent.is_ok_and(|it| it.status() == 413));
    let padded = format!("{}{body}", " ".repeat((64 << 10) - body.len()));
    let dry = format!("{path}&dry_run=true");
    let request = api
        .request(Method::PUT, &dry)
        .header("content-type", "application/json");
    let fits = api.send(request.body(padded)).await;
    assert_eq!(fits.json(), json!({"updated_count": 420, "dry_run": true}));
    unharmed(&database, service).await;
}

async fn a_body_that_does_not_come_is_not_waited_for(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let beginning = futures::stream::iter([Ok::<_, std::io::Error>("{")]);
    let body = beginning.chain(futures::stream::pending());
    let path = format!("/sensor/update/time?{TIME}");
    let request = api.request(Method::PUT, &path);
    let request = request.header("content-type", "application/json");
    let refused = api.send(request.body(Body::wrap_stream(body))).await;
    refused.problem(408, "body-too-slow", None);
    unharmed(&database, service).await;
}

async fn what_is_no_http_ends_no_more_than_its_connection(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    for nonsense in [
        &b"\x00\xff\x17\x03\x01"[..],
        b"GET\r\n\r\n",
        b"GET /sensor/time?\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"DELETE /sensor/delete/time?from_time=0&to_time=9\r\n\r\n",
        b"PUT /sensor/update/ids?id1=0&id2=A HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    ] {
        let mut stream = TcpStream::connect(service.rest).await.expect("connects");
        stream.write_all(nonsense).await.expect("takes it");
        stream.shutdown().await.expect("ends");
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    }
    unharmed(&database, service).await;
}

async fn unharmed(database: &Database, service: Service) {
    let stored = database.stored().await;
    assert_same(stored.iter().map(|row| &row.reading), &readings());
    service.close().await;
}

/// The answer does not say it: by the id that it has, the log does.
async fn the_log_tells_what_a_request_failed_at(database: Database) {
    let program = Program::start(&database.url(), &["--partitions-enabled", "false"]).await;
    database.run("DROP TABLE sensor_readings").await;
    let url = format!("http://{}/sensor/time?{TIME}", program.rest);
    let request = web::client().get(url);
    let answer = request
        .header("x-request-id", "the-one-that-failed")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 500);
    let problem: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(problem["request_id"], "the-one-that-failed");
    program.terminate();
    let log = program.ended().await.stderr;
    let of_request = |line: &&str| line.contains("the-one-that-failed");
    let line = log.lines().find(of_request).expect("a line of that id");
    assert!(line.contains("sensor_readings"), "{line}");
}

//! What a request that brings readings may not do, and what it is told then.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    api::{Answer, Api},
    common::{
        database::Database,
        on_each_engine,
        service::{Service, take_any_time},
        until,
    },
    intake::{LINE_PROTOCOL, gzip, post, send, service, told},
};

on_each_engine! {
    what_is_too_much_is_refused,
    who_brings_nothing_is_told_so,
    a_hundred_of_many_bad_lines_are_told,
    what_is_not_committed_in_time_is_said_to_be_unknown,
}

type Pieces = tokio::sync::mpsc::Sender<Result<Vec<u8>, std::io::Error>>;

/// A body that comes as it is sent.
fn open_body() -> (Pieces, reqwest::Body) {
    let (sender, body) = tokio::sync::mpsc::channel(1);
    let body = tokio_stream::wrappers::ReceiverStream::new(body);
    (sender, reqwest::Body::wrap_stream(body))
}

async fn what_is_too_much_is_refused(database: Database) {
    let adjust = |settings: &mut sluicegate::config::Settings| {
        take_any_time(settings);
        settings.rest.max_writes = Some(1);
        settings.rest.max_write_bytes = Some(1 << 20);
        settings.rest.max_document_bytes = Some(64 << 10);
        settings.rest.max_line_bytes = Some(1 << 10);
    };
    let service = Service::start_with(&database, adjust).await;
    let api = Api::of(&service);
    let refused = |answer: Answer, status: u16, word: &str| {
        assert_eq!(answer.status, status, "{answer:?}");
        let detail = told(&answer)["detail"]
            .as_str()
            .expect("a detail")
            .to_owned();
        assert!(detail.contains(word), "{detail}");
    };
    let large = "\n".repeat(2 << 20);
    refused(
        send(&api, LINE_PROTOCOL, &large).await,
        413,
        "rest.max_write_bytes",
    );
    let bomb = post(&api, "/readings", LINE_PROTOCOL, gzip(large.as_bytes()));
    let bomb = bomb.header("content-encoding", "gzip");
    refused(api.send(bomb).await, 413, "rest.max_write_bytes");
    let document = format!("[{}]", " ".repeat(70 << 10));
    refused(
        send(&api, "application/json", &document).await,
        413,
        "rest.max_document_bytes",
    );
    refused(
        send(&api, "application/xml", "<a/>").await,
        415,
        "?format=json",
    );
    let zstd = post(&api, "/readings", LINE_PROTOCOL, "a t=1").header("content-encoding", "zstd");
    refused(api.send(zstd).await, 415, "Content-Encoding: gzip");
    let no_gzip =
        post(&api, "/readings", LINE_PROTOCOL, "a t=1").header("content-encoding", "gzip");
    refused(api.send(no_gzip).await, 400, "is not");
    let long = format!("a,host={} t=1 1000\na,id2=x t=2 2000\n", "x".repeat(2_000));
    let answer = send(&api, LINE_PROTOCOL, &long).await;
    assert_eq!(told(&answer)["intake"]["committed"], 1, "{answer:?}");
    // As long as one request has the only place, others are told to come back.
    let (sender, body) = open_body();
    let open = post(&api, "/readings", LINE_PROTOCOL, body);
    let open = tokio::spawn(open.send());
    sender
        .send(Ok(b"a,id2=x t=3 3000\n".to_vec()))
        .await
        .expect("is read");
    until("the first one is stored", || async {
        database.count("sensor_readings").await == 2
    })
    .await;
    let turned_away = api
        .send_any(post(&api, "/readings", LINE_PROTOCOL, "a,id2=x t=4 4000"))
        .await;
    assert_eq!(turned_away.headers["retry-after"], "1");
    refused(turned_away, 503, "rest.max_writes");
    drop(sender);
    assert_eq!(
        open.await.expect("ends").expect("is answered").status(),
        204
    );
    service.close().await;
}

async fn who_brings_nothing_is_told_so(database: Database) {
    let adjust = |settings: &mut sluicegate::config::Settings| {
        take_any_time(settings);
        settings.rest.write_idle_limit_s = Some(1);
    };
    let service = Service::start_with(&database, adjust).await;
    let api = Api::of(&service);
    for (begun, stored) in [("", 0), ("a,id2=x t=1 1000\na,id2=x t=2 20", 1)] {
        let (sender, body) = open_body();
        let request = post(&api, "/readings", LINE_PROTOCOL, body);
        let request = tokio::spawn(request.send());
        if !begun.is_empty() {
            sender.send(Ok(begun.into())).await.expect("is read");
        }
        let answer = request.await.expect("ends").expect("is answered");
        assert_eq!(answer.status(), 408);
        let problem: Value = answer.json().await.expect("a problem");
        assert_eq!(problem["type"], "urn:sluicegate:problem:body-too-slow");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("Nothing came for 1 s"), "{detail}");
        assert_eq!(database.count("sensor_readings").await, stored);
        drop(sender);
    }
    service.close().await;
}

async fn a_hundred_of_many_bad_lines_are_told(database: Database) {
    const LINES: usize = 5_000;
    let service = service(&database).await;
    let api = Api::of(&service);
    let mut lines = String::new();
    for line in 0..LINES {
        let _ = writeln!(lines, "a,id2=x t=hot {line}000\na,id2=x t=1 {line}000");
    }
    let problem = told(&send(&api, LINE_PROTOCOL, &lines).await);
    assert_eq!(problem["status"], 400);
    assert_eq!(problem["intake"]["rejected"], LINES);
    assert_eq!(problem["intake"]["committed"], LINES);
    let told = problem["intake"]["rejections"].as_array().expect("a list");
    assert_eq!(told.len(), 100);
    let first: Vec<_> = told.iter().map(|it| it["line"].as_u64()).collect();
    let expected: Vec<_> = (0..100).map(|at| Some(2 * at + 1)).collect();
    assert_eq!(first, expected);
    assert_eq!(database.count("rejected_readings").await, LINES as u64);
    service.close().await;
}

async fn what_is_not_committed_in_time_is_said_to_be_unknown(database: Database) {
    let adjust = |settings: &mut sluicegate::config::Settings| {
        take_any_time(settings);
        settings.ingest.commit_deadline_ms = Some(1_000);
    };
    let service = Service::start_with(&database, adjust).await;
    let api = Api::of(&service);
    let mut conn = database.connect().await;
    mysql_async::prelude::Queryable::query_drop(&mut conn, "LOCK TABLES sensor_readings WRITE")
        .await
        .expect("locks");
    let line = "a,id2=x t=1 1000\n";
    let answer = api
        .send_any(post(&api, "/readings", LINE_PROTOCOL, line))
        .await;
    let problem = told(&answer);
    assert_eq!(answer.status, 503, "{problem}");
    assert_eq!(problem["type"], "urn:sluicegate:problem:not-committed");
    assert!(answer.headers.contains_key("retry-after"));
    conn.disconnect().await.expect("lets go");
    until("it is stored after all", || async {
        database.count("sensor_readings").await == 1
    })
    .await;
    service.close().await;
}

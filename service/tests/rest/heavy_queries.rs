//! Queries that are much work: bounded, counted, and ended when nobody waits for them any more.

use std::{net::SocketAddr, time::Duration};

use mysql_async::{Conn, prelude::Queryable as _};
use reqwest::Method;
use sluicegate::repository::mysql::Layout;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    api::Api,
    common::{
        database::Database,
        http, on_each_engine,
        program::Program,
        readings::{self as numbered, BASE_US},
        service::connect,
        until,
    },
    sample::{SPAN_S, START_S, filled, readings},
};

on_each_engine! {
    forty_aggregates_end_when_their_clients_leave,
    an_export_and_a_count_end_when_their_clients_leave,
    cheap_requests_go_on_beside_forty_aggregates,
    beyond_the_most_a_heavy_query_is_told_to_come_again,
    an_aggregate_of_too_many_buckets_or_readings_is_refused,
    a_statement_that_takes_too_long_is_ended,
}

const FORTY: usize = 40;

/// 26 years of seconds, fewer than the default allows of minutes.
fn long_range() -> &'static str {
    "from_time=2000-01-01T00:00:00Z&to_time=2026-12-31T00:00:00Z"
}

fn aggregate() -> String {
    format!("/sensor/aggregate?{}&bucket=5m", long_range())
}

/// Every statement over the readings waits while this has the table for itself.
async fn hold_table(database: &Database) -> Conn {
    let mut holder = database.connect().await;
    holder
        .query_drop("LOCK TABLES sensor_readings WRITE")
        .await
        .expect("locks");
    holder
}

/// Statements over the readings that the server has not done with, but those that look for them.
async fn waiting(database: &Database) -> u64 {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{}' AND INFO LIKE '%sensor_readings%' \
         AND INFO NOT LIKE '%PROCESSLIST%'",
        database.name()
    );
    let count: Option<u64> = database
        .connect()
        .await
        .query_first(sql)
        .await
        .expect("reads");
    count.expect("a count")
}

async fn ask(rest: SocketAddr, method: &str, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(rest).await.expect("connects");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client
        .write_all(request.as_bytes())
        .await
        .expect("takes it");
    client
}

async fn program(database: &Database) -> Program {
    Program::start(&database.url(), &["--partitions-enabled", "false"]).await
}

async fn assert_answers(rest: SocketAddr, path: &str) {
    let answer = tokio::time::timeout(Duration::from_secs(30), http::get(rest, path));
    let (status, body) = answer.await.expect("in time").expect("answers");
    assert_eq!(status, 200, "{path}: {body}");
}

async fn forty_aggregates_end_when_their_clients_leave(database: Database) {
    let program = program(&database).await;
    let holder = hold_table(&database).await;
    let mut clients = Vec::new();
    for _ in 0..FORTY {
        clients.push(ask(program.rest, "GET", &aggregate()).await);
    }
    until("statements wait", || async { waiting(&database).await > 1 }).await;
    for path in ["/streams", "/rejections", "/readyz"] {
        assert_answers(program.rest, path).await;
    }
    drop(clients);
    // The table is still held: nothing but their end lets them go.
    until("all of them have ended", || async {
        waiting(&database).await == 0
    })
    .await;
    holder.disconnect().await.expect("lets go");
    assert_answers(program.rest, &aggregate()).await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn an_export_and_a_count_end_when_their_clients_leave(database: Database) {
    let program = program(&database).await;
    let holder = hold_table(&database).await;
    let export = format!("/sensor/time?{}&format=csv", long_range());
    let filtered = format!("/sensor/time?{}&sensor_type=none", long_range());
    let count = format!("/sensor/delete/time?{}&dry_run=true", long_range());
    let change = format!("/sensor/delete/time?{}", long_range());
    let clients = [
        ask(program.rest, "GET", &export).await,
        ask(program.rest, "GET", &filtered).await,
        ask(program.rest, "DELETE", &count).await,
        ask(program.rest, "DELETE", &change).await,
    ];
    until("all of them wait", || async {
        waiting(&database).await == clients.len() as u64
    })
    .await;
    drop(clients);
    until("all of them have ended", || async {
        waiting(&database).await == 0
    })
    .await;
    holder.disconnect().await.expect("lets go");
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn cheap_requests_go_on_beside_forty_aggregates(database: Database) {
    let program = program(&database).await;
    let mut client = connect(program.grpc).await;
    let batch = numbered::columns(numbered::column_batch(0..100_000));
    let sent = client.stream_readings(tokio_stream::iter([batch])).await;
    assert_eq!(sent.expect("stored").into_inner().committed, 100_000);
    let (from, to) = (BASE_US / 1_000, BASE_US / 1_000 + 1_000_000);
    let heavy = format!("/sensor/aggregate?from_time={from}&to_time={to}&bucket=1s&limit=10000");
    let mut clients = Vec::new();
    for _ in 0..FORTY {
        clients.push(ask(program.rest, "GET", &heavy).await);
    }
    let page = format!("/sensor/time?from_time={from}&to_time={to}&limit=100");
    for _ in 0..5 {
        for path in [page.as_str(), "/streams", "/rejections", "/readyz"] {
            assert_answers(program.rest, path).await;
        }
    }
    drop(clients);
    until("all of them have ended", || async {
        waiting(&database).await == 0
    })
    .await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn beyond_the_most_a_heavy_query_is_told_to_come_again(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let holder = hold_table(&database).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(ask(service.rest, "GET", &aggregate()).await);
    }
    until("four wait", || async { waiting(&database).await == 4 }).await;
    let api = Api::of(&service);
    let refused = api.send_any(api.request(Method::GET, &aggregate())).await;
    let problem = refused.problem(503, "busy", None);
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.contains("rest.max_heavy_queries"), "{detail}");
    assert_eq!(refused.header("retry-after"), "1");
    holder.disconnect().await.expect("lets go");
    // Those that had their turn are answered.
    for mut client in clients {
        let mut begin = [0; 12];
        client.read_exact(&mut begin).await.expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 200");
    }
    service.close().await;
}

async fn an_aggregate_of_too_many_buckets_or_readings_is_refused(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let century = "from_time=1971-01-01T00:00:00Z&to_time=2071-01-01T00:00:00Z&bucket=1s";
    let refused = api.get(&format!("/sensor/aggregate?{century}")).await;
    let problem = refused.problem(400, "invalid-parameter", Some("bucket"));
    let detail = problem["detail"].as_str().expect("a text");
    for part in ["3155760000 buckets", "10000000", "rest.max_buckets"] {
        assert!(detail.contains(part), "{detail}");
    }
    service.close().await;

    let program = Program::start(&database.url(), &["--rest-max-scanned-rows", "200"]).await;
    let at = |second: i64| (START_S + second) * 1_000;
    let path = |to| {
        let (from, to) = (at(0), at(to));
        format!("/sensor/aggregate?from_time={from}&to_time={to}&bucket=1m")
    };
    assert_answers(program.rest, &path(60)).await;
    let (status, problem) = http::get(program.rest, &path(SPAN_S))
        .await
        .expect("answers");
    assert_eq!(status, 400, "{problem}");
    assert_eq!(problem["parameter"], "to_time");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(
        detail.contains("200 are the most (rest.max_scanned_rows)"),
        "{detail}"
    );
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn a_statement_that_takes_too_long_is_ended(database: Database) {
    let program = Program::start(&database.url(), &["--rest-statement-limit-s", "1"]).await;
    let told = async |path: &str| {
        let answered = http::get(program.rest, path).await;
        let (status, problem) = answered.expect("answers");
        assert_eq!(status, 503, "{path}: {problem}");
        assert_eq!(
            problem["type"],
            "urn:sluicegate:problem:database-unavailable"
        );
        problem["detail"].as_str().expect("a text").to_owned()
    };
    let holder = hold_table(&database).await;
    for path in [&aggregate(), &format!("/sensor/time?{}", long_range())] {
        let detail = told(path).await;
        // In MariaDB either of two limits comes first.
        let by_either =
            ["locked the table", "rest.statement_limit_s"].map(|it| detail.contains(it));
        assert!(by_either.contains(&true), "{detail}");
    }
    holder.disconnect().await.expect("lets go");
    assert_answers(program.rest, &aggregate()).await;

    // Whoever reads it sleeps first.
    let mut conn = database.connect().await;
    for sql in [
        "INSERT INTO rejected_readings (stream_id, seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us, \
         rejected_at) VALUES ('s', 1, 'id2', 'it is', '1', 't', 1, 'a', 0, UTC_TIMESTAMP(6))",
        "RENAME TABLE rejected_readings TO kept",
        "CREATE VIEW rejected_readings AS SELECT * FROM kept WHERE SLEEP(30) = 0",
    ] {
        conn.query_drop(sql).await.expect(sql);
    }
    let detail = told("/rejections").await;
    assert!(detail.contains("rest.statement_limit_s"), "{detail}");
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

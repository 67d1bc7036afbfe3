//! Which threads do what takes long: the log of the real program tells.

use serde_json::Value;

use crate::common::{
    database::Database,
    on_each_engine,
    program::Program,
    readings::{self as numbered, BASE_US},
    service::connect,
    web,
};

on_each_engine! {
    pages_exports_and_compression_are_left_to_the_workers,
    a_static_file_is_compressed_once,
}

const TRACED: [&str; 4] = [
    "--log",
    "sluicegate::router::rest=trace",
    "--log-format",
    "json",
];

/// Asks for a body as a browser does, which takes gzip.
async fn get(program: &Program, path: &str) -> Vec<u8> {
    let url = format!("http://{}{path}", program.rest);
    let request = web::client().get(url);
    let answer = request.header("accept-encoding", "gzip").send().await;
    let answer = answer.expect("answers");
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["content-encoding"], "gzip", "{path}");
    answer.bytes().await.expect("a body").to_vec()
}

/// What the log holds of that name, once the program has ended.
async fn events(program: Program, name: &str) -> Vec<Value> {
    program.terminate();
    let log = program.ended().await.stderr;
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    events
        .filter(|event: &Value| event["fields"]["message"] == name)
        .collect()
}

fn assert_of_workers(events: &[Value]) {
    for event in events {
        assert_eq!(event["threadName"], "rest-worker", "{event}");
    }
}

async fn pages_exports_and_compression_are_left_to_the_workers(database: Database) {
    for (path, name, at_least) in [
        ("&format=ndjson", "encoded", 10),
        ("&format=csv", "encoded", 10),
        ("&limit=10000", "encoded", 1),
        ("&limit=10000", "compressed", 1),
    ] {
        let program = Program::start(&database.url(), &TRACED).await;
        let mut client = connect(program.grpc).await;
        let batch = numbered::columns(numbered::column_batch(0..20_000));
        let sent = client.stream_readings(tokio_stream::iter([batch])).await;
        assert_eq!(sent.expect("stored").into_inner().committed, 20_000);
        let (from, to) = (BASE_US / 1_000, BASE_US / 1_000 + 600_000);
        let all = format!("/sensor/time?from_time={from}&to_time={to}{path}");
        get(&program, &all).await;
        let found = events(program, name).await;
        assert!(found.len() >= at_least, "{path}: {}", found.len());
        assert_of_workers(&found);
    }
}

async fn a_static_file_is_compressed_once(database: Database) {
    let program = Program::start(&database.url(), &TRACED).await;
    let paths = [
        "/openapi.json",
        "/api/v1/openapi.json",
        "/swagger/swagger-ui/swagger-ui-bundle.js",
    ];
    let asked = paths.iter().cycle().take(30);
    let bodies = futures::future::join_all(asked.map(|path| get(&program, path))).await;
    for (n, body) in bodies.iter().enumerate() {
        assert!(body == &bodies[if n % 3 == 1 { 0 } else { n % 3 }]);
    }
    let compressed = events(program, "compressed").await;
    assert_eq!(compressed.len(), 2, "{compressed:?}");
    assert_of_workers(&compressed);
}

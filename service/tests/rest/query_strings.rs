//! Query strings as they come: whatever is behind the question mark, the answer is a page or a problem.

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use reqwest::Method;
use sluicegate::repository::mysql::Layout;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    api::Api,
    common::{database::Database, on_each_engine, readings::assert_same},
    sample::{filled, readings},
};

on_each_engine! {
    no_query_string_is_more_than_a_page_or_a_problem,
    no_bytes_behind_the_question_mark_harm_the_service,
}

const ROUTES: [&str; 9] = [
    "/sensor/time",
    "/sensor/ids",
    "/sensor/ids-time",
    "/sensor/latest",
    "/sensor/aggregate",
    "/streams",
    "/streams/sample",
    "/streams/sample/rejections",
    "/rejections",
];
/// Query strings of each kind.
const EACH: usize = 400;

/// A query string that is nearly right, and values that are nearly so.
fn nearly_right() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => Just("from_time"), 4 => Just("to_time"), 4 => Just("id1"), 4 => Just("id2"),
        1 => Just("sensor_type"), 1 => Just("limit"), 1 => Just("order"), 1 => Just("cursor"),
        1 => Just("format"), 2 => Just("bucket"), 1 => Just("anonymous"), 1 => Just("x"), 1 => Just(""),
    ];
    let value = prop_oneof![
        2 => "-?[0-9]{1,20}",
        2 => "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-9]{2}(\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-9]{2})",
        2 => "(-?[0-9]{1,11},){0,3}-?[0-9]{1,11}",
        2 => "([a-zA-Z]{1,3},){0,3}[a-zA-Z]{1,3}",
        1 => "[0-9]{1,4}[smhdwy]",
        1 => "asc|desc|json|ndjson|csv|true|false",
        1 => "(%[0-9a-fA-F]{2}){0,12}",
        1 => "\\PC{0,30}",
    ];
    let valid = "from_time=0&to_time=9999999999999|id1=0,1&id2=A,B|from_time=0&to_time=9999999999999&bucket=1d|";
    let pieces = proptest::collection::vec((name, value), 0..5);
    (valid, pieces).prop_map(|(valid, pieces)| {
        let pieces = pieces.iter().map(|(name, value)| format!("{name}={value}"));
        [vec![valid], pieces.collect()].concat().join("&")
    })
}

fn samples<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Iterator<Item = T> {
    let mut runner = TestRunner::new(Config::default());
    (0..EACH).map(move |_| strategy.new_tree(&mut runner).expect("a value").current())
}

async fn no_query_string_is_more_than_a_page_or_a_problem(database: Database) {
    let (database, service) = filled(&database, Layout::Hashed, readings()).await;
    let api = Api::of(&service);
    let mut pages = 0;
    for (query, route) in samples(nearly_right()).zip(ROUTES.into_iter().cycle()) {
        let answer = api.get(&format!("{route}?{query}")).await;
        match answer.status {
            200 => pages += 1,
            400 => assert!(!answer.body.is_empty()),
            other => panic!("{other} for {route}?{query}"),
        }
        let path = format!("/sensor/delete/ids-time?{query}&dry_run=true");
        let answer = api.send(api.request(Method::DELETE, &path)).await;
        assert!([200, 400].contains(&answer.status), "{path}: {answer:?}");
    }
    assert!(pages > 5, "of {EACH} only {pages} were right");
    let stored = database.stored().await;
    assert_same(stored.iter().map(|row| &row.reading), &readings());
    service.close().await;
}

async fn no_bytes_behind_the_question_mark_harm_the_service(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let bytes = proptest::collection::vec(0x21_u8.., 0..200);
    for (query, route) in samples(bytes).zip(ROUTES.into_iter().cycle()) {
        let mut stream = TcpStream::connect(service.rest).await.expect("connects");
        let start = format!("GET {route}?");
        let end = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let request = [start.as_bytes(), &query, end].concat();
        stream.write_all(&request).await.expect("takes it");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answers");
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.get(9..12);
        assert!(matches!(status, Some("200" | "400")), "{query:?}: {answer}");
    }
    service.close().await;
}

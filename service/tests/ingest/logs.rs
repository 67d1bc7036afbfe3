//! The log of the real program: what comes again is counted, and lines have fields.

use std::net::TcpListener;

use serde_json::Value;

use crate::common::program::{command, end_of};

/// Lines of a log in JSON.
fn lines(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn message(line: &Value) -> &str {
    line["fields"]["message"].as_str().expect("a message")
}

/// The address of a database that is not there.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let addr = listener.local_addr().expect("bound");
    format!("mysql://root@{addr}/nothing")
}

#[tokio::test]
async fn a_warning_that_comes_again_is_written_once_and_counted() {
    let ended = end_of(command(&[
        "serve",
        "--database-url",
        &nowhere(),
        "--connect-deadline-s",
        "8",
        "--log-format",
        "json",
        "--grpc-addr",
        "127.0.0.1:0",
        "--rest-addr",
        "127.0.0.1:0",
    ]))
    .await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let lines = lines(&ended.stderr);
    let waiting = "waiting for the database";
    let of_first = lines.iter().filter(|line| message(line) == waiting);
    let first: Vec<_> = of_first.collect();
    assert_eq!(first.len(), 1, "{}", ended.stderr);
    assert_eq!(first[0]["level"], "WARN");
    assert_eq!(first[0]["target"], "sluicegate::repository::mysql::waiting");
    let reason = first[0]["fields"]["reason"].as_str().expect("a reason");
    assert!(first[0]["fields"]["place"].is_string());
    assert!(first[0]["timestamp"].is_string());
    let counts: Vec<_> = lines
        .iter()
        .filter(|line| line["target"] == "sluicegate::repeated")
        .collect();
    // They are told after ten seconds, or at the end.
    assert_eq!(counts.len(), 1, "{}", ended.stderr);
    for count in &counts {
        assert_eq!(
            (message(count), &count["level"]),
            ("came again", &"WARN".into())
        );
        let line = count["fields"]["line"].as_str().expect("a line");
        assert!(line.starts_with(waiting) && line.contains(reason), "{line}");
    }
    let times: u64 = counts
        .iter()
        .map(|count| count["fields"]["times"].as_u64().expect("a number"))
        .sum();
    // Pauses of 50 ms to 2 s, within 8 s.
    assert!((3..13).contains(&times), "{}", ended.stderr);
}

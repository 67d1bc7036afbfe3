//! The commands beside `serve`: `openapi` and `healthcheck`.

use std::net::{SocketAddr, TcpListener};

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        program::{Ended, Program, command, end_of},
        until,
    },
    sample::service,
};
use sluicegate::repository::mysql::Layout;

/// The document as it was looked over last. A change to it is a change to what clients rely on:
/// `cargo run -p sluicegate -- openapi > service/openapi.json`
const REVIEWED: &str = include_str!("../../openapi.json");

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let current = sluicegate::router::rest::openapi_json();
    for (number, (current, reviewed)) in current.lines().zip(REVIEWED.lines()).enumerate() {
        assert_eq!(
            current,
            reviewed,
            "line {} of service/openapi.json",
            number + 1
        );
    }
    assert_eq!(current.trim_end(), REVIEWED.trim_end());
}

on_each_engine! {
    the_document_that_is_printed_is_the_one_that_is_served,
    a_health_check_tells_whether_the_service_is_ready,
}

async fn the_document_that_is_printed_is_the_one_that_is_served(database: Database) {
    let (_, service) = service(&database, Layout::Partitioned).await;
    let served = Api::of(&service).get("/openapi.json").await;
    let mut command = command(&["openapi"]);
    let output = command.stdout(std::process::Stdio::piped()).output().await;
    let output = output.expect("it runs");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(printed.trim_end(), served.text());
    service.close().await;
}

async fn a_health_check_tells_whether_the_service_is_ready(database: Database) {
    let (_, service) = service(&database, Layout::Partitioned).await;
    let rest = service.rest.to_string();
    let check = async |addr: &str| {
        let ended = end_of(command(&[
            "healthcheck",
            "--rest-addr",
            addr,
            "--deadline-s",
            "5",
        ]))
        .await;
        (ended.code, ended.stderr)
    };
    assert_eq!(check(&rest).await, (Some(0), String::new()));
    let by_environment = {
        let mut command = command(&["healthcheck"]);
        command.env(
            "SLUICEGATE_REST_ADDR",
            format!("0.0.0.0:{}", service.rest.port()),
        );
        end_of(command).await
    };
    assert_eq!(by_environment.code, Some(0), "{}", by_environment.stderr);
    service.close().await;

    let (code, stderr) = check(&rest).await;
    assert_eq!(code, Some(1));
    let expected = format!("sluicegate: no service answers at {rest}: ");
    assert!(stderr.starts_with(&expected), "{stderr}");
    // Something that accepts and then says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("binds");
    let addr = silent.local_addr().expect("bound").to_string();
    let ended = end_of(command(&[
        "healthcheck",
        "--rest-addr",
        &addr,
        "--deadline-s",
        "1",
    ]))
    .await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("waited 1 s"), "{}", ended.stderr);
}

async fn health(arguments: &[&str]) -> Ended {
    end_of(command(
        &[&["healthcheck", "--deadline-s", "20"], arguments].concat(),
    ))
    .await
}

/// A program whose database is away.
async fn without_a_database() -> (Program, SocketAddr) {
    let url = "mysql://nobody@127.0.0.1:1/away";
    let program = Program::spawn(url, &["--connect-deadline-s", "3600"]).await;
    let rest = program.rest;
    (program, rest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_database_is_alive_and_not_ready_for_a_reason() {
    let (program, rest) = without_a_database().await;
    let address = rest.to_string();
    let refused = format!("sluicegate: the service at {rest} is not ready: ");
    // At first it says that it starts.
    until("the reason is told", async || {
        let ready = health(&["--rest-addr", &address]).await;
        assert_eq!(ready.code, Some(1), "{}", ready.stderr);
        assert!(ready.stderr.starts_with(&refused), "{}", ready.stderr);
        ready.stderr.contains("the database is not reachable")
    })
    .await;
    let alive = health(&["--rest-addr", &address, "--live"]).await;
    assert_eq!((alive.code, alive.stderr), (Some(0), String::new()));
    program.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_takes_the_address_from_the_file_of_the_service() {
    let (program, rest) = without_a_database().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("sluicegate.yaml").display().to_string();
    // What it says of anything else is not the health check's to judge.
    let text = format!("rest_addr: 0.0.0.0:{}\ningest: {{lanes: 0}}\n", rest.port());
    std::fs::write(&file, text).expect("written");
    let alive = health(&["--live", "--config", &file]).await;
    assert_eq!((alive.code, alive.stderr), (Some(0), String::new()));
    let elsewhere = health(&["--live", "--config", &file, "--rest-addr", "127.0.0.1:1"]).await;
    assert_eq!(elsewhere.code, Some(1), "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("127.0.0.1:1: "), "a flag wins");
    program.kill().await;

    let missing = health(&["--config", "/no-such-file"]).await;
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
    assert!(
        missing.stderr.contains("/no-such-file"),
        "{}",
        missing.stderr
    );
}

/// Another server that has taken the port is no service that is not ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_at_the_address_is_told_from_the_service() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let stranger = stranger.expect("binds");
    let addr = stranger.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = stranger.accept().await {
            let _ = socket.read(&mut [0; 1_024]).await;
            let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone";
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    let ended = health(&["--rest-addr", &addr.to_string()]).await;
    let expected = format!(
        "sluicegate: http://{addr}/readyz answers 404 Not Found: is it Sluicegate that listens there?\n"
    );
    assert_eq!((ended.code, ended.stderr), (Some(1), expected));
}

//! The commands beside `serve`: `openapi` and `healthcheck`.

use std::net::TcpListener;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        program::{command, end_of},
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

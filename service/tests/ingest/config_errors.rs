//! What cannot be used as configuration ends the program with code 2 and one sentence.

use std::{ffi::OsStr, io::Write as _, os::unix::ffi::OsStrExt as _};

use crate::common::program::{Ended, command, end_of};

/// Fails if the program did not end with code 2 and a sentence that names the culprit.
fn assert_refused(ended: &Ended, culprit: &str) {
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains(culprit), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

async fn refused(arguments: &[&str], culprit: &str) {
    let ended = end_of(command(arguments)).await;
    assert_refused(&ended, culprit);
    assert_eq!(ended.stderr.lines().count(), 1, "one sentence: {ended:?}");
}

#[tokio::test]
async fn an_unknown_flag_is_named() {
    let ended = end_of(command(&["serve", "--lains", "3"])).await;
    assert_refused(&ended, "--lains");
}

#[tokio::test]
async fn an_unknown_variable_is_named() {
    let mut serve = command(&["serve", "--database-url", "mysql://root@localhost/x"]);
    serve.env("SLUICEGATE_INGEST_LAINS", "3");
    let ended = end_of(serve).await;
    assert_refused(&ended, "SLUICEGATE_INGEST_LAINS");
    assert_eq!(ended.stderr.lines().count(), 1, "one sentence: {ended:?}");
}

#[tokio::test]
async fn a_variable_of_others_may_be_any_bytes() {
    let mut config = command(&["config", "--database-url", "mysql://root@localhost/x"]);
    config.env("LC_NOTE", OsStr::from_bytes(b"caf\xe9"));
    let ended = end_of(config).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_file() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"ingest:\n  lains: 3\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    refused(&["serve", "--config", path], "lains").await;
    refused(&["serve", "--config", path], path).await;
}

#[tokio::test]
async fn a_missing_file_is_named() {
    refused(
        &["serve", "--config", "/no/such/file.yaml"],
        "/no/such/file.yaml",
    )
    .await;
}

#[tokio::test]
async fn a_value_out_of_range_is_named_with_its_range() {
    let arguments = ["serve", "--embedded-db", "--ingest-lanes", "65"];
    refused(&arguments, "ingest.lanes is 65, but must be 1 to 64").await;
    let arguments = [
        "serve",
        "--embedded-db",
        "--connect-deadline-s",
        "18446744073709551615",
    ];
    refused(&arguments, "must be 0 to 86400").await;
}

#[tokio::test]
async fn no_database_and_two_databases_are_refused() {
    refused(&["serve", "--log", "error"], "--database-url").await;
    let both = [
        "serve",
        "--embedded-db",
        "--database-url",
        "mysql://root@localhost/x",
    ];
    refused(&both, "exclude each other").await;
}

#[tokio::test]
async fn an_address_of_a_database_that_will_not_do_is_named() {
    for (url, culprit) in [
        ("mysql://root@127.0.0.1:1", "names no database"),
        ("mysql://root@127.0.0.1:1/x?require_ssl=true", "require_ssl"),
        (
            "mysql://root:pw@h:notaport/x",
            "is not of the form mysql://",
        ),
        ("postgres://root@h/x", "is not of the form mysql://"),
        ("mysql:/z:pw@h/t", "is not of the form mysql://"),
    ] {
        for subcommand in ["serve", "migrate", "config"] {
            refused(&[subcommand, "--database-url", url], culprit).await;
        }
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_named_with_flag_and_reason_once() {
    let url = "mysql://gate:s3cret@127.0.0.1:1/sensors";
    let arguments = ["serve", "--database-url", url, "--connect-deadline-s", "0"];
    let any = ["--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0"];
    let ended = end_of(command(&[&arguments[..], &any].concat())).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in ["127.0.0.1:1", "--database-url", "Connection refused"] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    assert!(!ended.stderr.contains("Input/output error"), "{ended:?}");
    assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let addr = taken.local_addr().expect("bound").to_string();
    let (free, url) = ("127.0.0.1:0", "mysql://root@127.0.0.1:1/x");
    for (flag, other) in [
        ("--grpc-addr", "--rest-addr"),
        ("--rest-addr", "--grpc-addr"),
    ] {
        let arguments = ["serve", "--database-url", url, flag, &addr, other, free];
        let ended = end_of(command(&arguments)).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let sentence = format!("cannot listen on {addr} ({flag}): Address already in use");
        assert!(ended.stderr.contains(&sentence), "{ended:?}");
    }
}

#[tokio::test]
async fn a_malformed_flag_or_variable_is_named_in_one_line() {
    let mut by_variable = command(&["serve"]);
    by_variable.env("SLUICEGATE_INGEST_LANES", "many");
    let by_flag = command(&["serve", "--ingest-lanes=many"]);
    let about =
        "sluicegate: invalid value 'many' for '--ingest-lanes <N>': invalid digit found in string";
    for (command, end) in [
        (by_flag, "\n"),
        (by_variable, " (from SLUICEGATE_INGEST_LANES)\n"),
    ] {
        let ended = end_of(command).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.stderr, format!("{about}{end}"));
    }
}

#[tokio::test]
async fn a_mistake_in_a_file_is_named_with_its_line() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"ingest:\n  lanes: [3\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    refused(&["serve", "--config", path], "line ").await;
    refused(&["serve", "--config", "/no/such/file.yaml"], "--config").await;
}

#[tokio::test]
async fn no_message_shows_the_password_of_a_malformed_address() {
    for url in [
        "root:s3cret@127.0.0.1:1/x",
        "mysql:root:s3cret@127.0.0.1:1/x",
        "mysql://root:a?s3cret@127.0.0.1:1/x",
        "mysql://root:s3cret",
    ] {
        for subcommand in ["serve", "migrate", "config"] {
            let ended = end_of(command(&[subcommand, "--database-url", url])).await;
            assert_eq!(ended.code, Some(2), "{url}: {ended:?}");
            assert!(!ended.stderr.contains("s3cret"), "{url}: {ended:?}");
        }
    }
    let shown = command(&[
        "config",
        "--database-url",
        "mysql://root:s3cret@127.0.0.1:1/x",
    ])
    .stdout(std::process::Stdio::piped())
    .output()
    .await
    .expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("database_url: "), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_log_that_is_no_terminal_has_no_colours() {
    let arguments = ["serve", "--database-url", "mysql://root@127.0.0.1:1/x"];
    let rest = ["--connect-deadline-s", "1", "--grpc-addr", "127.0.0.1:0"];
    let any = ["--rest-addr", "127.0.0.1:0"];
    let ended = end_of(command(&[&arguments[..], &rest, &any].concat())).await;
    assert!(
        ended.stderr.contains("waiting for the database"),
        "{ended:?}"
    );
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
}

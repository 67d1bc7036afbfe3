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
    ] {
        let ended = end_of(command(&["serve", "--database-url", url])).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(culprit), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "one sentence: {ended:?}");
    }
}

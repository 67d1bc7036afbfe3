//! Holds the direction of the arrows: router -> usecase -> traits of repository; model knows nobody.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(room: &str) -> Vec<(PathBuf, String)> {
    fn walk(path: &Path, found: &mut Vec<(PathBuf, String)>) {
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(&entry.unwrap().path(), found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.to_owned(), fs::read_to_string(path).unwrap()));
        }
    }
    let mut found = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room),
        &mut found,
    );
    assert!(!found.is_empty(), "there is no room {room}");
    found
}

/// Fails when a file of the room, tests inside it aside, holds one of the words.
fn expect_free_of(room: &str, words: &[&str]) {
    for (path, text) in sources(room) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for word in words {
                assert!(
                    !line.contains(word),
                    "{}:{}: {word}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

const SQL: [&str; 5] = [
    "SELECT ",
    "INSERT INTO",
    "UPDATE ",
    "DELETE FROM",
    "mysql_async",
];

#[test]
fn the_model_knows_no_other_room() {
    expect_free_of(
        "model",
        &[
            "crate::usecase",
            "crate::repository",
            "crate::router",
            "crate::config",
        ],
    );
    expect_free_of("model", &["tonic", "warp", "mysql_async", "tokio"]);
}

#[test]
fn a_use_case_knows_no_http_no_grpc_and_no_sql() {
    expect_free_of(
        "usecase",
        &[
            "crate::router",
            "crate::app",
            "crate::config",
            "repository::mysql",
        ],
    );
    expect_free_of("usecase", &["tonic", "warp", "sluicegate_proto"]);
    expect_free_of("usecase", &SQL);
}

#[test]
fn a_router_knows_no_sql() {
    expect_free_of("router", &["repository::mysql", "crate::app"]);
    expect_free_of("router", &SQL);
}

#[test]
fn a_repository_knows_no_use_case_and_no_router() {
    expect_free_of(
        "repository",
        &[
            "crate::usecase",
            "crate::router",
            "crate::app",
            "crate::config",
        ],
    );
    expect_free_of("repository", &["tonic", "warp"]);
}

//! Holds the direction of the arrows: router -> usecase -> repository; model knows nobody.

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

/// What follows `use` in the first line of a declaration.
fn begun_import(line: &str) -> Option<&str> {
    let (visibility, tree) = line.split_once("use ")?;
    let visibility = visibility.trim_end();
    matches!(visibility, "" | "pub" | "pub(crate)" | "pub(super)").then_some(tree)
}

/// The paths of an import, groups written out: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn paths(tree: &str) -> Vec<String> {
    let Some((before, group)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let group = group.trim_end();
    let group = group.strip_suffix('}').unwrap_or(group);
    let mut depth = 0;
    let branches = group.split(|letter: char| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    });
    branches
        .filter(|branch| !branch.trim().is_empty())
        .flat_map(paths)
        .map(|path| format!("{}{path}", before.trim_start()))
        .collect()
}

/// Numbered lines of code, without comments and the tests at the end; each import once more, at its last line, as the
/// paths that it stands for.
fn statements(text: &str) -> Vec<(usize, String)> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next();
    let mut found = Vec::new();
    let mut import: Option<String> = None;
    for (number, line) in (1..).zip(code.unwrap_or_default().lines()) {
        let trimmed = line.trim();
        if trimmed.starts_with("//") {
            continue;
        }
        found.push((number, line.to_owned()));
        let tree = match import.take() {
            Some(begun) => begun + trimmed,
            None => match begun_import(trimmed) {
                Some(begun) => begun.to_owned(),
                None => continue,
            },
        };
        match tree.split_once(';') {
            Some((whole, _)) => found.extend(paths(whole).into_iter().map(|path| (number, path))),
            None => import = Some(tree),
        }
    }
    found
}

/// The first statement with one of the words: its line and the word.
fn first_of<'a>(words: &[&'a str], text: &str) -> Option<(usize, &'a str)> {
    statements(text).into_iter().find_map(|(number, code)| {
        let word = words.iter().find(|&&word| code.contains(word));
        word.map(|&word| (number, word))
    })
}

/// Fails when a file of the room, tests inside it aside, holds one of the words.
fn expect_free_of(room: &str, words: &[&str]) {
    for (path, text) in sources(room) {
        if let Some((number, word)) = first_of(words, &text) {
            panic!("{}:{number}: {word}", path.display());
        }
    }
}

const SQL: [&str; 6] = [
    "SELECT ",
    "INSERT INTO",
    "UPDATE ",
    "DELETE FROM",
    "mysql_async",
    "LOAD DATA",
];

#[test]
fn an_import_is_found_inside_of_its_group() {
    let text = "\
#[cfg(test)]
mod plan_model;

pub(crate) use crate::{
    model::{Limits, Seq},
    // crate::config
    repository::{
        self, RepositoryError,
        mysql::{Layout, MySqlStorage},
    },
};

fn begin() {
    crate::router::begin();
}

#[cfg(test)]
mod tests {
    use crate::app;
}
";
    for (word, number) in [
        ("crate::model", 11),
        ("crate::repository", 11),
        ("repository::mysql", 11),
        ("crate::router", 14),
    ] {
        assert_eq!(first_of(&[word], text), Some((number, word)));
    }
    let absent = ["crate::config", "crate::app", "crate::mysql", "model::self"];
    assert_eq!(first_of(&absent, text), None);
}

#[test]
fn the_model_knows_no_other_room() {
    expect_free_of(
        "model",
        &[
            "crate::ledger",
            "crate::usecase",
            "crate::repository",
            "crate::router",
            "crate::config",
        ],
    );
    expect_free_of("model", &["tonic", "warp", "mysql_async", "tokio"]);
}

#[test]
fn the_ledger_knows_the_model_alone() {
    expect_free_of(
        "ledger",
        &[
            "crate::usecase",
            "crate::repository",
            "crate::router",
            "crate::app",
            "crate::config",
        ],
    );
    expect_free_of("ledger", &["tonic", "warp", "tokio"]);
    expect_free_of("ledger", &SQL);
}

#[test]
fn tables_know_the_model_alone() {
    expect_free_of(
        "columnar",
        &[
            "crate::ledger",
            "crate::usecase",
            "crate::repository",
            "crate::router",
            "crate::remote",
            "crate::app",
            "crate::config",
        ],
    );
    expect_free_of("columnar", &["tonic", "warp", "tokio"]);
}

#[test]
fn a_use_case_knows_no_http_no_grpc_and_no_sql() {
    expect_free_of("usecase", &["crate::router", "crate::app", "crate::config"]);
    expect_free_of("usecase", &["tonic", "warp", "hyper", "sluicegate_proto"]);
    expect_free_of("usecase", &SQL);
}

#[test]
fn a_door_that_streams_only_holds_the_conversation() {
    // What decides when a message is read, and when its acknowledgement is told.
    expect_free_of("router", &["Inflow", "Progress"]);
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

#[test]
fn the_clock_knows_nobody_who_asks_it_and_ingestion_not_its_management() {
    expect_free_of(
        "usecase/clock",
        &["usecase::ingest", "usecase::manage", "repository::mysql"],
    );
    expect_free_of("usecase/ingest", &["usecase::manage"]);
}

#[test]
fn who_calls_is_known_before_anybody_knows_what_for() {
    let others = [
        "crate::usecase",
        "crate::repository",
        "crate::router",
        "crate::app",
        "crate::config",
        "tonic",
        "warp",
    ];
    expect_free_of("auth", &others);
    expect_free_of("audit", &others);
    expect_free_of("audit", &["crate::auth", "crate::model"]);
    expect_free_of("usecase", &["crate::auth", "crate::audit"]);
}

#[test]
fn what_is_measured_is_known_to_no_one_who_measures() {
    expect_free_of("telemetry", &["use crate"]);
}

#[test]
fn the_supervisor_knows_no_task() {
    expect_free_of(
        "supervisor.rs",
        &[
            "crate::model",
            "crate::ledger",
            "crate::usecase",
            "crate::repository",
            "crate::router",
            "crate::config",
            "crate::app",
        ],
    );
}

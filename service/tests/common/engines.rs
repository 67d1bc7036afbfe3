//! Which database engines are tested.
//!
//! `SLUICEGATE_TEST_ENGINES=mariadb,mysql` demands engines; by default those that are found are tested.
//! `SLUICEGATE_TEST_MYSQLD` names the MySQL server; by default it is where `scripts/install-mysql.sh` puts it.
//! `SLUICEGATE_TEST_LAYOUT=series` tests another layout of the tables, where a test does not ask for one itself.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::ValueEnum as _;
use sluicegate::{
    embedded_db::{EmbeddedDbOptions, Engine},
    repository::mysql::Layout,
};

fn cached_mysqld() -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    set("SLUICEGATE_TEST_MYSQLD").unwrap_or_else(|| {
        set("SLUICEGATE_CACHE_DIR")
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("sluicegate")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/sluicegate")))
            .unwrap_or_default()
            .join("mysql/bin/mysqld")
    })
}

fn find_mariadbd() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join("mariadbd"))
        .find(|binary| binary.is_file())
}

/// The layout to test; None for the default.
pub(crate) fn layout() -> Option<Layout> {
    let name = std::env::var("SLUICEGATE_TEST_LAYOUT").ok()?;
    Some(Layout::from_str(&name, true).unwrap_or_else(|error| panic!("{error}")))
}

/// Whether the tested layout has numbers in place of names.
pub(crate) fn has_numbers() -> bool {
    layout() == Some(Layout::Series)
}

/// The engines to test and their servers; one that was demanded and is missing fails the test.
pub(crate) fn engines() -> Vec<(Engine, PathBuf)> {
    let mysqld = Some(cached_mysqld()).filter(|binary| binary.is_file());
    let demanded = std::env::var("SLUICEGATE_TEST_ENGINES").ok();
    let mut engines = Vec::new();
    for (name, engine, binary) in [
        ("mariadb", Engine::MariaDb, find_mariadbd()),
        ("mysql", Engine::MySql, mysqld),
    ] {
        let is_demanded = demanded
            .as_ref()
            .map(|names| names.split(',').any(|each| each.trim() == name));
        match (is_demanded, binary) {
            (Some(false), _) | (None, None) => {}
            (Some(true) | None, Some(binary)) => engines.push((engine, binary)),
            (Some(true), None) => panic!("no server found for {name}: run scripts/test.sh"),
        }
    }
    assert!(
        !engines.is_empty(),
        "no engine to test: run scripts/test.sh"
    );
    engines
}

/// Redo logs as the service makes them would take some gigabytes for each server. An engine passes over what is the other's.
const SMALL_REDO_LOG: [&str; 2] = [
    "--loose-innodb-redo-log-capacity=96M",
    "--loose-innodb-log-file-size=96M",
];

/// A server whose redo log is small, for a program that is not told its options: a script in `dir` that becomes the real one.
pub(crate) fn small_server(dir: &Path, binary: &Path) -> PathBuf {
    let script = dir.join("small-server");
    let options = SMALL_REDO_LOG.join(" ");
    let text = format!("#!/bin/sh\nexec '{}' \"$@\" {options}\n", binary.display());
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("set");
    script
}

/// Options for a server that leaves room for others, on the disk as well.
pub(crate) fn small(data_dir: &Path, binary: &Path) -> EmbeddedDbOptions {
    let mut options = EmbeddedDbOptions::new(data_dir);
    options.binary = Some(binary.to_owned());
    options.buffer_pool_bytes = Some(64 * 1024 * 1024);
    options.extra_args = SMALL_REDO_LOG.map(str::to_owned).to_vec();
    options
}

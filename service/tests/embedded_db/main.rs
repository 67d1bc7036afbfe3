//! The embedded database on every engine of this machine.
//!
//! `common/engines.rs` says which those are.

mod access;
#[path = "../common/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with tests that need more of it"
)]
mod common;
mod deaths;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::engines::{engines, small};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rustix::process::{Pid, Signal, kill_process};
use sluicegate::embedded_db::{EmbeddedDb, EmbeddedDbError};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

const ORPHAN_DIR: &str = "SLUICEGATE_TEST_ORPHAN_DIR";
const ORPHAN_BINARY: &str = "SLUICEGATE_TEST_ORPHAN_BINARY";

async fn connect(url: &str) -> Conn {
    let opts = Opts::from_url(url).expect("the URL is valid");
    Conn::new(opts).await.expect("the database answers")
}

async fn write(url: &str, n: u32) {
    let mut conn = connect(url).await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS kept (n INT PRIMARY KEY)")
        .await
        .expect("created");
    conn.exec_drop("INSERT INTO kept VALUES (?)", (n,))
        .await
        .expect("inserted");
}

async fn kept(url: &str) -> Vec<u32> {
    connect(url)
        .await
        .query("SELECT n FROM kept ORDER BY n")
        .await
        .expect("selected")
}

async fn variable(conn: &mut Conn, name: &str) -> String {
    let row: Option<(String, String)> = conn
        .query_first(format!("SHOW VARIABLES LIKE '{name}'"))
        .await
        .expect("shown");
    row.expect("the variable exists").1
}

fn is_alive(pid: u32) -> bool {
    // A zombie that nobody has reaped yet has an empty command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// A server that nobody would end, should a test fail.
struct Orphan(u32);

impl Drop for Orphan {
    fn drop(&mut self) {
        if is_alive(self.0) {
            let pid = Pid::from_raw(self.0 as i32).expect("a process");
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

async fn assert_dies(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} is still alive");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn committed_data_survives_stop_restart_and_kill() {
    for (engine, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let mut db = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts");
        assert_eq!(db.engine(), engine);
        let (url, first) = (db.url(), db.pid().expect("it runs"));
        write(&url, 1).await;

        db.restart().await.expect("restarts");
        assert_ne!(db.pid(), Some(first));
        assert_eq!(db.url(), url);
        write(&url, 2).await;

        db.kill().await.expect("dies");
        assert_eq!(db.pid(), None);
        db.restart().await.expect("recovers");
        assert_eq!(kept(&url).await, [1, 2]);

        db.stop().await.expect("stops");
        drop(db);
        let db = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts anew");
        assert_eq!(kept(&db.url()).await, [1, 2]);

        let pid = db.pid().expect("it runs");
        drop(db);
        assert_dies(pid).await;
    }
}

/// A MariaDB that starts removes the temporary tables of whoever shares its folder for them.
#[tokio::test]
async fn servers_that_start_together_leave_each_other_alone() {
    for (_, binary) in engines() {
        let start = |number: usize| {
            let binary = binary.clone();
            async move {
                let dir = TempDir::new().expect("a directory");
                let db = EmbeddedDb::start(small(dir.path(), &binary)).await;
                let db = db.unwrap_or_else(|error| panic!("server {number}: {error}"));
                let temporary = variable(&mut connect(&db.url()).await, "tmpdir").await;
                assert!(
                    Path::new(&temporary).starts_with(db.data_dir()),
                    "{temporary}"
                );
            }
        };
        futures::future::join_all((0..4).map(start)).await;
    }
}

#[tokio::test]
async fn the_server_is_durable_and_takes_local_data() {
    for (engine, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let db = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts");
        let mut conn = connect(&db.url()).await;
        for (name, value) in [
            ("local_infile", "ON"),
            ("innodb_flush_log_at_trx_commit", "1"),
            ("innodb_doublewrite", "ON"),
            ("innodb_autoinc_lock_mode", "2"),
            ("log_bin", "OFF"),
            ("skip_networking", "ON"),
            ("performance_schema", "OFF"),
            ("max_allowed_packet", "67108864"),
            ("innodb_buffer_pool_size", "67108864"),
            ("character_set_database", "utf8mb4"),
            ("collation_database", "utf8mb4_bin"),
            ("collation_server", "utf8mb4_bin"),
        ] {
            assert_eq!(variable(&mut conn, name).await, value, "{name} on {engine}");
        }
    }
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    for (_, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let db = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts");
        let refused = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect_err("is in use");
        let EmbeddedDbError::InUse { owner, .. } = &refused else {
            panic!("another error: {refused}");
        };
        assert_eq!(*owner, std::process::id().to_string());
        // The one that was first is not disturbed.
        write(&db.url(), 1).await;
    }
}

#[tokio::test]
async fn the_server_of_a_killed_parent_is_replaced() {
    for (_, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let mut parent = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "be_a_parent_to_be_killed",
            ])
            .env(ORPHAN_DIR, dir.path())
            .env(ORPHAN_BINARY, &binary)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the parent runs");
        let mut lines = BufReader::new(parent.stdout.take().expect("piped")).lines();
        let orphan: u32 = loop {
            let line = lines
                .next_line()
                .await
                .expect("readable")
                .expect("the parent says the pid");
            if let Some((_, pid)) = line.split_once("server pid ") {
                break pid.parse().expect("a number");
            }
        };
        let _cleanup = Orphan(orphan);

        let refused = EmbeddedDb::start(small(dir.path(), &binary)).await;
        assert!(
            matches!(refused, Err(EmbeddedDbError::InUse { .. })),
            "the parent lives"
        );

        parent.kill().await.expect("killed");
        assert!(is_alive(orphan), "nothing ends the server yet");
        let db = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts");
        assert!(!is_alive(orphan));
        assert_eq!(kept(&db.url()).await, [7]);
    }
}

#[tokio::test]
#[ignore = "the process that the_server_of_a_killed_parent_is_replaced kills"]
async fn be_a_parent_to_be_killed() {
    let (Some(dir), Some(binary)) = (
        std::env::var_os(ORPHAN_DIR),
        std::env::var_os(ORPHAN_BINARY),
    ) else {
        return;
    };
    let db = EmbeddedDb::start(small(Path::new(&dir), Path::new(&binary)))
        .await
        .expect("starts");
    write(&db.url(), 7).await;
    println!("server pid {}", db.pid().expect("it runs"));
    sleep(Duration::from_secs(300)).await;
}

#[tokio::test]
async fn a_port_is_opened_only_when_asked_for() {
    for (_, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let mut options = small(dir.path(), &binary);
        options.tcp_port = Some(0);
        let mut db = EmbeddedDb::start(options).await.expect("starts");
        let url = db.tcp_url().expect("a port was asked for");
        write(&url, 1).await;
        db.kill().await.expect("dies");
        db.restart().await.expect("restarts");
        assert_eq!(db.tcp_url().as_deref(), Some(url.as_str()));
        assert_eq!(kept(&url).await, [1]);
        db.stop().await.expect("stops");
        drop(db);

        let db = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts");
        assert_eq!(db.tcp_url(), None);
        assert_eq!(kept(&db.url()).await, [1]);
    }
}

#[tokio::test]
async fn a_long_and_odd_directory_name_works() {
    for (_, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let long = dir.path().join("a directory & more ü".repeat(6));
        let db = EmbeddedDb::start(small(&long, &binary))
            .await
            .expect("starts");
        assert!(db.socket().as_os_str().len() < 108);
        write(&db.url(), 1).await;
    }
}

#[tokio::test]
async fn a_failed_start_quotes_the_log() {
    for (_, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let mut options = small(dir.path(), &binary);
        options.extra_args.push("--no-such-setting=1".to_owned());
        let error = EmbeddedDb::start(options)
            .await
            .expect_err("an unknown setting");
        assert!(matches!(error, EmbeddedDbError::Start { .. }));
        assert!(error.to_string().contains("no-such-setting"), "{error}");

        // Nothing is left in the way of the next try.
        EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts");
    }
}

#[tokio::test]
async fn the_database_of_another_engine_is_refused() {
    let engines = engines();
    let [(_, one), (_, other)] = engines.as_slice() else {
        return;
    };
    let dir = TempDir::new().expect("a directory");
    EmbeddedDb::start(small(dir.path(), one))
        .await
        .expect("starts");
    let error = EmbeddedDb::start(small(dir.path(), other))
        .await
        .expect_err("refused");
    assert!(
        matches!(error, EmbeddedDbError::OtherEngine { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_server_is_refused_in_words() {
    let dir = TempDir::new().expect("a directory");
    for binary in ["/bin/false", "/bin/no-such-server"] {
        let error = EmbeddedDb::start(small(dir.path(), Path::new(binary)))
            .await
            .expect_err("no server");
        assert!(error.to_string().contains("--embedded-db-bin"), "{error}");
    }
}

//! A server that ends while the service runs: killed, told to end by somebody else, or again and again.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use sluicegate::embedded_db::EmbeddedDb;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::common::{
    engines::{engines, small},
    http,
    program::Program,
    readings::reading,
    service::{Client, connect},
    until,
};

/// The server of a program; None while there is none.
fn server_of(program: &Program) -> Option<Pid> {
    let runs = |&(_, state): &(i32, char)| state != 'Z';
    let (pid, _) = program.children().into_iter().find(runs)?;
    // Before it becomes the server it is a copy of the program.
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_server = String::from_utf8_lossy(&command).contains("--datadir=");
    is_server.then(|| Pid::from_raw(pid)).flatten()
}

async fn until_served(program: &Program, except: Option<Pid>) -> Pid {
    let another = || server_of(program).filter(|&pid| Some(pid) != except);
    until("a server runs", async || another().is_some()).await;
    another().expect("it runs")
}

/// Sends a reading until it is stored.
async fn store(client: &mut Client, n: u64) {
    for _ in 0..300 {
        match client.send_sensor_reading(reading(n)).await {
            Ok(reply) => return assert_eq!(reply.into_inner().committed, 1),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("reading {n} is not stored");
}

async fn is_ready(program: &Program) -> bool {
    matches!(http::get(program.rest, "/readyz").await, Ok((200, _)))
}

async fn assert_ends_well(program: Program) {
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn a_server_that_ends_is_started_again() {
    for (engine, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let program = Program::start_embedded(dir.path(), &binary).await;
        let mut client = connect(program.grpc).await;
        store(&mut client, 1).await;
        // SIGTERM makes it end by itself, with status 0.
        for (n, signal) in [(2, Signal::KILL), (3, Signal::TERM)] {
            let server = until_served(&program, None).await;
            kill_process(server, signal).expect("sent");
            until_served(&program, Some(server)).await;
            store(&mut client, n).await;
            until("the service is ready", async || is_ready(&program).await).await;
            let zombies: Vec<_> = program.children();
            assert!(
                zombies.iter().all(|&(_, state)| state != 'Z'),
                "{zombies:?} on {engine}"
            );
        }
        assert_ends_well(program).await;
        let db = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts");
        assert!(stored(&db).await >= 3, "{engine}");
    }
}

async fn stored(db: &EmbeddedDb) -> u64 {
    use mysql_async::prelude::Queryable as _;
    let mut conn = crate::connect(&db.url()).await;
    let count = conn
        .query_first("SELECT COUNT(*) FROM sensor_readings")
        .await;
    count.expect("counted").expect("a row")
}

#[tokio::test]
async fn a_server_that_keeps_dying_is_given_up_aloud() {
    for (engine, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let mut program = Program::start_embedded(dir.path(), &binary).await;
        let mut deaths = 0;
        // Killed as soon as it is there, so that it dies often in a minute on the slowest machine.
        let give_up_at = Instant::now() + Duration::from_secs(60);
        while !program.has_ended() {
            assert!(Instant::now() < give_up_at, "{deaths} deaths, and no end");
            if let Some(server) = server_of(&program) {
                kill_process(server, Signal::KILL).expect("sent");
                let is_gone = async || server_of(&program) != Some(server);
                until("the server is gone", is_gone).await;
                deaths += 1;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(1), "{engine}: {}", ended.stderr);
        assert_eq!(deaths, 5, "{engine}: {}", ended.stderr);
        let sentence = "the embedded database has ended 5 times within 60 s, at last with";
        assert!(
            ended.stderr.contains(sentence),
            "{engine}: {}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("server.log ends with:"),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn a_service_ends_in_order_while_its_server_is_away() {
    for (_, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let program = Program::start_embedded(dir.path(), &binary).await;
        let server = until_served(&program, None).await;
        kill_process(server, Signal::KILL).expect("sent");
        assert_ends_well(program).await;
        assert_nobody_serves(dir.path());
    }
}

#[tokio::test]
async fn a_server_that_stands_still_holds_the_end_up_for_no_longer_than_the_deadline() {
    for (_, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let flags = ["--shutdown-deadline-s", "2"];
        let program = Program::start_embedded_with(dir.path(), &binary, &flags).await;
        let server = until_served(&program, None).await;
        kill_process(server, Signal::STOP).expect("sent");
        program.terminate();
        // Without the limit it would be a minute more.
        let ended = tokio::time::timeout(Duration::from_secs(40), program.ended()).await;
        let ended = ended.expect("it ends");
        assert!(
            ended.stderr.contains("did not stop in time"),
            "{}",
            ended.stderr
        );
        assert_nobody_serves(dir.path());
    }
}

/// No process that was started on this folder is left.
fn assert_nobody_serves(data_dir: &Path) {
    let data_dir = format!("--datadir={}", data_dir.display());
    for entry in std::fs::read_dir("/proc").expect("readable").flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        assert!(!command.contains(&data_dir), "{command}");
    }
}

#[tokio::test]
async fn a_server_that_is_dead_already_can_be_stopped_and_restarted() {
    for (_, binary) in engines() {
        let dir = TempDir::new().expect("a directory");
        let mut db = EmbeddedDb::start(small(dir.path(), &binary))
            .await
            .expect("starts");
        for _ in 0..2 {
            let pid = Pid::from_raw(db.pid().expect("it runs") as i32).expect("a process");
            kill_process(pid, Signal::KILL).expect("sent");
            until("it is dead", async || {
                !crate::is_alive(pid.as_raw_nonzero().get() as u32)
            })
            .await;
            db.restart().await.expect("restarts");
        }
        db.stop().await.expect("stops");
        db.stop().await.expect("is stopped");
    }
}

//! Who answers in the database's place gets nothing: no file, no password, no acknowledgement, no memory without end.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use tokio::time::Instant;

use crate::{
    common::{
        database::Database,
        engines::has_numbers,
        http, on_each_engine,
        program::{Ended, Program, command, end_of},
        readings::reading,
        service::connect,
        until,
    },
    database_tls::other_address,
    fake_mysql::{FOREIGN_FILE, FakeServer, Liar, Lie, Trick},
};

const SECRET: &str = "s3cr3t-canary";
/// What the service may take more while somebody fills its memory, bytes.
const MORE_MEMORY: u64 = 160 << 20;
/// How long it is tried, where nothing ends it before.
const TRIED_FOR: Duration = Duration::from_secs(8);

on_each_engine! {
    a_load_that_is_counted_wrongly_is_not_acknowledged,
    a_file_that_was_not_offered_is_not_sent,
    rows_without_end_fill_no_memory,
    columns_without_end_fill_no_memory,
    a_packet_without_end_fills_no_memory,
    a_ledger_without_end_fills_no_memory,
}

/// Starts on this server, and returns how that ended.
async fn start(host: &str, port: u16, arguments: &[&str]) -> Ended {
    let url = format!("mysql://somebody:{SECRET}@{host}:{port}/sensors");
    let mut serve = command(&["serve", "--database-url", &url, "--connect-deadline-s", "0"]);
    serve
        .args(["--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0"])
        .args(arguments);
    end_of(serve).await
}

fn assert_one_sentence(ended: &Ended, code: i32, part: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    let sentences = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("sluicegate: "));
    assert_eq!(sentences.count(), 1, "{ended:?}");
    assert!(ended.stderr.contains(part), "{ended:?}");
    assert!(!ended.stderr.contains(SECRET), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

#[tokio::test]
async fn the_clear_password_is_not_said_even_on_this_host() {
    let fake = FakeServer::start("127.0.0.1", Trick::ClearPassword).await;
    let ended = start("127.0.0.1", fake.port, &[]).await;
    assert_one_sentence(&ended, 2, "mysql_clear_password");
    assert!(fake.has_heard("somebody") && !fake.has_heard(SECRET));
}

#[tokio::test]
async fn a_server_elsewhere_hears_nothing_before_it_is_verified() {
    let Some(address) = other_address() else {
        eprintln!("this host has no address but the loopback's: nothing was tested");
        return;
    };
    let address = address.to_string();
    for trick in [Trick::OwnKey, Trick::ClearPassword, Trick::AsksForAFile] {
        let fake = FakeServer::start(&address, trick).await;
        let ended = start(&address, fake.port, &[]).await;
        assert_one_sentence(&ended, 2, "has a password");
        assert_eq!(fake.heard(), b"", "{trick:?}");
        // Verified it is to be, and it has no TLS at all.
        let url = format!(
            "mysql://somebody:{SECRET}@{address}:{}/sensors?ssl-mode=verify-identity",
            fake.port
        );
        let ended = end_of(command(&["migrate", "--database-url", &url])).await;
        assert_one_sentence(&ended, 2, "offers no TLS");
        assert_eq!(fake.heard(), b"", "{trick:?}");
    }
    // Who says so gives it away, encrypted for whoever answers, and is warned; but never as it is.
    let fake = FakeServer::start(&address, Trick::ClearPassword).await;
    let ended = start(&address, fake.port, &["--database-insecure", "true"]).await;
    assert_one_sentence(&ended, 2, "mysql_clear_password");
    assert!(!fake.has_heard(SECRET));
}

#[tokio::test]
async fn a_file_is_not_sent_for_a_question() {
    let fake = FakeServer::start("127.0.0.1", Trick::AsksForAFile).await;
    let ended = start("127.0.0.1", fake.port, &[]).await;
    assert_one_sentence(&ended, 2, "asks for a file of this host");
    assert!(!fake.has_heard("root:"));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let fake = FakeServer::start("127.0.0.1", Trick::Silence).await;
    let ended = start("127.0.0.1", fake.port, &[]).await;
    assert_one_sentence(&ended, 1, "no answer to a connection");
}

/// A service whose database is behind a liar.
async fn behind(database: &Database, lie: Lie, about: &'static str) -> (Liar, Program) {
    let liar = Liar::start(database.tcp_port(), lie, about).await;
    let url = format!("{}&ssl-mode=disabled", database.tcp_url(liar.port));
    let program = Program::start(
        &url,
        &["--ingest-lanes", "1", "--ingest-commit-deadline-ms", "2000"],
    );
    (liar, program.await)
}

async fn a_load_that_is_counted_wrongly_is_not_acknowledged(database: Database) {
    for lie in [Lie::Counts, Lie::Warnings] {
        let (liar, program) = behind(&database, lie, "LOAD").await;
        let before = database.count("sensor_readings").await;
        let mut client = connect(program.grpc).await;
        liar.lie(true);
        let reply = client.send_sensor_reading(reading(1)).await;
        assert!(
            reply
                .as_ref()
                .map_or(true, |reply| reply.get_ref().committed == 0),
            "{lie:?}: {reply:?}"
        );
        assert_eq!(database.count("sensor_readings").await, before, "{lie:?}");
        liar.lie(false);
        until("readings are stored again", async || {
            let mut client = client.clone();
            let reply = client.send_sensor_reading(reading(2)).await;
            reply.is_ok_and(|reply| reply.get_ref().committed == 1)
        })
        .await;
        program.kill().await;
    }
}

async fn a_file_that_was_not_offered_is_not_sent(database: Database) {
    let (liar, program) = behind(&database, Lie::FileName, "LOAD").await;
    liar.lie(true);
    let mut client = connect(program.grpc).await;
    // Whatever name is asked for, what is sent is the reading.
    let _ = client.send_sensor_reading(reading(3)).await;
    until("the reading is heard", async || liar.has_heard("gate-3")).await;
    let file = std::fs::read_to_string(FOREIGN_FILE).expect("readable");
    let first = file.lines().next().expect("a line");
    assert!(!liar.has_heard(first), "{first}");
    program.terminate();
    let ended = program.ended().await;
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

/// Asks for readings while the answer is a lie, and returns how the memory of the service grew.
async fn grown(database: &Database, lie: Lie) -> (Program, u64) {
    // What is asked first of a pair.
    let question = match has_numbers() {
        true => "FROM series",
        false => "FROM sensor_readings",
    };
    let (liar, program) = behind(database, lie, question).await;
    let before = program.peak_bytes();
    liar.lie(true);
    let path = "/sensor/ids?id1=-2&id2=gate-1";
    let asking = tokio::time::timeout(TRIED_FOR, http::get(program.rest, path));
    if let Ok(answer) = asking.await {
        let (status, said) = answer.expect("an answer");
        assert!(status >= 500, "{status} {said}");
    }
    liar.lie(false);
    let grown = program.peak_bytes() - before;
    (program, grown)
}

/// The service goes on: its memory is bounded, and what it is asked next is answered.
async fn assert_bounded(database: &Database, lie: Lie) -> Ended {
    let (program, grown) = grown(database, lie).await;
    eprintln!("{lie:?}: {} MiB more", grown >> 20);
    assert!(grown < MORE_MEMORY, "{lie:?}: {} MiB more", grown >> 20);
    let path = "/sensor/ids?id1=-2&id2=gate-1";
    until("the truth is answered", async || {
        http::get(program.rest, path)
            .await
            .is_ok_and(|(status, _)| status == 200)
    })
    .await;
    program.terminate();
    let ended = program.ended().await;
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    ended
}

async fn rows_without_end_fill_no_memory(database: Database) {
    let ended = assert_bounded(&database, Lie::Rows).await;
    let sentence = "goes on for longer than any question";
    assert_eq!(ended.stderr.matches(sentence).count(), 1, "{ended:?}");
}

async fn columns_without_end_fill_no_memory(database: Database) {
    assert_bounded(&database, Lie::Columns(100_000)).await;
}

async fn a_packet_without_end_fills_no_memory(database: Database) {
    assert_bounded(&database, Lie::Packet).await;
}

async fn a_ledger_without_end_fills_no_memory(database: Database) {
    let (liar, program) = behind(&database, Lie::Rows, "FROM ingest_streams FORCE INDEX").await;
    let before = program.peak_bytes();
    let mut client = connect(program.grpc).await;
    liar.lie(true);
    let began = Instant::now();
    while began.elapsed() < TRIED_FOR / 2 {
        let reply = client.send_sensor_reading(reading(1)).await;
        assert!(reply.is_err(), "{reply:?}");
    }
    liar.lie(false);
    let grown = program.peak_bytes() - before;
    assert!(grown < MORE_MEMORY, "{} MiB more", grown >> 20);
    until("readings are stored again", async || {
        let mut client = client.clone();
        let reply = client.send_sensor_reading(reading(2)).await;
        reply.is_ok_and(|reply| reply.get_ref().committed == 1)
    })
    .await;
    let mut conn = database.connect().await;
    let open: Option<u64> = conn
        .query_first("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE()")
        .await
        .expect("counts");
    assert!(open < Some(40), "{open:?} connections");
    program.terminate();
    let ended = program.ended().await;
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

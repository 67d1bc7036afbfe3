//! Clients that take nothing of their answers: few of them are kept, none for long, and in little memory (P4).

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::common::{
    database::Database,
    http, on_each_engine,
    program::Program,
    readings::{self as numbered, BASE_US},
    service::connect,
    until, web,
};

on_each_engine! {
    exports_beyond_the_most_are_told_to_come_again,
    a_client_that_takes_nothing_is_cut_off,
    hundreds_of_stalled_clients_take_little_memory,
    connections_beyond_the_most_wait_for_a_place,
}

/// Some ten megabytes as NDJSON: more than sockets keep for a client that does not read.
const MANY: u64 = 60_000;
/// What all stalled answers together may add to the program's memory.
const GROWTH_LIMIT_BYTES: u64 = 64 << 20;

fn all() -> String {
    let from = BASE_US / 1_000;
    format!("/sensor/time?from_time={from}&to_time={}", from + 600_000)
}

async fn filled(database: &Database, arguments: &[&str]) -> Program {
    let program = Program::start(&database.url(), arguments).await;
    let mut client = connect(program.grpc).await;
    let batch = numbered::columns(numbered::column_batch(0..MANY));
    let sent = client.stream_readings(tokio_stream::iter([batch])).await;
    assert_eq!(sent.expect("stored").into_inner().committed, MANY);
    program
}

/// Asks over a connection whose client keeps next to nothing for itself.
async fn ask(rest: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("set");
    let mut client = socket.connect(rest).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client
        .write_all(request.as_bytes())
        .await
        .expect("takes it");
    client
}

/// The status, of which no more than that is read.
async fn status(client: &mut TcpStream) -> u16 {
    let mut begin = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(50), client.read_exact(&mut begin));
    read.await.expect("in time").expect("an answer");
    let text = String::from_utf8_lossy(&begin[9..]).into_owned();
    text.parse().expect("a status")
}

/// Waits until the program takes no more memory: answers fill what is there for them after their heads are sent.
async fn settled(program: &Program) {
    let mut last = 0;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = program.resident_bytes();
        if now <= last + (1 << 20) {
            return;
        }
        last = now;
    }
}

async fn end(program: Program) {
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn exports_beyond_the_most_are_told_to_come_again(database: Database) {
    let program = filled(&database, &[]).await;
    let export = all() + "&format=ndjson";
    let mut stalled = Vec::new();
    for _ in 0..16 {
        let mut client = ask(program.rest, &export).await;
        assert_eq!(status(&mut client).await, 200);
        stalled.push(client);
    }
    let answer = web::client()
        .get(format!("http://{}{export}", program.rest))
        .send()
        .await;
    let answer = answer.expect("answers");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    let problem: serde_json::Value = answer.json().await.expect("JSON");
    let expected =
        "16 exports are under way, the most at once (rest.max_exports): try again in a moment.";
    assert_eq!(problem["detail"], expected);
    // Pages are no exports.
    let page = http::get(program.rest, &(all() + "&limit=10")).await;
    assert_eq!(page.expect("answers").0, 200);
    drop(stalled);
    until("there is a turn again", || async {
        status(&mut ask(program.rest, &export).await).await == 200
    })
    .await;
    end(program).await;
}

async fn a_client_that_takes_nothing_is_cut_off(database: Database) {
    let arguments = ["--rest-write-deadline-s", "1", "--rest-max-exports", "1"];
    let program = filled(&database, &arguments).await;
    let export = all() + "&format=ndjson";
    let mut stalled = ask(program.rest, &export).await;
    assert_eq!(status(&mut stalled).await, 200);
    // It is still there, and no longer in the way.
    until("the next export has its turn", || async {
        status(&mut ask(program.rest, &export).await).await == 200
    })
    .await;
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = stalled.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it shows as incomplete");
    let read = tokio::time::timeout(Duration::from_secs(5), stalled.read(&mut [0])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    end(program).await;
}

async fn hundreds_of_stalled_clients_take_little_memory(database: Database) {
    let program = filled(&database, &[]).await;
    // What any client makes it load.
    assert_eq!(status(&mut ask(program.rest, &all()).await).await, 200);
    let before = program.resident_bytes();
    let export = all() + "&format=ndjson";
    let page = all() + "&limit=10000";
    let mut stalled = Vec::new();
    for _ in 0..150 {
        stalled.push(ask(program.rest, &export).await);
        stalled.push(ask(program.rest, &page).await);
    }
    let mut answered = [0; 2];
    for client in &mut stalled {
        match status(client).await {
            200 => answered[0] += 1,
            503 => answered[1] += 1,
            other => panic!("{other}"),
        }
    }
    settled(&program).await;
    let grown = program.peak_bytes().saturating_sub(before);
    eprintln!(
        "{} answered, {} told to come again, {} MiB more than before",
        answered[0],
        answered[1],
        grown >> 20
    );
    assert!(grown < GROWTH_LIMIT_BYTES, "{grown} bytes");
    for path in ["/readyz", "/streams?limit=10"] {
        let answer = http::get(program.rest, path).await.expect("answers");
        assert_eq!(answer.0, 200, "{path}: {}", answer.1);
    }
    drop(stalled);
    end(program).await;
}

async fn connections_beyond_the_most_wait_for_a_place(database: Database) {
    let program = Program::start(&database.url(), &["--rest-max-connections", "2"]).await;
    let idle = [
        TcpStream::connect(program.rest).await.expect("connects"),
        TcpStream::connect(program.rest).await.expect("connects"),
    ];
    let mut third = ask(program.rest, "/healthz").await;
    let early = tokio::time::timeout(Duration::from_millis(500), third.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    drop(idle);
    assert_eq!(status(&mut third).await, 200);
    drop(third);
    end(program).await;
}

//! The program dies at each step of the path of a batch: what was acknowledged is stored, and on resume everything is
//! there once (P1, P2).

use crate::common::{
    alone_on_each_engine,
    database::Database,
    logged_on_each_engine,
    program::Program,
    readings::{assert_stored, column_batch, columns},
    service::{AckedCall, connect, open},
};

alone_on_each_engine! {
    a_batch_that_is_sealed_when_the_program_dies_is_stored_once,
    a_batch_that_is_loaded_when_the_program_dies_is_stored_once,
    a_batch_that_is_committed_when_the_program_dies_is_stored_once,
    a_batch_that_is_acknowledged_when_the_program_dies_is_stored_once,
}

mod replays {
    use super::*;

    alone_on_each_engine! {
        a_replay_that_is_loaded_when_the_program_dies_is_stored_once,
        a_replay_that_is_committed_when_the_program_dies_is_stored_once,
    }
}

async fn a_replay_that_is_loaded_when_the_program_dies_is_stored_once(database: Database) {
    replayed_once_although_it_dies_at(&database, "replay-load", 600).await;
}

async fn a_replay_that_is_committed_when_the_program_dies_is_stored_once(database: Database) {
    replayed_once_although_it_dies_at(&database, "replay-commit", 400).await;
}

/// Replays a quarantine of a thousand in steps of two hundred; the program dies in the third.
async fn replayed_once_although_it_dies_at(database: &Database, point: &str, left: u64) {
    const ROWS: u64 = 1_000;
    /// July 2026, after `ingest.earliest`.
    const SOME_TIME_US: u64 = 1_783_000_000_000_000;
    let actions = format!("{point}=2*off->return");
    let program = Program::start_with(&database.url(), &[], &[("FAILPOINTS", &actions)]).await;
    let rows: Vec<String> = (1..ROWS + 1)
        .map(|n| {
            let timestamp_us = SOME_TIME_US + n;
            format!(
                "({n}, 'reading', 'no', '{n}', 't', {n}, 'a', {timestamp_us}, UTC_TIMESTAMP(6))"
            )
        })
        .collect();
    database
        .run(&format!(
            "INSERT INTO rejected_readings (seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us, \
             rejected_at) VALUES {}",
            rows.join(",")
        ))
        .await;
    let replay = async |program: &Program| {
        let url = format!("http://{}/rejections/replay?limit=10000", program.rest);
        crate::common::web::client().post(url).send().await
    };
    assert!(replay(&program).await.is_err(), "it died");
    let ended = program.ended().await;
    assert_eq!(ended.code, None, "it died at {point}: {}", ended.stderr);
    assert_eq!(database.count("rejected_readings").await, left);
    assert_eq!(database.count("sensor_readings").await, ROWS - left);

    let program = Program::start(&database.url(), &[]).await;
    let answer = replay(&program).await.expect("answers");
    assert_eq!(answer.status(), 200);
    assert_eq!(database.count("rejected_readings").await, 0);
    let stored = database.stored().await;
    let mut ids: Vec<_> = stored.iter().map(|it| it.reading.id1 as u64).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..ROWS + 1).collect::<Vec<_>>());
    program.kill().await;
}

mod pieces {
    use super::*;

    logged_on_each_engine! {
        a_batch_that_is_halved_when_the_program_dies_is_stored_once,
        a_half_that_is_committed_when_the_program_dies_is_stored_once,
        a_stream_that_goes_to_the_slow_lane_when_the_program_dies_is_stored_once,
    }
}

const STREAM: &str = "failpoints";
const MESSAGE: u64 = 500;
const MESSAGES: u64 = 8;

async fn a_batch_that_is_sealed_when_the_program_dies_is_stored_once(database: Database) {
    stored_once_although_it_dies_at(&database, "seal", false).await;
}

async fn a_batch_that_is_loaded_when_the_program_dies_is_stored_once(database: Database) {
    stored_once_although_it_dies_at(&database, "load", false).await;
}

async fn a_batch_that_is_committed_when_the_program_dies_is_stored_once(database: Database) {
    stored_once_although_it_dies_at(&database, "commit", true).await;
}

async fn a_batch_that_is_acknowledged_when_the_program_dies_is_stored_once(database: Database) {
    stored_once_although_it_dies_at(&database, "ack", true).await;
}

/// Sends message after message, each acknowledged before the next, until the program dies with the third.
async fn stored_once_although_it_dies_at(database: &Database, point: &str, is_committed: bool) {
    let actions = format!("{point}=2*off->return");
    let program = Program::start_with(&database.url(), &[], &[("FAILPOINTS", &actions)]).await;
    let mut client = connect(program.grpc).await;
    let at = open(&mut client, STREAM).await;
    let mut call = AckedCall::resume(&mut client, STREAM, &at).await;
    let mut acked = 0;
    for message in 0..MESSAGES {
        let first = message * MESSAGE + 1;
        call.send(columns(column_batch(first..first + MESSAGE)))
            .await;
        while acked < first + MESSAGE - 1 {
            match call.ack().await {
                Ok(Some(ack)) => acked = ack.committed_seq,
                Ok(None) | Err(_) => break,
            }
        }
        if acked < first + MESSAGE - 1 {
            break;
        }
    }
    let ended = program.ended().await;
    assert_eq!(ended.code, None, "it died at {point}: {}", ended.stderr);
    let expected = if is_committed { 3 } else { 2 } * MESSAGE;
    assert_stored(database, 1..expected + 1).await;
    assert!(acked <= expected, "acknowledged is committed");

    let program = Program::start(&database.url(), &[]).await;
    let mut client = connect(program.grpc).await;
    let at = open(&mut client, STREAM).await;
    assert_eq!(at.committed_seq, expected);
    let mut call = AckedCall::resume(&mut client, STREAM, &at).await;
    call.send(columns(column_batch(expected + 1..MESSAGES * MESSAGE + 1)))
        .await;
    call.until_acked(MESSAGES * MESSAGE).await;
    assert_stored(database, 1..MESSAGES * MESSAGE + 1).await;
    database.assert_ledger_balances().await;
    program.kill().await;
}

/// More than one transaction may write.
const BIG: u64 = 10_000;

async fn a_batch_that_is_halved_when_the_program_dies_is_stored_once(database: Database) {
    Program::start(&database.url(), &[]).await.kill().await;
    database
        .run("SET GLOBAL max_binlog_cache_size = 65536")
        .await;
    let stored = stored_once_although_big(&database, "halve=1*off->return").await;
    assert_eq!(stored, 0, "nothing was committed");
}

async fn a_half_that_is_committed_when_the_program_dies_is_stored_once(database: Database) {
    Program::start(&database.url(), &[]).await.kill().await;
    database
        .run("SET GLOBAL max_binlog_cache_size = 65536")
        .await;
    let stored = stored_once_although_big(&database, "commit=2*off->return").await;
    assert!((1..BIG).contains(&stored), "{stored} were committed");
}

async fn a_stream_that_goes_to_the_slow_lane_when_the_program_dies_is_stored_once(
    database: Database,
) {
    Program::start(&database.url(), &[]).await.kill().await;
    database
        .run("ALTER TABLE sensor_readings ADD CONSTRAINT sane CHECK (sensor_value > 200)")
        .await;
    for point in ["move=return", "commit=return"] {
        let program = Program::start_with(&database.url(), &[], &[("FAILPOINTS", point)]).await;
        send_all(&program, 1_000).await;
        assert_eq!(program.ended().await.code, None, "it died at {point}");
        database.assert_ledger_balances().await;
    }
    let program = Program::start(&database.url(), &[]).await;
    send_all(&program, 1_000).await;
    assert_stored(&database, 201..1_001).await;
    assert_eq!(database.count("rejected_readings").await, 200);
    database.assert_ledger_balances().await;
    program.kill().await;
}

/// Sends one message that is too big for a transaction, to a program that dies, and to one that does not. Returns what
/// was stored in between.
async fn stored_once_although_big(database: &Database, actions: &str) -> u64 {
    let program = Program::start_with(&database.url(), &[], &[("FAILPOINTS", actions)]).await;
    send_all(&program, BIG).await;
    let ended = program.ended().await;
    assert_eq!(ended.code, None, "it died: {}", ended.stderr);
    let stored = database.count("sensor_readings").await;
    assert_stored(database, 1..stored + 1).await;

    let program = Program::start(&database.url(), &[]).await;
    let at = open(&mut connect(program.grpc).await, STREAM).await;
    assert_eq!(at.committed_seq, stored);
    send_all(&program, BIG).await;
    assert_stored(database, 1..BIG + 1).await;
    database.assert_ledger_balances().await;
    program.kill().await;
    stored
}

/// Sends the rest of the stream in one message, and waits until it is acknowledged or the program has gone.
async fn send_all(program: &Program, all: u64) {
    let mut client = connect(program.grpc).await;
    let at = open(&mut client, STREAM).await;
    if at.committed_seq == all {
        return;
    }
    let mut call = AckedCall::resume(&mut client, STREAM, &at).await;
    call.send(columns(column_batch(at.committed_seq + 1..all + 1)))
        .await;
    while let Ok(Some(ack)) = call.ack().await {
        if ack.committed_seq >= all {
            return;
        }
    }
}

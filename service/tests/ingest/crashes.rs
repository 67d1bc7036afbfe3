//! SIGKILL of the service and of the database in mid-stream: what was acknowledged is there, nothing is there twice,
//! and nothing is missing (P1, P2).

use std::{ops::ControlFlow, time::Duration};

use sluicegate_proto::v1::OpenStreamRequest;
use tokio::time::timeout;
use tonic::Code;

use crate::common::{
    self, alone_on_each_engine,
    database::Database,
    program::Program,
    readings::{assert_stored, column_batch, columns, resume},
    service::{AckedCall, Client, Service, connect, open},
};

const STREAM: &str = "survivor";
const READINGS: u64 = 40_000;
const MESSAGE: u64 = 250;
/// Far longer than the deadline of what is waited for.
const LIMIT: Duration = Duration::from_secs(15);

alone_on_each_engine! {
    a_stream_goes_on_after_the_service_was_killed,
    a_stream_outlives_crashes_of_the_database,
    a_database_that_stands_still_holds_no_call,
}

/// Sends what the stream lacks, and returns at its end, when the call fails, or when `watch` says so; with the last
/// position that was acknowledged.
async fn send_rest(
    client: &mut Client,
    mut watch: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<u64, u64> {
    let at = open(client, STREAM).await;
    let mut call = AckedCall::resume(client, STREAM, &at).await;
    let messages = call.messages.clone();
    let sending = tokio::spawn(async move {
        let mut next = at.committed_seq + 1;
        while next <= READINGS {
            let end = (next + MESSAGE).min(READINGS + 1);
            if messages
                .send(columns(column_batch(next..end)))
                .await
                .is_err()
            {
                return;
            }
            next = end;
        }
    });
    let mut acked = at.committed_seq;
    let result = loop {
        match call.ack().await {
            Ok(Some(ack)) => acked = ack.committed_seq,
            Ok(None) | Err(_) => break Err(acked),
        }
        if acked == READINGS {
            break Ok(acked);
        }
        if watch(acked).is_break() {
            break Err(acked);
        }
    };
    sending.abort();
    result
}

/// Breaks once something was acknowledged beyond `from`.
fn once_beyond(from: u64) -> impl FnMut(u64) -> ControlFlow<()> {
    move |acked| {
        if acked > from {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

async fn a_stream_goes_on_after_the_service_was_killed(database: Database) {
    let mut acked = 0;
    for round in 1..=3 {
        let program = Program::start(&database.url(), &["--ingest-lanes", "2"]).await;
        let mut client = connect(program.grpc).await;
        let sent = send_rest(&mut client, once_beyond(acked.max(round * READINGS / 5))).await;
        program.kill().await;
        acked = sent.unwrap_or_else(|acked| acked);
        assert!(
            database.count("sensor_readings").await >= acked,
            "acknowledged is committed"
        );
    }
    let service = Service::start(&database).await;
    let at = service.open(STREAM).await;
    assert!(at.committed_seq >= acked, "an acknowledged position stands");
    let all = send_rest(&mut service.client().await, |_| ControlFlow::Continue(())).await;
    assert_eq!(all, Ok(READINGS));
    assert_stored(&database, 1..READINGS + 1).await;
    service.close().await;
}

async fn a_stream_outlives_crashes_of_the_database(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let at = service.open(STREAM).await;
    let mut call = AckedCall::resume(&mut client, STREAM, &at).await;
    let mut next = 1;
    for _ in 0..2 {
        for _ in 0..20 {
            call.send(columns(column_batch(next..next + MESSAGE))).await;
            next += MESSAGE;
        }
        let acked = call.until_acked(next - 10 * MESSAGE).await.committed_seq;
        database.server.kill().await;
        // What is sent while the database is away waits for it.
        call.send(columns(column_batch(next..next + MESSAGE))).await;
        next += MESSAGE;
        database.server.restart().await;
        assert!(
            database.count("sensor_readings").await >= acked,
            "acknowledged is committed"
        );
        call.until_acked(next - 1).await;
    }
    assert_eq!(call.finish().await.committed_seq, next - 1);
    assert_stored(&database, 1..next).await;
    // Pooled connections recover as well.
    common::until("the ledger answers", async || {
        let request = OpenStreamRequest {
            stream_id: "another".to_owned(),
            resume: None,
        };
        client.clone().open_stream(request).await.is_ok()
    })
    .await;
    let retries = service.figure("retries").await;
    assert!(retries > 0, "loads were tried again");
    service.close().await;
}

async fn a_database_that_stands_still_holds_no_call(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.ingest.commit_deadline_ms = Some(500);
    })
    .await;
    let mut client = service.client().await;
    let at = service.open("held").await;
    database.server.pause().await;
    let opening = client.open_stream(OpenStreamRequest {
        stream_id: "held".to_owned(),
        resume: None,
    });
    let opened = timeout(LIMIT, opening).await;
    let messages = [resume("held", &at), columns(column_batch(1..11))];
    let streaming = client.stream_readings(tokio_stream::iter(messages));
    let streamed = timeout(LIMIT, streaming).await;
    database.server.resume().await;
    for answer in [
        opened.map(|answer| answer.map(drop)),
        streamed.map(|answer| answer.map(drop)),
    ] {
        let refused = answer.expect("answered").expect_err("no database");
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    }
    let at = service.open("free").await;
    let messages = [resume("free", &at), columns(column_batch(1..11))];
    let stored = client.stream_readings(tokio_stream::iter(messages)).await;
    assert_eq!(stored.expect("stored").into_inner().committed, 10);
    service.close().await;
}

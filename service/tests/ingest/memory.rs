//! Memory is bounded (P4) whatever a message holds: of bad readings, and of dictionaries.

use mysql_async::prelude::Queryable as _;
use sluicegate::model::KEPT_CHARS;
use sluicegate_proto::v1::{ColumnBatch, StreamReadingsRequest};
use tonic::{Code, Status};

use crate::common::{
    self,
    database::Database,
    on_each_engine,
    program::Program,
    readings::{assert_stored, column_batch, columns, reading},
    service::{AckedCall, Client, Service, connect},
};

on_each_engine! {
    rejected_readings_share_the_text_of_their_series,
    many_small_dictionaries_are_held_to_their_budget,
    without_room_for_dictionaries_each_message_can_bring_its_own,
}

const BUDGET_BYTES: u64 = 16 << 20;
/// Buffers of messages and connections, and what the allocator does not give back.
const SLACK_BYTES: u64 = 16 << 20;
const BAD: usize = 50_000;

async fn rejected_readings_share_the_text_of_their_series(database: Database) {
    let budget = BUDGET_BYTES.to_string();
    let arguments = ["--ingest-lanes", "1", "--ingest-budget-bytes", &budget];
    let program = Program::start(&database.url(), &arguments).await;
    program.limit_memory(2 << 30);
    let mut client = connect(program.grpc).await;
    client
        .send_sensor_reading(reading(1))
        .await
        .expect("stored");
    let peak_before = program.peak_bytes();

    // The last one is good.
    let mut batch = column_batch(2..3);
    batch.series.push(batch.series[0].clone());
    batch.series[0].id2 = "x".repeat(2 << 20);
    let good_index = batch.series_index[0];
    let bad = ColumnBatch {
        series_index: [vec![0; BAD], vec![good_index]].concat(),
        sensor_value: [vec![1.0; BAD], batch.sensor_value.clone()].concat(),
        timestamp_delta_us: [vec![0; BAD], batch.timestamp_delta_us.clone()].concat(),
        ..batch
    };
    let reply = client
        .stream_readings(tokio_stream::iter([columns(bad)]))
        .await;
    let reply = reply.expect("answered").into_inner();
    assert_eq!((reply.committed, reply.rejected), (1, BAD as u64));
    assert!(reply.rejected_readings.iter().all(|one| one.field == "id2"));

    let grown = program.peak_bytes() - peak_before;
    assert!(
        grown <= BUDGET_BYTES + SLACK_BYTES,
        "{grown} bytes for {BAD} bad readings"
    );
    assert_stored(&database, 1..3).await;
    let kept =
        "SELECT COUNT(*), MIN(CHAR_LENGTH(id2)), MAX(CHAR_LENGTH(id2)) FROM rejected_readings";
    let mut conn = database.connect().await;
    let kept: Option<(usize, usize, usize)> = conn.query_first(kept).await.expect("counts");
    assert_eq!(kept, Some((BAD, KEPT_CHARS, KEPT_CHARS)));
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
    database.assert_ledger_balances().await;
}

const DICTIONARY_BYTES: usize = 1 << 20;
const SERIES: usize = 500;
const ID_CHARS: usize = 40;

/// A message with a dictionary of some 25 KB and the n-th reading, whose series is the last of it.
fn with_dictionary(n: u64, extend_dictionary: bool) -> StreamReadingsRequest {
    let mut batch = column_batch(n..n + 1);
    let series = batch.series.swap_remove(batch.series_index[0] as usize);
    batch.series = vec![series.clone(); SERIES - 1];
    for (number, series) in batch.series.iter_mut().enumerate() {
        series.id2 = format!("{number:0>ID_CHARS$}");
    }
    batch.series.push(series);
    batch.series_index = vec![SERIES as u32 - 1];
    batch.extend_dictionary = extend_dictionary;
    columns(batch)
}

/// The n-th reading, of the last series that the call has announced.
fn of_known_series(n: u64) -> StreamReadingsRequest {
    let mut batch = column_batch(n..n + 1);
    batch.series.clear();
    batch.series_index = vec![SERIES as u32 - 1];
    batch.extend_dictionary = true;
    columns(batch)
}

async fn start(database: &Database) -> Service {
    Service::start_with(database, |settings| {
        settings.ingest.dictionary_bytes = Some(DICTIONARY_BYTES);
        settings.ingest.lanes = Some(1);
    })
    .await
}

/// Opens calls with a dictionary each, one after the other; the n-th sends reading n.
async fn open_calls(
    client: &mut Client,
    numbers: std::ops::Range<u64>,
) -> Vec<Result<AckedCall, Status>> {
    let mut calls = Vec::new();
    for n in numbers {
        let mut call = AckedCall::begin(client, with_dictionary(n, true)).await;
        calls.push(loop {
            match call.ack().await {
                Ok(ack) if ack.as_ref().expect("not ended").committed == 1 => break Ok(call),
                Ok(_) => {}
                Err(status) => break Err(status),
            }
        });
    }
    calls
}

fn assert_refused(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(
        status.message().contains("ingest.dictionary_bytes"),
        "{status:?}"
    );
}

async fn many_small_dictionaries_are_held_to_their_budget(database: Database) {
    const CALLS: u64 = 100;
    let service = start(&database).await;
    let mut client = service.client().await;
    let calls = open_calls(&mut client, 1..CALLS + 1).await;
    let (kept, refused): (Vec<_>, Vec<_>) = calls.into_iter().partition(Result::is_ok);
    assert!(
        !kept.is_empty() && kept.len() * SERIES * ID_CHARS <= DICTIONARY_BYTES,
        "{} kept",
        kept.len()
    );
    for call in refused {
        assert_refused(&call.err().expect("refused"));
    }
    // Calls that were there before go on, with nothing new in their dictionary.
    let mut kept: Vec<_> = kept.into_iter().flatten().collect();
    for (n, call) in (1..).zip(&mut kept) {
        call.send(of_known_series(n)).await;
        assert_eq!(call.until_acked(2).await.rejected, 0);
    }
    // Their end makes room again.
    for call in kept {
        call.finish().await;
    }
    common::until("there is room", async || {
        let call = open_calls(&mut client.clone(), 1..2).await.remove(0);
        match call {
            Ok(call) => call.finish().await.committed == 1,
            Err(_) => false,
        }
    })
    .await;
    service.close().await;
}

async fn without_room_for_dictionaries_each_message_can_bring_its_own(database: Database) {
    let service = start(&database).await;
    let mut client = service.client().await;
    let full = open_calls(&mut client, 1..101).await;
    assert!(full.iter().any(Result::is_err));
    // What the refused ones sent is committed all the same.
    service.assert_books_balance().await;
    let stored = database.count("sensor_readings").await;
    let mut call = AckedCall::begin(&mut client, with_dictionary(1_000, false)).await;
    for n in 1..10 {
        call.send(with_dictionary(1_000 + n, false)).await;
    }
    let ack = call.until_acked(10).await;
    assert_eq!((ack.committed, ack.rejected), (10, 0));
    assert_eq!(database.count("sensor_readings").await, stored + 10);
    // What was not kept cannot be extended, and nothing is stored of readings that point into it.
    call.send(of_known_series(1_010)).await;
    assert_refused(&call.failure().await);
    drop(full);
    service.assert_books_balance().await;
    assert_eq!(database.count("sensor_readings").await, stored + 10);
    service.close().await;
}

//! `WatchReadings`: over gRPC what `/live` tells over REST.

use std::time::Duration;

use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{SeriesPair, SeriesTags, WatchReadingsRequest, WatchReadingsResponse};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        program::Program,
        readings::{BASE_US, column_batch, columns},
        service::{Client, Service, connect},
        tokens::{Tokens, with_token},
        until,
    },
    live::{row, send},
};

on_each_engine! {
    a_call_is_told_what_was_stored_and_then_what_comes,
    a_call_that_reads_slowly_gets_fewer_messages_and_every_count,
    a_call_that_reads_nothing_takes_no_memory_and_holds_no_shutdown_up,
    tags_and_types_choose_what_a_call_is_told,
    a_call_is_told_why_it_ends,
    who_may_not_read_may_not_watch,
    what_a_call_cannot_watch_is_refused_with_its_field,
    both_doors_share_the_room_of_those_who_watch,
}

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

type Messages = Streaming<WatchReadingsResponse>;

fn of(pairs: &[&str]) -> WatchReadingsRequest {
    let pair = |id2: &&str| SeriesPair {
        id1: 1,
        id2: (*id2).to_owned(),
    };
    WatchReadingsRequest {
        pairs: pairs.iter().map(pair).collect(),
        interval_ms: 20,
        ..WatchReadingsRequest::default()
    }
}

async fn watch(service: &Service, request: WatchReadingsRequest) -> Result<Messages, Status> {
    let mut client = service.client().await;
    Ok(client.watch_readings(request).await?.into_inner())
}

/// The next message; None at the end.
async fn next(messages: &mut Messages) -> Result<Option<WatchReadingsResponse>, Status> {
    let message = tokio::time::timeout(PATIENCE, messages.message());
    message.await.expect("something within the patience")
}

/// The readings of the next message, sorted, as those of an event.
async fn told(messages: &mut Messages) -> Vec<(String, String, f64, i64, u64)> {
    let message = next(messages).await.expect("no error").expect("a message");
    let readings = message.readings.into_iter().map(|one| {
        assert_eq!(one.id1, 1);
        let at = one.timestamp_us - BASE_US;
        (one.id2, one.sensor_type, one.sensor_value, at, one.count)
    });
    let mut readings: Vec<_> = readings.collect();
    readings.sort_by(|one, two| one.partial_cmp(two).expect("numbers"));
    readings
}

async fn a_call_is_told_what_was_stored_and_then_what_comes(database: Database) {
    let service = Service::start(&database).await;
    let stored = [("a", "t", 1.0, 10), ("a", "t", 2.0, 20), ("b", "t", 3.0, 5)];
    send(&service, &stored).await;
    let mut both = watch(&service, of(&["a", "b"])).await.expect("watches");
    let limited = WatchReadingsRequest {
        limit: 2,
        ..of(&["none"])
    };
    let mut none = watch(&service, limited).await.expect("watches");
    let table = [row("a", "t", 2.0, 20, 0), row("b", "t", 3.0, 5, 0)];
    assert_eq!(told(&mut both).await, table);
    assert_eq!(told(&mut none).await, []);
    send(&service, &[("a", "t", 4.0, 30)]).await;
    assert_eq!(told(&mut both).await, [row("a", "t", 4.0, 30, 1)]);
    send(&service, &[("b", "t", 5.0, 1), ("c", "t", 6.0, 2)]).await;
    assert_eq!(told(&mut both).await, [row("b", "t", 5.0, 1, 1)]);
    send(&service, &[("none", "t", 7.0, 3)]).await;
    assert_eq!(told(&mut none).await, [row("none", "t", 7.0, 3, 1)]);
    assert_eq!(next(&mut none).await.expect("a good end"), None);
    service.close().await;
}

async fn a_call_that_reads_slowly_gets_fewer_messages_and_every_count(database: Database) {
    let service = Service::start(&database).await;
    let request = WatchReadingsRequest {
        interval_ms: 1_000,
        ..of(&["a"])
    };
    let mut slow = watch(&service, request).await.expect("watches");
    assert_eq!(told(&mut slow).await, []);
    let batches = 40_i64;
    for n in 0..batches {
        let readings: Vec<_> = (0..25).map(|m| ("a", "t", n as f64, n * 25 + m)).collect();
        send(&service, &readings).await;
    }
    let (mut messages, mut count, mut last) = (0, 0, -1);
    while count < batches as u64 * 25 {
        let told = told(&mut slow).await;
        let [(_, _, _, at, readings)] = told.as_slice() else {
            panic!("one series: {told:?}");
        };
        assert!(*at > last, "{told:?} behind {last}");
        (messages, count, last) = (messages + 1, count + readings, *at);
    }
    assert_eq!((count, last), (batches as u64 * 25, batches * 25 - 1));
    assert!(
        messages < batches,
        "{messages} messages for {batches} batches"
    );
    service.close().await;
}

/// So many series fill the window of a call, which is 64 KiB, within a few messages.
const PAIRS: usize = 400;
/// What calls that read nothing may add to the memory of the program, all together: their room, and some of the rest.
const GROWTH_LIMIT_BYTES: u64 = 24 << 20;

async fn a_call_that_reads_nothing_takes_no_memory_and_holds_no_shutdown_up(database: Database) {
    let program = Program::start(&database.url(), &[]).await;
    let names: Vec<String> = (0..PAIRS).map(|n| format!("{n:050}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut producer = connect(program.grpc).await;
    let mut batch = column_batch(0..0);
    batch.series.truncate(1);
    let series = batch.series.remove(0);
    batch.series = names
        .iter()
        .map(|name| {
            let mut series = series.clone();
            (series.id1, series.id2) = (1, (*name).to_owned());
            series
        })
        .collect();
    batch.series_index = (0..PAIRS as u32).collect();
    batch.sensor_value = vec![1.5; PAIRS];
    batch.timestamp_delta_us = (0..PAIRS as i64).collect();
    let before = program.peak_bytes();
    let mut watchers = Vec::new();
    for _ in 0..10 {
        // A client that takes as little as HTTP/2 has it before it reads: others take megabytes.
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", program.grpc));
        let endpoint = endpoint
            .expect("an address")
            .initial_stream_window_size(65_535);
        let channel = endpoint.connect().await.expect("connects");
        let mut client = Client::new(channel);
        let messages = client.watch_readings(of(&names)).await.expect("watches");
        watchers.push(messages.into_inner());
    }
    let (sent, rounds) = (columns(batch), 100);
    for _ in 0..rounds {
        let stored = producer
            .stream_readings(tokio_stream::iter([sent.clone()]))
            .await;
        assert_eq!(stored.expect("stored").into_inner().committed, PAIRS as u64);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let grown = program.peak_bytes() - before;
    eprintln!("{} KiB more than before", grown >> 10);
    assert!(grown < GROWTH_LIMIT_BYTES, "{grown} bytes");
    // One that begins to read gets few messages, and every reading is counted.
    let (mut count, mut messages) = (0, 0);
    while count < (rounds * PAIRS) as u64 {
        let told = next(&mut watchers[0])
            .await
            .expect("no error")
            .expect("a message");
        count += told.readings.iter().map(|one| one.count).sum::<u64>();
        messages += 1;
    }
    assert!(
        messages < rounds / 2,
        "{messages} messages for {rounds} batches"
    );
    program.terminate();
    let ended = tokio::time::timeout(Duration::from_secs(20), program.ended());
    let ended = ended.await.expect("it ends");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

async fn tags_and_types_choose_what_a_call_is_told(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Series);
    })
    .await;
    let stored = [("a", "t", 1.0, 1), ("a", "p", 2.0, 1), ("b", "t", 3.0, 1)];
    send(&service, &stored).await;
    let mut tagging = column_batch(0..0);
    tagging.series = [("a", "p"), ("b", "t")]
        .map(|(id2, sensor_type)| sluicegate_proto::v1::Series {
            id1: 1,
            id2: id2.to_owned(),
            sensor_type: sensor_type.to_owned(),
        })
        .into();
    tagging.series_index = vec![0, 1];
    tagging.sensor_value = vec![2.0, 3.0];
    tagging.timestamp_delta_us = vec![2, 2];
    tagging.series_tags = (0..2)
        .map(|series_index| SeriesTags {
            series_index,
            tags: [("site".to_owned(), "north".to_owned())].into(),
        })
        .collect();
    let mut client = service.client().await;
    let sent = client
        .stream_readings(tokio_stream::iter([columns(tagging)]))
        .await;
    assert_eq!(sent.expect("stored").into_inner().committed, 2);
    let tags = || [("site".to_owned(), "north".to_owned())].into();
    let tagged = || WatchReadingsRequest {
        tags: tags(),
        ..of(&[])
    };
    // The tags are written a moment later.
    until("the tags are there", async || {
        let mut messages = watch(&service, tagged()).await.expect("watches");
        told(&mut messages).await.len() == 2
    })
    .await;
    let mut tagged = watch(&service, tagged()).await.expect("watches");
    let mut of_a = watch(
        &service,
        WatchReadingsRequest {
            tags: tags(),
            ..of(&["a"])
        },
    )
    .await
    .expect("watches");
    let typed = WatchReadingsRequest {
        sensor_type: "t".to_owned(),
        ..of(&["a", "b"])
    };
    let mut typed = watch(&service, typed).await.expect("watches");
    assert_eq!(
        told(&mut tagged).await,
        [row("a", "p", 2.0, 2, 0), row("b", "t", 3.0, 2, 0)]
    );
    assert_eq!(told(&mut of_a).await, [row("a", "p", 2.0, 2, 0)]);
    assert_eq!(
        told(&mut typed).await,
        [row("a", "t", 1.0, 1, 0), row("b", "t", 3.0, 2, 0)]
    );
    send(
        &service,
        &[("a", "t", 4.0, 3), ("a", "p", 5.0, 3), ("b", "p", 6.0, 3)],
    )
    .await;
    assert_eq!(told(&mut tagged).await, [row("a", "p", 5.0, 3, 1)]);
    assert_eq!(told(&mut of_a).await, [row("a", "p", 5.0, 3, 1)]);
    assert_eq!(told(&mut typed).await, [row("a", "t", 4.0, 3, 1)]);
    service.close().await;
}

async fn a_call_is_told_why_it_ends(database: Database) {
    let tokens = Tokens::new();
    let (stays, goes) = (tokens.make("stays", "read"), tokens.make("goes", "read"));
    let service = Service::start_with(&database, |settings| tokens.asked_for(settings)).await;
    let watch = async |token: &str| {
        let mut client = service.client().await;
        let answer = client.watch_readings(with_token(of(&["a"]), token)).await;
        answer.expect("watches").into_inner()
    };
    let (mut one, mut other) = (watch(&stays).await, watch(&goes).await);
    assert_eq!(
        (told(&mut one).await, told(&mut other).await),
        (vec![], vec![])
    );
    let mut client = service.client().await;
    let mut in_a_hurry = with_token(of(&["a"]), &stays);
    in_a_hurry.set_timeout(Duration::from_millis(300));
    let mut in_a_hurry = client
        .watch_readings(in_a_hurry)
        .await
        .expect("watches")
        .into_inner();
    assert_eq!(told(&mut in_a_hurry).await, []);
    let late = next(&mut in_a_hurry).await.expect_err("late");
    assert!(
        matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{late:?}"
    );
    tokens.revoke(&goes);
    let ended = next(&mut other).await.expect_err("revoked");
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert!(ended.message().contains("was revoked"), "{ended:?}");
    let closing = tokio::time::timeout(Duration::from_secs(30), service.close());
    let (ended, closed) = tokio::join!(next(&mut one), closing);
    let ended = ended.expect_err("shut down");
    assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
    assert!(ended.message().contains("shutting down"), "{ended:?}");
    closed.expect("closed");
}

async fn who_may_not_read_may_not_watch(database: Database) {
    let tokens = Tokens::new();
    let writes = tokens.make("writes", "ingest,write");
    let service = Service::start_with(&database, |settings| tokens.asked_for(settings)).await;
    let mut client = service.client().await;
    let refused = client.watch_readings(with_token(of(&["a"]), &writes)).await;
    let refused = refused.expect_err("no scope");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    assert!(refused.message().contains("read"), "{refused:?}");
    let refused = client
        .watch_readings(of(&["a"]))
        .await
        .expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    service.close().await;
}

async fn what_a_call_cannot_watch_is_refused_with_its_field(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Partitioned);
    })
    .await;
    for (request, field) in [
        (of(&[]), "pairs"),
        (of(&["a", ""]), "pairs[1].id2"),
        (
            WatchReadingsRequest {
                interval_ms: 19,
                ..of(&["a"])
            },
            "interval_ms",
        ),
    ] {
        let refused = watch(&service, request).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let details = refused.get_error_details();
        let violations = &details.bad_request().expect("details").field_violations;
        assert_eq!(violations[0].field, field, "{refused:?}");
    }
    let tags = [("site".to_owned(), "north".to_owned())].into();
    let refused = watch(&service, WatchReadingsRequest { tags, ..of(&[]) }).await;
    let refused = refused.expect_err("no series");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    service.close().await;
}

async fn both_doors_share_the_room_of_those_who_watch(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.rest.live_bytes = Some(1 << 20);
        settings.grpc.max_open_calls = Some(100);
    })
    .await;
    let api = Api::of(&service);
    // 20 KiB each; a connection has at most a quarter of the calls.
    let mut client = service.client().await;
    let mut watchers = Vec::new();
    for n in 0..50 {
        if n % 20 == 0 {
            client = service.client().await;
        }
        let answer = client.watch_readings(of(&["a"])).await;
        watchers.push(answer.expect("watches").into_inner());
    }
    let refused = client
        .watch_readings(of(&["a"]))
        .await
        .expect_err("half of the calls");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(
        refused.message().contains("grpc.max_open_calls"),
        "{refused:?}"
    );
    let last = api.request(reqwest::Method::GET, "/live?id1=1&id2=a");
    let last = last.send().await.expect("an answer");
    assert_eq!(last.status(), 200);
    let crowded = api
        .send_any(api.request(reqwest::Method::GET, "/live?id1=1&id2=a"))
        .await;
    crowded.problem(503, "busy", None);
    watchers.pop();
    // Its room goes to REST.
    let mut again = None;
    while again.is_none() {
        let asked = api.request(reqwest::Method::GET, "/live?id1=1&id2=a");
        let answer = asked.send().await.expect("an answer");
        again = Some(answer).filter(|answer| answer.status() == 200);
    }
    let refused = client
        .watch_readings(of(&["a"]))
        .await
        .expect_err("no room");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("rest.live_bytes"), "{refused:?}");
    let details = refused.get_error_details();
    assert!(details.retry_info().is_some(), "{refused:?}");
    drop((watchers, last, again));
    service.close().await;
}

//! The positions of sources: kept with the readings before them, in one transaction, and nowhere else.

use sluicegate_proto::{
    producer::Producer,
    v1::{StreamReadingsRequest, StreamReadingsResponse},
};
use tonic::{Code, Status};

use crate::common::{
    database::Database,
    http, on_each_engine,
    program::Program,
    readings::{assert_stored, column_batch, columns, header, reading, readings, resume, rows},
    service::{AckedCall, Client, Service, connect, open},
};

on_each_engine! {
    a_position_is_kept_with_its_message_and_told_wherever_the_stream_is_asked_for,
    a_message_without_readings_moves_the_position_on,
    a_message_that_is_sent_again_does_not_move_the_position_back,
    a_position_is_kept_of_named_streams_and_no_longer_than_it_may_be,
    a_thousand_streams_with_the_longest_positions_are_stored,
    a_producer_goes_on_at_its_sources_position,
    after_a_kill_position_and_readings_agree,
}

const STREAM: &str = "source";

fn at(position: impl Into<Vec<u8>>, mut message: StreamReadingsRequest) -> StreamReadingsRequest {
    message.source_position = position.into();
    message
}

async fn stream(
    client: &mut Client,
    messages: Vec<StreamReadingsRequest>,
) -> Result<StreamReadingsResponse, Status> {
    let call = client.stream_readings(tokio_stream::iter(messages));
    call.await.map(tonic::Response::into_inner)
}

async fn a_position_is_kept_with_its_message_and_told_wherever_the_stream_is_asked_for(
    database: Database,
) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let opened = service.open(STREAM).await;
    assert_eq!(
        (&opened.source_position[..], opened.source_seq),
        (&b""[..], 0)
    );
    let mut call = AckedCall::resume(&mut client, STREAM, &opened).await;
    call.send(at("one", rows(readings(1..11)))).await;
    assert_eq!(call.until_acked(10).await.source_position, b"one");
    call.send(at("two", columns(column_batch(11..21)))).await;
    assert_eq!(call.until_acked(20).await.source_position, b"two");
    call.send(rows(readings(21..26))).await;
    assert_eq!(call.finish().await.source_position, b"two");

    let opened = service.open(STREAM).await;
    assert_eq!(
        (&opened.source_position[..], opened.source_seq),
        (&b"two"[..], 20)
    );
    assert_eq!(opened.committed_seq, 25);
    let (status, shown) = http::get(service.rest, "/streams/source")
        .await
        .expect("answers");
    assert_eq!(status, 200);
    assert_eq!(
        (&shown["source_position"], &shown["source_seq"]),
        (&"dHdv".into(), &20.into())
    );
    // A call that brings none is told the one that there is.
    let messages = vec![resume(STREAM, &opened), rows(readings(26..31))];
    let stored = stream(&mut client, messages).await.expect("stored");
    assert_eq!(stored.source_position, b"two");
    assert_stored(&database, 1..31).await;
    service.close().await;
}

async fn a_message_without_readings_moves_the_position_on(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let opened = service.open(STREAM).await;
    let nothing = StreamReadingsRequest::default;
    let messages = vec![
        resume(STREAM, &opened),
        at("before", nothing()),
        rows(readings(1..6)),
        at("behind", nothing()),
    ];
    let stored = stream(&mut client, messages).await.expect("stored");
    assert_eq!(
        (stored.committed, &stored.source_position[..]),
        (5, &b"behind"[..])
    );
    let opened = service.open(STREAM).await;
    assert_eq!(
        (&opened.source_position[..], opened.source_seq),
        (&b"behind"[..], 5)
    );
    let messages = vec![resume(STREAM, &opened), at("later", nothing())];
    let stored = stream(&mut client, messages).await.expect("stored");
    assert_eq!(
        (stored.received, &stored.source_position[..]),
        (0, &b"later"[..])
    );
    let opened = service.open(STREAM).await;
    assert_eq!(
        (&opened.source_position[..], opened.source_seq),
        (&b"later"[..], 5)
    );
    assert_stored(&database, 1..6).await;
    service.close().await;
}

async fn a_message_that_is_sent_again_does_not_move_the_position_back(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let opened = service.open(STREAM).await;
    let messages = |header| {
        vec![
            header,
            at("one", rows(readings(1..6))),
            at("two", rows(readings(6..11))),
        ]
    };
    stream(&mut client, messages(resume(STREAM, &opened)))
        .await
        .expect("stored");
    let again = vec![
        header(STREAM, opened.epoch, 1),
        at("one", rows(readings(1..6))),
    ];
    let stored = stream(&mut client, again).await.expect("there already");
    assert_eq!(
        (stored.duplicate, &stored.source_position[..]),
        (5, &b"two"[..])
    );
    let opened = service.open(STREAM).await;
    assert_eq!(
        (&opened.source_position[..], opened.source_seq),
        (&b"two"[..], 10)
    );
    // One whose second half is new has a position that is new.
    let overlapping = vec![
        header(STREAM, opened.epoch, 6),
        at("three", rows(readings(6..16))),
    ];
    stream(&mut client, overlapping).await.expect("stored");
    let opened = service.open(STREAM).await;
    assert_eq!(
        (&opened.source_position[..], opened.source_seq),
        (&b"three"[..], 15)
    );
    assert_stored(&database, 1..16).await;
    service.close().await;
}

async fn a_position_is_kept_of_named_streams_and_no_longer_than_it_may_be(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let opened = service.open(STREAM).await;
    let begin = resume(STREAM, &opened);
    let with = |message| vec![begin.clone(), message];
    for (messages, field, reason) in [
        (
            vec![at("x", rows(readings(1..2)))],
            "source_position",
            "named stream",
        ),
        (
            with(at(vec![7; 1_025], rows(readings(1..2)))),
            "source_position",
            "1025 bytes, 1024 are the most",
        ),
        (vec![at("x", begin.clone())], "source_position", "header"),
    ] {
        let refused = stream(&mut client, messages).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let message = refused.message();
        assert!(
            message.contains(field) && message.contains(reason),
            "{message}"
        );
    }
    let longest = with(at(vec![0xff; 1_024], rows(readings(1..2))));
    let stored = stream(&mut client, longest).await.expect("stored");
    assert_eq!(stored.source_position, vec![0xff; 1_024]);
    assert_eq!(
        service.open(STREAM).await.source_position,
        vec![0xff; 1_024]
    );
    service.close().await;
}

/// Names and positions of a batch have to fit into a packet.
async fn a_thousand_streams_with_the_longest_positions_are_stored(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.ingest.lanes = Some(1);
        settings.ingest.linger_ms = Some(200);
    })
    .await;
    const STREAMS: u64 = 1_000;
    let mut calls = tokio::task::JoinSet::new();
    let client = service.client().await;
    for n in 1..=STREAMS {
        let mut client = client.clone();
        calls.spawn(async move {
            let name = format!("{}{n:05}", "ü".repeat(123));
            let opened = open(&mut client, &name).await;
            let messages = vec![
                resume(&name, &opened),
                at(vec![n as u8; 1_024], rows(vec![reading(n)])),
            ];
            stream(&mut client, messages)
                .await
                .expect("stored")
                .source_position
        });
        if calls.len() >= 200 {
            calls.join_next().await;
        }
    }
    calls.join_all().await;
    assert_stored(&database, 1..STREAMS + 1).await;
    let marked = database
        .count("ingest_streams WHERE LENGTH(source_position) = 1024 AND source_seq = 1")
        .await;
    assert_eq!(marked, STREAMS);
    service.close().await;
}

/// Its source counts its readings, and it tells of every tenth.
async fn push(producer: &mut Producer, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let (at, series) = (reading(n), reading(n));
        let series = producer.series(series.id1, &series.id2, &series.sensor_type);
        let (value, timestamp_us) = (at.sensor_value(), at.timestamp_us());
        let pushed = match n % 10 {
            0 => {
                let position = n.to_string();
                producer
                    .push_with_position(series, value, timestamp_us, position)
                    .await
            }
            _ => producer.push(series, value, timestamp_us).await,
        };
        assert_eq!(pushed.expect("taken"), n);
    }
}

fn source_of(producer: &Producer) -> u64 {
    let position = producer.source_position().unwrap_or(b"0".to_vec());
    String::from_utf8(position)
        .expect("digits")
        .parse()
        .expect("a number")
}

async fn connected(address: std::net::SocketAddr) -> Producer {
    let builder = Producer::builder(format!("http://{address}")).stream_id(STREAM);
    builder.connect().await.expect("connects")
}

async fn a_producer_goes_on_at_its_sources_position(database: Database) {
    let service = Service::start(&database).await;
    let mut first = connected(service.grpc).await;
    assert_eq!(
        (first.source_position(), first.rewind_to_source_position()),
        (None, 1)
    );
    push(&mut first, 1..26).await;
    first.flush().await.expect("durable");
    assert_eq!(source_of(&first), 20);
    let too_long = first
        .mark_source_position(vec![0; 1_025])
        .expect_err("refused");
    assert!(too_long.to_string().contains("1025 bytes"), "{too_long}");
    drop(first);

    let mut second = connected(service.grpc).await;
    assert_eq!((source_of(&second), second.next_seq()), (20, 26));
    assert_eq!(second.rewind_to_source_position(), 21);
    push(&mut second, 21..41).await;
    assert_eq!(second.rewind_to_source_position(), 41, "too late");
    let books = second.close().await.expect("stored");
    assert_eq!((books.committed, books.duplicate), (15, 5));
    // Less of what is there already than the stream has.
    let mut third = connected(service.grpc).await;
    assert_eq!(third.rewind_to_source_position(), 41);
    push(&mut third, 41..46).await;
    third.close().await.expect("stored");
    let mut fourth = connected(service.grpc).await;
    assert_eq!(fourth.rewind_to_source_position(), 41);
    push(&mut fourth, 41..43).await;
    let books = fourth.close().await.expect("there already");
    assert_eq!((books.committed, books.duplicate), (0, 2));
    assert_stored(&database, 1..46).await;
    service.close().await;
}

async fn after_a_kill_position_and_readings_agree(database: Database) {
    const READINGS: u64 = 60_000;
    let mut kills = 0;
    loop {
        let program = Program::start(&database.url(), &[]).await;
        let mut client = connect(program.grpc).await;
        let opened = open(&mut client, STREAM).await;
        let source = String::from_utf8(opened.source_position.clone()).expect("digits");
        let source: u64 = source.parse().unwrap_or(0);
        assert_eq!(
            source, opened.source_seq,
            "the position is that of its reading"
        );
        assert!(opened.source_seq <= opened.committed_seq);
        if source == READINGS {
            program.kill().await;
            break;
        }
        let mut call = AckedCall::begin(
            &mut client,
            header(STREAM, opened.epoch, opened.source_seq + 1),
        )
        .await;
        let mut next = source + 1;
        // A tenth of what there is at a time, and the last time all of it.
        let until = match kills {
            9 => READINGS,
            _ => (next + READINGS / 10).min(READINGS),
        };
        let messages = call.messages.clone();
        let sending = tokio::spawn(async move {
            while next <= READINGS {
                let end = (next + 250).min(READINGS + 1);
                let message = at((end - 1).to_string(), columns(column_batch(next..end)));
                if messages.send(message).await.is_err() {
                    return;
                }
                next = end;
            }
        });
        call.until_acked(until).await;
        program.kill().await;
        sending.abort();
        kills += 1;
        assert!(kills < 20, "it goes forward");
    }
    assert_stored(&database, 1..READINGS + 1).await;
    database.assert_ledger_balances().await;
}

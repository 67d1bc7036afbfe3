//! Clients that take all places, of connections or of calls: others are served as long as that can be, and told if not.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use prost::Message as _;
use sluicegate_proto::v1::SensorBatch;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::common::{
    self,
    database::Database,
    on_each_engine,
    readings::{reading, readings, rows},
    service::{AckedCall, Service},
};
use crate::stranger::{Stranger, framed};

on_each_engine! {
    calls_and_connections_beyond_their_number_are_turned_away,
    connections_without_a_call_make_place_for_new_ones,
    who_watches_the_health_makes_place_for_producers,
    who_is_slow_to_ask_over_rest_makes_place_for_others,
    health_is_answered_when_others_have_all_calls,
    one_connection_cannot_have_all_calls,
    an_address_has_no_more_connections_than_it_may,
}

/// Longer than a connection may be idle before it makes place for another one.
const IDLE: Duration = Duration::from_millis(1_500);

async fn calls_and_connections_beyond_their_number_are_turned_away(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.grpc.max_open_calls = Some(3);
        settings.grpc.max_connections = Some(2);
    })
    .await;
    let (mut one, mut two) = (service.client().await, service.client().await);
    let mut open = Vec::new();
    for (client, n) in [(&one, 1), (&two, 2), (&one, 3)] {
        let first = rows(readings(n..n + 1));
        open.push(AckedCall::begin(&mut client.clone(), first).await);
    }
    for client in [&mut one, &mut two] {
        let refused = client.send_sensor_reading(reading(9)).await;
        let refused = refused.expect_err("no place");
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(
            refused.message().contains("grpc.max_open_calls"),
            "{refused:?}"
        );
    }
    // Both connections have a call, however long they bring nothing.
    sleep(IDLE).await;
    let message = framed(&reading(9).encode_to_vec());
    if let Some(mut third) = Stranger::connect(service.grpc).await {
        let status = third.call("SendSensorReading", &[], message).end().await;
        assert_ne!(status.code(), Code::Ok);
        assert!(
            !status.message().contains("grpc.max_open_calls"),
            "{status:?}"
        );
    }
    for call in open {
        assert_eq!(call.finish().await.committed, 1);
    }
    let stored = two.send_sensor_reading(reading(4)).await;
    stored.expect("there is place again");
    service.close().await;
}

async fn an_address_has_no_more_connections_than_it_may(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.grpc.max_connections_per_address = Some(2);
        settings.rest.max_connections_per_address = Some(2);
    })
    .await;
    let (mut one, two) = (service.client().await, service.client().await);
    for rest_or_grpc in [service.grpc, service.rest] {
        let silent = match rest_or_grpc == service.rest {
            true => vec![
                TcpStream::connect(service.rest).await.expect("connects"),
                TcpStream::connect(service.rest).await.expect("connects"),
            ],
            false => Vec::new(),
        };
        assert!(is_closed(rest_or_grpc, "127.0.0.1").await);
        // Another address has its own.
        assert!(!is_closed(rest_or_grpc, "127.0.0.2").await);
        drop(silent);
    }
    let stored = one.send_sensor_reading(reading(1)).await;
    stored.expect("stored");
    drop(two);
    common::until("there is place again", || async {
        !is_closed(service.grpc, "127.0.0.1").await
    })
    .await;
    common::until("there is place again", || async {
        !is_closed(service.rest, "127.0.0.1").await
    })
    .await;
    service.close().await;
}

/// Whether a connection from this address is closed, and not answered: both doors take HTTP/2, and begin with their settings.
async fn is_closed(to: SocketAddr, from: &str) -> bool {
    const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = SocketAddr::new(from.parse().expect("an address"), 0);
    socket.bind(from).expect("ours");
    let mut stream = socket.connect(to).await.expect("connects");
    // One that is closed already may refuse it.
    let _ = stream.write_all(BEGIN).await;
    let read = timeout(Duration::from_secs(20), stream.read_u8()).await;
    read.expect("closed or answered").is_err()
}

async fn connections_without_a_call_make_place_for_new_ones(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.grpc.max_connections = Some(4);
    })
    .await;
    let mut working = service.client().await;
    let call = AckedCall::begin(&mut working, rows(readings(1..2))).await;
    // One says nothing at all, one begins and leaves it at that, one was answered once.
    let _silent = TcpStream::connect(service.grpc).await.expect("connects");
    let _begun = Stranger::connect(service.grpc).await.expect("connects");
    let mut answered = service.client().await;
    let stored = answered.send_sensor_reading(reading(2)).await;
    stored.expect("stored");
    let mut kept = Vec::new();
    for n in 3..9 {
        sleep(IDLE).await;
        let mut new = service.client().await;
        let stored = new.send_sensor_reading(reading(n)).await;
        stored.expect("stored");
        // It stays, and is idle.
        kept.push(new);
    }
    // Its client, told to go away, comes again.
    let stored = answered.send_sensor_reading(reading(9)).await;
    stored.expect("stored");
    call.send(rows(readings(10..12))).await;
    assert_eq!(call.finish().await.committed, 3);
    service.close().await;
}

async fn who_watches_the_health_makes_place_for_producers(database: Database) {
    const CONNECTIONS: usize = 4;
    let service = Service::start_with(&database, |settings| {
        settings.grpc.max_connections = Some(CONNECTIONS);
    })
    .await;
    let mut watching = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint =
            Channel::from_shared(format!("http://{}", service.grpc)).expect("an address");
        let mut health = HealthClient::new(endpoint.connect().await.expect("connects"));
        let watch = health.watch(HealthCheckRequest::default()).await;
        watching.push((health, watch.expect("answers")));
    }
    for n in 1..3 {
        sleep(IDLE).await;
        let stored = service.client().await.send_sensor_reading(reading(n)).await;
        stored.expect("stored");
    }
    drop(watching);
    service.close().await;
}

async fn who_is_slow_to_ask_over_rest_makes_place_for_others(database: Database) {
    const CONNECTIONS: usize = 4;
    let service = Service::start_with(&database, |settings| {
        settings.rest.max_connections = Some(CONNECTIONS);
    })
    .await;
    let mut slow = Vec::new();
    for n in 0..3 * CONNECTIONS {
        let mut client = TcpStream::connect(service.rest).await.expect("connects");
        // Of some nothing comes, of others a part.
        if n % 2 == 0 {
            let part = b"GET /healthz HTTP/1.1\r\nx-slow: ";
            client.write_all(part).await.expect("takes it");
        }
        slow.push(client);
    }
    // A client gets as long for its headers as it would take for all of them to be cut off.
    let asked = common::http::text(service.rest, "/healthz");
    let answered = timeout(Duration::from_secs(9), asked).await;
    let (status, _) = answered.expect("in time").expect("an answer");
    assert_eq!(status, 200);
    drop(slow);
    service.close().await;
}

async fn health_is_answered_when_others_have_all_calls(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.grpc.max_open_calls = Some(3);
    })
    .await;
    let mut client = service.client().await;
    let mut open = Vec::new();
    for n in 1..4 {
        open.push(AckedCall::begin(&mut client, rows(readings(n..n + 1))).await);
    }
    let refused = client.send_sensor_batch(SensorBatch::default()).await;
    assert_eq!(refused.expect_err("no place").code(), Code::Unavailable);
    let endpoint = Channel::from_shared(format!("http://{}", service.grpc)).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("connects"));
    let watching = health.watch(HealthCheckRequest::default()).await;
    let mut watching = watching.expect("answers").into_inner();
    let watched = watching.message().await.expect("answers").expect("a word");
    let asked = health.check(HealthCheckRequest::default()).await;
    for answer in [watched, asked.expect("answers").into_inner()] {
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    drop((watching, health));
    for call in open {
        assert_eq!(call.finish().await.committed, 1);
    }
    service.close().await;
}

async fn one_connection_cannot_have_all_calls(database: Database) {
    const CALLS: usize = 64;
    let service = Service::start_with(&database, |settings| {
        settings.grpc.max_open_calls = Some(CALLS);
        // Calls whose message does not come stay open.
        settings.grpc.message_deadline_s = Some(600);
    })
    .await;
    let begun = framed(&rows(readings(1..2)).encode_to_vec()).slice(..5);
    let mut strangers = Vec::new();
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stranger = Stranger::connect(service.grpc).await.expect("connects");
        for _ in 0..2 * CALLS {
            open.push(stranger.call("StreamReadingsAcked", &[], begun.clone()));
        }
        strangers.push(stranger);
    }
    sleep(IDLE).await;
    // A quarter is left.
    let client = service.client().await;
    let calls = (1..CALLS as u64 / 4).map(|n| {
        let mut client = client.clone();
        async move { client.send_sensor_reading(reading(n)).await }
    });
    for stored in join_all(calls).await {
        stored.expect("stored");
    }
    drop((open, strangers));
    common::until("there is place again", || {
        let mut client = client.clone();
        async move {
            let stored = client.send_sensor_batch(SensorBatch::default()).await;
            stored.is_ok()
        }
    })
    .await;
    service.close().await;
}

//! Exports as tables: Arrow and Parquet.

use std::{
    io::{Seek as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use reqwest::{Method, Version};
use sluicegate::{columnar::TableReader, repository::mysql::Layout};
use sluicegate_proto::v1::SensorReading;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        program::Program,
        readings::{self as numbered, BASE_US, exact},
        service::{Client, Service, connect},
        tokens::{Tokens, with_token},
        until,
    },
    sample::{Chosen, PAIRS, SPAN_S, filled, readings},
};

on_each_engine! {
    a_table_that_breaks_off_is_refused_by_its_reader,
    a_table_has_the_whole_selection_in_order,
    a_table_has_every_reading_bit_for_bit,
    the_format_of_a_table_is_by_parameter_or_by_accept,
    exports_as_parquet_take_as_much_memory_as_they_say,
}

const FORMATS: [(&str, &str); 2] = [
    ("arrow", "application/vnd.apache.arrow.stream"),
    ("parquet", "application/vnd.apache.parquet"),
];

fn open(format: &str, bytes: &[u8]) -> Result<TableReader, String> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file.rewind().expect("rewound");
    let reader = match format {
        "arrow" => TableReader::arrow(file),
        _ => TableReader::parquet(file),
    };
    reader.map_err(|fault| fault.to_string())
}

fn read(format: &str, bytes: &[u8]) -> Result<Vec<SensorReading>, String> {
    let mut reader = open(format, bytes)?;
    let mut readings = Vec::new();
    while let Some(columns) = reader.read().map_err(|fault| fault.to_string())? {
        for row in 0..columns.len() {
            let series = &columns.series[columns.series_index[row] as usize];
            readings.push(SensorReading {
                sensor_value: Some(columns.sensor_value[row]),
                sensor_type: series.sensor_type.clone(),
                id1: series.id1,
                id2: series.id2.clone(),
                timestamp_us: Some(columns.timestamp_us[row]),
            });
        }
    }
    Ok(readings)
}

fn all_exact(readings: &[SensorReading]) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    readings.iter().map(exact).collect()
}

async fn a_table_has_the_whole_selection_in_order(database: Database) {
    for layout in [Layout::Partitioned, Layout::Series] {
        let (_, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        for (seconds, pairs, descending) in [
            (Some((0, SPAN_S)), vec![], false),
            (None, PAIRS.to_vec(), true),
            (
                Some((40, 222)),
                vec![PAIRS[4], (3, "nobody"), PAIRS[0]],
                false,
            ),
            // None at all.
            (Some((2 * SPAN_S, 3 * SPAN_S)), vec![], false),
        ] {
            let chosen = Chosen {
                seconds,
                pairs,
                descending,
                ..Chosen::default()
            };
            let expected = all_exact(&chosen.expected(&readings()));
            for (format, media_type) in FORMATS {
                let path = format!("{}&format={format}", chosen.query());
                let answer = api.get(&path).await;
                assert_eq!(answer.header("content-type"), media_type);
                let found = read(format, &answer.body).expect(format);
                assert_eq!(all_exact(&found), expected, "{path}");
            }
        }
        service.close().await;
    }
}

async fn a_table_has_every_reading_bit_for_bit(database: Database) {
    let sent = numbered::extreme();
    let (_, service) = filled(&database, Layout::Partitioned, sent.clone()).await;
    let api = Api::of(&service);
    for (format, _) in FORMATS {
        let path = format!(
            "/sensor/time?from_time=-62167219200000&to_time=253402300799999&format={format}"
        );
        let answer = api.get(&path).await;
        let found = read(format, &answer.body).expect(format);
        numbered::assert_same(&found, &sent);
    }
    service.close().await;
}

async fn the_format_of_a_table_is_by_parameter_or_by_accept(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let path = "/sensor/ids?id1=0&id2=A";
    for (format, media_type) in FORMATS {
        let request = api.request(Method::GET, path).header("accept", media_type);
        assert_eq!(api.send(request).await.header("content-type"), media_type);
        // What is packed already is not packed again.
        let request = api.request(Method::GET, &format!("{path}&format={format}"));
        let packed = api.send(request.header("accept-encoding", "gzip")).await;
        let is_packed = packed.headers.contains_key("content-encoding");
        assert_eq!(is_packed, format == "arrow");
        let request = api
            .request(Method::GET, &format!("{path}&format={format}"))
            .version(Version::HTTP_10);
        api.send_any(request)
            .await
            .problem(505, "http-too-old", None);
        let refused = api.get(&format!("/rejections?format={format}")).await;
        refused.problem(400, "invalid-parameter", Some("format"));
        let request = api
            .request(Method::GET, "/rejections")
            .header("accept", media_type);
        let refused = api.send(request).await;
        refused.problem(406, "not-acceptable", None);
    }
    service.close().await;
}

/// More than sockets keep for a client that does not read.
const MANY: u64 = 600_000;
/// Readings of a message.
const AT_ONCE: u64 = 60_000;

async fn store_many(client: &mut Client) {
    let batches = (0..MANY / AT_ONCE).map(|n| {
        let numbers = n * AT_ONCE..(n + 1) * AT_ONCE;
        numbered::columns(numbered::column_batch(numbers))
    });
    let batches: Vec<_> = batches.collect();
    let sent = client.stream_readings(tokio_stream::iter(batches)).await;
    assert_eq!(sent.expect("stored").into_inner().committed, MANY);
}

fn all(format: &str) -> String {
    let from = BASE_US / 1_000;
    format!(
        "/sensor/time?from_time={from}&to_time={}&format={format}",
        from + 600_000
    )
}

/// So many, of values that do not pack well, are more than the buffers of sockets and the service have as Parquet.
const INCOMPRESSIBLE: u64 = 1_500_000;

async fn a_table_that_breaks_off_is_refused_by_its_reader(database: Database) {
    let tokens = Tokens::new();
    let writes = tokens.make("writes", "ingest");
    // Before the service looks: who asks too often with a token that it does not know is not listened to any more.
    let readers = FORMATS.map(|(format, _)| tokens.make(format, "read"));
    let service = Service::start_with(&database, |settings| tokens.asked_for(settings)).await;
    let batch = |n: u64| {
        let mut batch = numbered::column_batch(n * AT_ONCE..(n + 1) * AT_ONCE);
        for value in &mut batch.sensor_value {
            let mixed = (*value as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *value = f64::from_bits(mixed >> 12 | 0x3ff0_0000_0000_0000);
        }
        numbered::columns(batch)
    };
    let batches: Vec<_> = (0..INCOMPRESSIBLE / AT_ONCE).map(batch).collect();
    let request = with_token(tokio_stream::iter(batches), &writes);
    let stored = service.client().await.stream_readings(request).await;
    assert_eq!(
        stored.expect("stored").into_inner().committed,
        INCOMPRESSIBLE
    );
    let api = Api::of(&service);
    for ((format, _), reads) in FORMATS.into_iter().zip(readers) {
        let header = format!("Authorization: Bearer {reads}\r\n");
        let mut client = ask(service.rest, &all(format), &header).await;
        assert_eq!(status(&mut client).await, "200");
        tokens.revoke(&reads);
        until("it is known that it is not valid", async || {
            let asked = api.request(Method::GET, "/sensor/ids?id1=1&id2=a");
            api.send_any(asked.bearer_auth(&reads)).await.status != 200
        })
        .await;
        let mut rest = Vec::new();
        // It ends, or is reset.
        let _ = client.read_to_end(&mut rest).await;
        assert!(
            !rest.ends_with(b"0\r\n\r\n"),
            "{format}: the client is told"
        );
        let body = body_of(&rest);
        assert!(!body.is_empty(), "{format}");
        let told = read(format, &body).expect_err(format);
        assert!(told.contains("cut off"), "{format}: {told}");
    }
    service.close().await;
}

/// What the chunks of an answer hold, whole or not.
fn body_of(mut answer: &[u8]) -> Vec<u8> {
    let line = |bytes: &[u8], end: &[u8]| bytes.windows(end.len()).position(|it| it == end);
    let head = line(answer, b"\r\n\r\n").expect("headers");
    answer = &answer[head + 4..];
    let mut body = Vec::new();
    while let Some(end) = line(answer, b"\r\n") {
        let length = std::str::from_utf8(&answer[..end]).expect("a length");
        let length = usize::from_str_radix(length, 16).expect("a length");
        let rest = &answer[end + 2..];
        body.extend_from_slice(&rest[..length.min(rest.len())]);
        answer = rest.get(length + 2..).unwrap_or_default();
    }
    body
}

/// Two at once have room; what they may add to the memory, with what the rest of the program takes meanwhile.
const ROOM_BYTES: u64 = 32 << 20;
const GROWTH_LIMIT_BYTES: u64 = ROOM_BYTES + (16 << 20);

/// Asks over a connection whose client keeps next to nothing for itself.
async fn ask(rest: SocketAddr, path: &str, header: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("set");
    let mut client = socket.connect(rest).await.expect("connects");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n");
    client
        .write_all(request.as_bytes())
        .await
        .expect("takes it");
    client
}

async fn status(client: &mut TcpStream) -> String {
    let mut begin = [0; 12];
    client.read_exact(&mut begin).await.expect("an answer");
    String::from_utf8_lossy(&begin[9..]).into_owned()
}

async fn exports_as_parquet_take_as_much_memory_as_they_say(database: Database) {
    let room = ROOM_BYTES.to_string();
    let program = Program::start(&database.url(), &["--rest-parquet-bytes", &room]).await;
    store_many(&mut connect(program.grpc).await).await;
    let before = program.peak_bytes();
    let path = all("parquet");
    let (mut one, mut other) = (
        ask(program.rest, &path, "").await,
        ask(program.rest, &path, "").await,
    );
    assert_eq!(
        (status(&mut one).await, status(&mut other).await),
        ("200".to_owned(), "200".to_owned())
    );
    // A third one is told what is full.
    let mut third = ask(program.rest, &path, "").await;
    let mut told = String::new();
    let reading = third.read_to_string(&mut told);
    tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .expect("in time")
        .expect("an answer");
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    assert!(told.contains("rest.parquet_bytes"), "{told}");
    // Other exports have room of their own.
    let mut arrow = ask(program.rest, &all("arrow"), "").await;
    assert_eq!(status(&mut arrow).await, "200");
    for client in [&mut one, &mut other, &mut arrow] {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("the rest");
        assert!(rest.ends_with(b"0\r\n\r\n"), "whole");
    }
    let grown = program.peak_bytes().saturating_sub(before);
    eprintln!("{} KiB more than before", grown >> 10);
    assert!(grown < GROWTH_LIMIT_BYTES, "{grown} bytes");
    program.kill().await;
}

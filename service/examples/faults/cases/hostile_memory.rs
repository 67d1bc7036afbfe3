//! Strangers send, all at once and while the table is locked, what takes far more memory than it looks like: messages
//! whose last byte is withheld, empty series and readings, first messages, full windows, calls without a message, and
//! calls that are begun and cancelled; and hundreds ask for exports of which they take nothing. The process stays within its bound (P4), readings of others are answered as they
//! should be meanwhile, and afterwards everything is as before (P5, P6).

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use mysql_async::prelude::Queryable as _;
use prost::{Message as _, bytes::Bytes};
use sluicegate_proto::v1::{
    ColumnBatch, Series, StreamReadingsRequest, sensor_service_client::SensorServiceClient,
    stream_readings_request::Message,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::sleep,
};
use tonic::Code;

use crate::{
    judge::{hold_books, hold_ledger, hold_stored},
    lab::Lab,
    outcome::Outcome,
    probe::{self, Probe},
    process::until,
    stack::{Stack, end},
    stranger::{StrangeCall, Stranger, empty_elements, framed},
    verdict::{Verdict, hold},
};

/// The budget as it comes, 64 MiB, and deadlines that a round can wait for.
const FLAGS: [&str; 2] = [
    "--grpc-message-deadline-s=5",
    "--ingest-commit-deadline-ms=2000",
];
/// What the whole process may take with a budget of 64 MiB, MiB.
const MOST_MIB: f64 = 320.0;
/// 2026-01-01T00:00:00Z.
const BASE_US: i64 = 1_767_225_600_000_000;
const WITHHELD: usize = 120;
const FULL_WINDOWS: usize = 100;
const EXPORTS: usize = 300;
/// What is exported: some ten megabytes, more than sockets keep for a client that does not read.
const EXPORTED: u32 = 60_000;
/// For answers to fill what is there for them.
const FILL: Duration = Duration::from_secs(2);

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let rounds = lab.scale.times(10, 1);
    let attack_s = lab.scale.seconds(60, 15);
    let stack = Stack::start(lab, &FLAGS).await?;
    let code = probe::send(stack.service.grpc).await?;
    hold!(
        code == Code::Ok,
        "a single reading is answered with {code:?}"
    );
    store(stack.service.grpc).await?;
    let at_rest_mib = stack.service.usage()?.resident_mib;
    let (mut calls, mut stored) = (0, 0);
    for _ in 0..rounds {
        let exports = ask_for_exports(stack.service.rest).await?;
        let mut conn = stack.schema.connect().await?;
        conn.query_drop("LOCK TABLES sensor_readings WRITE").await?;
        let probe = Probe::start(stack.service.grpc);
        let mut crowd = Crowd::default();
        crowd.gather(stack.service.grpc).await?;
        sleep(Duration::from_secs(attack_s)).await;
        calls += (crowd.calls.len() + exports.len()) as u32;
        conn.query_drop("UNLOCK TABLES").await?;
        conn.disconnect().await?;
        drop((crowd, exports));
        until(
            "nothing is in flight, and readings are stored",
            async || {
                let readiness = stack.service.readiness().await?;
                Ok(readiness.in_flight_bytes == 0
                    && probe::send(stack.service.grpc).await? == Code::Ok)
            },
        )
        .await?;
        stored += probe.end().await?.told(Code::Ok);
    }
    let usage = stack.service.usage()?;
    hold!(
        usage.peak_mib < MOST_MIB,
        "the process took {:.0} MiB, {MOST_MIB} are the most",
        usage.peak_mib
    );
    hold_books(&stack.service).await?;
    hold_ledger(&stack.schema).await?;
    hold_stored(&stack.schema, &[&stack.service]).await?;
    end(stack.service).await?;
    stack.schema.drop().await?;
    Ok(Outcome::of_verdict(calls, Verdict::none())
        .figure("at_rest_mib", at_rest_mib)
        .figure("peak_mib", usage.peak_mib)
        .figure("resident_afterwards_mib", usage.resident_mib)
        .figure("innocent_readings_stored", f64::from(stored)))
}

/// Stores what is exported.
async fn store(grpc: SocketAddr) -> Result<()> {
    let mut client = SensorServiceClient::connect(format!("http://{grpc}")).await?;
    let message = tokio_stream::once(columns(EXPORTED));
    let summary = client.stream_readings(message).await?.into_inner();
    hold!(
        summary.committed == u64::from(EXPORTED),
        "stored {summary:?}"
    );
    Ok(())
}

/// Asks for exports over connections whose clients keep next to nothing for themselves, and read nothing.
async fn ask_for_exports(rest: SocketAddr) -> Result<Vec<TcpStream>> {
    let (from, to) = (BASE_US / 1_000, BASE_US / 1_000 + 600_000);
    let request =
        format!("GET /sensor/time?from_time={from}&to_time={to} HTTP/1.1\r\nHost: {rest}\r\n\r\n");
    let mut clients = Vec::new();
    for _ in 0..EXPORTS {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        let mut client = socket.connect(rest).await?;
        client.write_all(request.as_bytes()).await?;
        clients.push(client);
    }
    sleep(FILL).await;
    Ok(clients)
}

/// Everybody who does it at once.
#[derive(Default)]
struct Crowd {
    strangers: Vec<Stranger>,
    calls: Vec<StrangeCall>,
}

impl Crowd {
    async fn gather(&mut self, grpc: SocketAddr) -> Result<()> {
        let columns = framed(&columns(200_000).encode_to_vec());
        let withheld = columns.slice(..columns.len() - 1);
        for _ in 0..WITHHELD {
            self.call_on(grpc, 1, "StreamReadings", &withheld).await?;
        }
        for _ in 0..FULL_WINDOWS {
            self.call_on(grpc, 6, "StreamReadingsAcked", &withheld)
                .await?;
        }
        let most = (2 << 20) - 8;
        for message in [
            framed(&empty_elements(&[3, 1], most)),
            framed(&empty_elements(&[3, 1], 200_000)),
            framed(&empty_elements(&[2, 1], 990_000)),
            framed(&empty_elements(&[2, 1], 100_000)),
            columns,
        ] {
            for _ in 0..5 {
                self.call_on(grpc, 10, "StreamReadings", &message).await?;
            }
        }
        let batch = framed(&empty_elements(&[1], 990_000));
        self.call_on(grpc, 50, "SendSensorBatch", &batch).await?;
        self.call_on(grpc, 100, "SendSensorReading", &batch.slice(..4))
            .await?;
        // Begun and cancelled, until the connection is ended for it.
        let mut restless = Stranger::connect(grpc).await.context("turned away")?;
        for _ in 0..2_000 {
            drop(restless.call("StreamReadings", &[], withheld.slice(..1_000)));
        }
        self.strangers.push(restless);
        Ok(())
    }

    async fn call_on(
        &mut self,
        grpc: SocketAddr,
        calls: usize,
        method: &str,
        bytes: &Bytes,
    ) -> Result<()> {
        let mut stranger = Stranger::connect(grpc).await.context("turned away")?;
        for _ in 0..calls {
            self.calls.push(stranger.call(method, &[], bytes.clone()));
        }
        self.strangers.push(stranger);
        Ok(())
    }
}

/// Good readings.
fn columns(readings: u32) -> StreamReadingsRequest {
    StreamReadingsRequest {
        message: Some(Message::Columns(ColumnBatch {
            series: vec![Series {
                id1: 1,
                id2: "stranger".to_owned(),
                sensor_type: "temperature".to_owned(),
            }],
            extend_dictionary: false,
            series_index: vec![0; readings as usize],
            sensor_value: (0..readings).map(f64::from).collect(),
            base_timestamp_us: BASE_US,
            timestamp_delta_us: (0..readings).map(i64::from).collect(),
            series_tags: Vec::new(),
        })),
        source_position: Vec::new(),
    }
}

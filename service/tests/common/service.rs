//! The service inside of the test process, on ports of its own.

use std::{net::SocketAddr, time::Duration};

use sluicegate::{
    app::{self, AppError, Listeners},
    config::{Config, Settings},
    shutdown::Shutdown,
};
use sluicegate_proto::v1::{
    StreamAck, StreamPosition, StreamReadingsRequest, sensor_service_client::SensorServiceClient,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::{database::Database, engines::layout, http, readings, until};

pub(crate) type Client = SensorServiceClient<Channel>;

/// Settings for a service on this database, with two lanes and free ports.
pub(crate) fn settings(url: String) -> Settings {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = Settings {
        database_url: Some(url),
        grpc_addr: Some(any),
        rest_addr: Some(any),
        connect_deadline_s: Some(10),
        layout: layout(),
        ..Settings::default()
    };
    settings.ingest.lanes = Some(2);
    settings
}

pub(crate) async fn connect(grpc: SocketAddr) -> Client {
    let endpoint = Channel::from_shared(format!("http://{grpc}")).expect("an address");
    SensorServiceClient::new(endpoint.connect().await.expect("connects"))
}

/// Switches off what bounds the time of a reading.
pub(crate) fn take_any_time(settings: &mut Settings) {
    settings.ingest.earliest = Some("none".parse().expect("none"));
    settings.ingest.max_ahead = Some("none".parse().expect("none"));
}

/// Adds a source that is paused, and whose broker is not there.
pub(crate) fn with_a_source(settings: &mut Settings) {
    let source = "{name: plant, paused: true, optional: true, protobuf: ColumnBatch, \
                  kafka: {brokers: ['127.0.0.1:1'], topics: [readings]}}";
    settings.sources = Some(vec![serde_norway::from_str(source).expect("a source")]);
}

/// A running service. It has to be closed, which holds it to its books.
pub(crate) struct Service {
    pub(crate) grpc: SocketAddr,
    pub(crate) rest: SocketAddr,
    pub(crate) shutdown: Shutdown,
    running: JoinHandle<Result<(), AppError>>,
    database: Database,
    closed: bool,
}

impl Service {
    pub(crate) async fn start(database: &Database) -> Self {
        Self::start_with(database, |_| {}).await
    }

    /// One that takes readings of any time that the table can hold.
    pub(crate) async fn start_for_any_time(database: &Database) -> Self {
        Self::start_with(database, take_any_time).await
    }

    pub(crate) async fn start_with(
        database: &Database,
        adjust: impl FnOnce(&mut Settings),
    ) -> Self {
        match Self::try_start(database, adjust).await {
            Ok(service) => service,
            Err(error) => panic!("the service does not start: {error}"),
        }
    }

    /// Starts a service, or returns the sentence with which it refuses.
    pub(crate) async fn try_start(
        database: &Database,
        adjust: impl FnOnce(&mut Settings),
    ) -> Result<Self, String> {
        let mut settings = settings(database.url());
        adjust(&mut settings);
        let config = Config::resolve(settings, None).map_err(|error| error.to_string())?;
        let listeners = Listeners::bind(&config).await.expect("binds");
        let (grpc, rest) = (
            listeners.grpc.local_addr().expect("bound"),
            listeners.rest.local_addr().expect("bound"),
        );
        let shutdown = Shutdown::new(Duration::from_secs(config.shutdown_deadline_s));
        let mut running = tokio::spawn(app::run(listeners, config, shutdown.clone()));
        let ready = until("the service is ready", || async {
            matches!(http::get(rest, "/readyz").await, Ok((200, _)))
        });
        tokio::select! {
            ended = &mut running => match ended.expect("no panic") {
                Ok(()) => Err("ended at once".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            () = ready => Ok(Self {
                grpc,
                rest,
                shutdown,
                running,
                database: database.clone(),
                closed: false,
            }),
        }
    }

    pub(crate) async fn client(&self) -> Client {
        connect(self.grpc).await
    }

    pub(crate) async fn open(&self, stream_id: &str) -> StreamPosition {
        open(&mut self.client().await, stream_id).await
    }

    /// What `/readyz` says. Its books are of one instant, and balance whatever is under way (P6).
    pub(crate) async fn readiness(&self) -> serde_json::Value {
        let (_, readiness) = http::get(self.rest, "/readyz").await.expect("answers");
        let figure = |name: &str| readiness["books"][name].as_u64().expect("a figure");
        assert_eq!(
            figure("received"),
            figure("committed") + figure("rejected") + figure("duplicate") + figure("in_flight"),
            "{readiness}"
        );
        readiness
    }

    /// One of the instance's figures.
    pub(crate) async fn figure(&self, name: &str) -> u64 {
        let readiness = self.readiness().await;
        readiness["books"][name].as_u64().expect("a figure")
    }

    /// Waits until nothing is in flight, and asserts that the books balance: of this instance and in the ledger (P6).
    pub(crate) async fn assert_books_balance(&self) {
        self.assert_own_books_balance().await;
        self.database.assert_ledger_balances().await;
    }

    async fn assert_own_books_balance(&self) {
        until("nothing is in flight", || async {
            self.figure("in_flight").await == 0
        })
        .await;
        // The room of a reply that nobody read is given back when its connection notices.
        until("no memory is held", || async {
            self.readiness().await["in_flight_bytes"] == 0
        })
        .await;
    }

    /// Holds the service to its books and shuts it down.
    pub(crate) async fn close(self) {
        self.assert_books_balance().await;
        self.shutdown.draining.cancel();
        self.stopped().await.expect("ends well");
    }

    /// As `close`, when readings were deleted: the ledger then knows of more than the table holds.
    pub(crate) async fn close_after_deletes(self) {
        self.assert_own_books_balance().await;
        self.shutdown.draining.cancel();
        self.stopped().await.expect("ends well");
    }

    /// Waits for the end of a service that was told to stop or cannot go on; for those that cannot be closed.
    pub(crate) async fn stopped(mut self) -> Result<(), AppError> {
        self.closed = true;
        (&mut self.running).await.expect("no panic")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.running.abort();
        if !std::thread::panicking() {
            assert!(self.closed, "a test ended without holding the books");
        }
    }
}

pub(crate) async fn open(client: &mut Client, stream_id: &str) -> StreamPosition {
    let request = sluicegate_proto::v1::OpenStreamRequest {
        stream_id: stream_id.to_owned(),
        resume: None,
    };
    let opened = client.open_stream(request).await.expect("opens");
    opened.into_inner()
}

/// An open `StreamReadingsAcked` call.
pub(crate) struct AckedCall {
    pub(crate) messages: mpsc::Sender<StreamReadingsRequest>,
    acks: Streaming<StreamAck>,
}

impl AckedCall {
    pub(crate) async fn begin(client: &mut Client, first: StreamReadingsRequest) -> Self {
        let (messages, waiting) = mpsc::channel(4);
        messages.send(first).await.expect("room");
        let call = client.stream_readings_acked(ReceiverStream::new(waiting));
        let acks = call.await.expect("begins").into_inner();
        Self { messages, acks }
    }

    pub(crate) async fn resume(client: &mut Client, stream_id: &str, at: &StreamPosition) -> Self {
        Self::begin(client, readings::resume(stream_id, at)).await
    }

    /// Sends a message; one that the ended call no longer takes is dropped.
    pub(crate) async fn send(&self, message: StreamReadingsRequest) {
        let _ = self.messages.send(message).await;
    }

    pub(crate) async fn ack(&mut self) -> Result<Option<StreamAck>, Status> {
        self.acks.message().await
    }

    /// Waits until everything up to `seq` is acknowledged.
    pub(crate) async fn until_acked(&mut self, seq: u64) -> StreamAck {
        loop {
            let ack = self.ack().await.expect("no error").expect("not ended");
            if ack.committed_seq >= seq {
                return ack;
            }
        }
    }

    /// Ends the stream and returns the last acknowledgement.
    pub(crate) async fn finish(self) -> StreamAck {
        let Self { messages, mut acks } = self;
        drop(messages);
        let mut last = None;
        while let Some(ack) = acks.message().await.expect("no error") {
            last = Some(ack);
        }
        last.expect("an acknowledgement")
    }

    /// Reads on until the call fails.
    pub(crate) async fn failure(&mut self) -> Status {
        loop {
            match self.ack().await {
                Err(status) => return status,
                Ok(ack) => assert!(ack.is_some(), "the call ended without an error"),
            }
        }
    }
}

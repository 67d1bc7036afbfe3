//! What the gRPC door counts and measures.

use std::{sync::Arc, time::Instant};

use sluicegate_proto::v1::sensor_service_server::SERVICE_NAME;
use tonic::Code;
use tracing::Span;

use crate::telemetry::{
    metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, Metrics, Word, durations},
    spans,
};

/// The calls by their names; what else is called has one name for all, or callers could make as many as they like.
const METHODS: [&str; 6] = [
    "SendSensorReading",
    "SendSensorBatch",
    "StreamReadings",
    "StreamReadingsAcked",
    "OpenStream",
    "WatchReadings",
];
const HEALTH: &str = "Health";
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMethod {
    method: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    method: Word,
    code: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWhat {
    what: Word,
}

/// The figures of the door.
#[derive(Clone, Debug)]
pub(super) struct GrpcMetrics(Arc<Figures>);

#[derive(Debug)]
struct Figures {
    calls: Family<Ended, Counter>,
    durations: Family<OfMethod, Histogram>,
    open_calls: Gauge,
    connections: Gauge,
    turned_away: Family<OfWhat, Counter>,
}

impl GrpcMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let made = Figures {
            calls: metrics.register(
                "grpc_calls",
                "Calls that have ended, by method and status",
                Family::default(),
            ),
            durations: metrics.register_seconds(
                "grpc_call",
                "How long calls take, those that stream from their first message to their last",
                Family::new_with_constructor(durations),
            ),
            open_calls: metrics.register("grpc_open_calls", "Calls that are open", Gauge::default()),
            connections: metrics.register(
                "grpc_connections",
                "Connections that are open",
                Gauge::default(),
            ),
            turned_away: metrics.register(
                "grpc_turned_away",
                "Connections and calls for which there was no place, and connections that had to make place",
                Family::default(),
            ),
        };
        for what in [
            CALL,
            CALL_OF_PRINCIPAL,
            CONNECTION,
            IDLE_CONNECTION,
            CONNECTION_OF_CROWD,
        ] {
            made.turned_away.get_or_create(&OfWhat { what }).inc_by(0);
        }
        Self(Arc::new(made))
    }

    /// A call begins. Its span ends with it.
    pub(super) fn call(&self, path: &str, span: Span) -> Measured {
        self.0.open_calls.inc();
        Measured {
            metrics: self.clone(),
            method: method(path),
            span,
            since: Instant::now(),
            // Who drops a call before its end has cancelled it.
            code: Code::Cancelled,
        }
    }

    pub(super) fn connection(&self) -> OpenConnection {
        self.0.connections.inc();
        OpenConnection(self.0.connections.clone())
    }

    pub(super) fn turn_away(&self, what: Word) {
        self.0.turned_away.get_or_create(&OfWhat { what }).inc();
    }
}

pub(super) const CALL: Word = Word("call");
pub(super) const CALL_OF_PRINCIPAL: Word = Word("call_of_principal");
pub(super) const CONNECTION: Word = Word("connection");
pub(super) const IDLE_CONNECTION: Word = Word("idle_connection");
pub(super) const CONNECTION_OF_CROWD: Word = Word("connection_of_crowd");

fn method(path: &str) -> Word {
    if path.starts_with("/grpc.health.v1.Health/") {
        return Word(HEALTH);
    }
    let called = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(SERVICE_NAME))
        .and_then(|path| path.strip_prefix('/'));
    let known = METHODS.into_iter().find(|&known| called == Some(known));
    Word(known.unwrap_or(OTHER))
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A call that is measured until it is dropped.
#[derive(Debug)]
pub(super) struct Measured {
    metrics: GrpcMetrics,
    method: Word,
    span: Span,
    since: Instant,
    code: Code,
}

impl Measured {
    /// It has this status.
    pub(super) fn ends(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let metrics = &self.metrics.0;
        metrics.open_calls.dec();
        let (method, code) = (self.method, Word(code_name(self.code)));
        spans::end_call(&self.span, code.0, is_of_service(self.code));
        metrics.calls.get_or_create(&Ended { method, code }).inc();
        let took = self.since.elapsed().as_secs_f64();
        let durations = &metrics.durations;
        durations.get_or_create(&OfMethod { method }).observe(took);
    }
}

/// Whether the service, and not who called it, is to blame.
fn is_of_service(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// As the documents of gRPC call it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

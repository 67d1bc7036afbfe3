//! The spans of the service: what is measured along the path of a batch, and around each call and request. They are made
//! here alone, so that their names and fields can be read in one place. `docs/logs-and-traces.md` lists them.
//!
//! A span that neither the log nor a trace wants costs a look at a flag.

use std::fmt::Display;

use tracing::{Span, debug_span, error_span, field::Empty, info_span};

/// Spans have this module's name.
pub(super) const TARGET: &str = module_path!();

/// The spans of calls.
pub(super) const CALLS: [&str; 6] = [
    "SendSensorReading",
    "SendSensorBatch",
    "StreamReadings",
    "StreamReadingsAcked",
    "OpenStream",
    "WatchReadings",
];
/// The span of a request over REST.
pub(super) const REQUEST: &str = "request";

macro_rules! call {
    ($span:ident, $name:literal, $id:ident) => {
        $span!(
            $name,
            id = $id(),
            stream = Empty,
            code = Empty,
            otel.status_code = Empty
        )
    };
}

/// A call of gRPC. Those that stream are in the log at any level from `info` on; unary ones, of which there may be tens of
/// thousands a second, from `debug` on.
pub fn call(method: &str, id: impl FnOnce() -> String) -> Span {
    match method {
        "SendSensorReading" => call!(debug_span, "SendSensorReading", id),
        "SendSensorBatch" => call!(debug_span, "SendSensorBatch", id),
        "StreamReadings" => call!(info_span, "StreamReadings", id),
        "StreamReadingsAcked" => call!(info_span, "StreamReadingsAcked", id),
        "OpenStream" => call!(info_span, "OpenStream", id),
        "WatchReadings" => call!(info_span, "WatchReadings", id),
        _ => Span::none(),
    }
}

/// The call has its status. `is_error` where the service is to blame.
pub fn end_call(call: &Span, code: &str, is_error: bool) {
    call.record("code", code);
    if is_error {
        call.record("otel.status_code", "ERROR");
    }
}

/// The present call is one of a named stream.
pub fn tell_stream(stream: &str) {
    Span::current().record("stream", stream);
}

/// A request over REST. Whatever the log says of it has its id, so the span is one of any level.
pub fn request(id: &str, method: impl Display, route: &'static str) -> Span {
    error_span!(
        REQUEST,
        id,
        %method,
        route,
        status = Empty,
        otel.status_code = Empty
    )
}

/// The request has its answer.
pub fn end_request(request: &Span, status: u16) {
    request.record("status", status);
    if status >= 500 {
        request.record("otel.status_code", "ERROR");
    }
}

/// A batch, from its first reading to its last acknowledgement.
#[derive(Clone, Debug)]
pub struct OpenBatchSpan {
    batch: Span,
    _gather: Span,
}

impl OpenBatchSpan {
    /// Begins with the batch of a lane.
    #[must_use]
    pub fn begin(lane: &str) -> Self {
        let batch = debug_span!(
            parent: None,
            "batch",
            lane,
            number = Empty,
            readings = Empty,
            messages = Empty,
            streams = Empty,
            attempts = Empty
        );
        let gather = debug_span!(parent: &batch, "gather");
        Self {
            batch,
            _gather: gather,
        }
    }

    /// No more readings are gathered: these have been, in so many messages, of so many named streams. Returns the span of
    /// the batch.
    #[must_use]
    pub fn gathered(self, readings: usize, messages: usize, streams: usize) -> Span {
        self.batch.record("readings", readings as u64);
        self.batch.record("messages", messages as u64);
        self.batch.record("streams", streams as u64);
        self.batch
    }
}

/// The present batch, or a part of it, has this number in its lane.
pub fn tell_number(number: u64) {
    Span::current().record("number", number);
}

/// The present batch had to be loaded again so often.
pub fn tell_attempts(attempts: u32) {
    Span::current().record("attempts", attempts);
}

/// Puts rows into the order of the primary key.
pub fn seal(readings: usize) -> Span {
    debug_span!("seal", readings = readings as u64)
}

/// One attempt of the LOAD statements.
pub fn load(rows: u32) -> Span {
    debug_span!("load", rows)
}

/// The ledger's rows, and the COMMIT.
pub fn commit() -> Span {
    debug_span!("commit")
}

/// Tells the calls of a batch that it is committed.
pub fn acknowledge(batch: &Span, readings: usize) -> Span {
    debug_span!(parent: batch, "acknowledge", readings = readings as u64)
}

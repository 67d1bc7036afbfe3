//! Traces: the spans of the service, sent to a collector of OpenTelemetry. Nobody waits for it: what it does not take in
//! time is dropped, and counted.

use std::{
    sync::{LazyLock, Mutex, PoisonError, mpsc as std_mpsc},
    thread,
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    trace::{SpanKind, TracerProvider as _},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::sync::mpsc;
use tracing::{Level, Subscriber, warn};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use super::{
    metrics::{Counter, EncodeLabelSet, Family, Metrics, Word},
    spans,
};

/// Spans that wait to be sent: a few MiB.
const QUEUE_SPANS: usize = 4096;
const EXPORT_SPANS: usize = 512;
/// How long spans are gathered for one message.
const GATHERING: Duration = Duration::from_millis(500);
/// How long the collector may take for one.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);
/// How long the last spans may hold up the end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// `http://HOST:PORT` of a collector that speaks OTLP over gRPC.
    pub endpoint: String,
    /// Of so many traces one is sent, 0 to 1.
    pub ratio: f64,
    /// The name of this instance.
    pub instance: String,
    /// Of the program.
    pub version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: Word,
}

/// What has become of spans.
#[derive(Clone, Debug, Default)]
struct Figures {
    exported: Counter,
    dropped: Family<OfReason, Counter>,
}

impl Figures {
    fn count_dropped(&self, reason: Word, spans: u64) {
        self.dropped
            .get_or_create(&OfReason { reason })
            .inc_by(spans);
    }
}

/// More spans came than could be sent.
const QUEUE_FULL: Word = Word("queue_full");
/// The collector was away, too slow, or refused them.
const NOT_TAKEN: Word = Word("not_taken");

/// Of the process, as its one subscriber is.
static FIGURES: LazyLock<Figures> = LazyLock::new(|| {
    let figures = Figures::default();
    for reason in [QUEUE_FULL, NOT_TAKEN] {
        figures.count_dropped(reason, 0);
    }
    figures
});

/// Registers what is counted of traces.
pub fn register(metrics: &Metrics) {
    metrics.register(
        "trace_spans_exported",
        "Spans that the collector has taken",
        FIGURES.exported.clone(),
    );
    metrics.register(
        "trace_spans_dropped",
        "Spans that were not sent, by why",
        FIGURES.dropped.clone(),
    );
}

/// Sends spans, for as long as it is kept. Dropping it sends the last ones.
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    pub(super) fn start(settings: TraceSettings) -> Result<Self, String> {
        let TraceSettings {
            endpoint,
            ratio,
            instance,
            version,
        } = settings;
        let resource = Resource::builder()
            .with_service_name("sluicegate")
            .with_attributes([
                KeyValue::new("service.version", version),
                KeyValue::new("service.instance.id", instance),
            ])
            .build();
        let queue = Queue::start(endpoint.clone(), &resource)
            .map_err(|reason| format!("traces cannot be sent to {endpoint}: {reason}"))?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                ratio,
            ))))
            .with_span_processor(queue)
            .build();
        Ok(Self(provider))
    }

    /// Takes the spans of the service, and what is logged inside of them.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("sluicegate"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(filter_fn(|metadata| match metadata.is_span() {
                true => metadata.target() == spans::TARGET,
                false => {
                    *metadata.level() <= Level::INFO && metadata.target().starts_with("sluicegate")
                }
            }))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        let _ = self.0.shutdown();
    }
}

/// Connects when it has something to send, and belongs to the runtime in which it is made.
fn exporter(endpoint: String, resource: &Resource) -> Result<SpanExporter, String> {
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_LIMIT)
        .build()
        .map_err(|error| error.to_string())?;
    exporter.set_resource(resource);
    Ok(exporter)
}

/// Sends what waits, until nothing more can come.
async fn send(mut waiting: mpsc::Receiver<SpanData>, exporter: SpanExporter) {
    let mut batch = Vec::with_capacity(EXPORT_SPANS);
    while waiting.recv_many(&mut batch, EXPORT_SPANS).await > 0 {
        let gather = async {
            while batch.len() < EXPORT_SPANS {
                let room = EXPORT_SPANS - batch.len();
                if waiting.recv_many(&mut batch, room).await == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(GATHERING, gather).await;
        let count = batch.len() as u64;
        let exporting = exporter.export(std::mem::take(&mut batch));
        let reason = match tokio::time::timeout(EXPORT_LIMIT, exporting).await {
            Ok(Ok(())) => {
                FIGURES.exported.inc_by(count);
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", EXPORT_LIMIT.as_secs()),
        };
        FIGURES.count_dropped(NOT_TAKEN, count);
        warn!(
            spans = count,
            reason, "the collector does not take traces: they are dropped"
        );
    }
}

/// Puts spans that have ended into the queue.
#[derive(Debug)]
struct Queue {
    /// None at the end.
    spans: Mutex<Option<mpsc::Sender<SpanData>>>,
    ended: Mutex<std_mpsc::Receiver<()>>,
}

impl Queue {
    /// Starts the thread that sends what comes. It has a runtime of its own, so that ingestion has no part in it.
    fn start(endpoint: String, resource: &Resource) -> Result<Self, String> {
        let (spans, waiting) = mpsc::channel(QUEUE_SPANS);
        let (tell_begun, begun) = std_mpsc::channel();
        let (tell_ended, ended) = std_mpsc::channel();
        let resource = resource.clone();
        let sending = move || {
            let made = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match made {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell_begun.send(Err(error.to_string()))),
            };
            runtime.block_on(async {
                match exporter(endpoint, &resource) {
                    Ok(exporter) => {
                        let _ = tell_begun.send(Ok(()));
                        send(waiting, exporter).await;
                    }
                    Err(reason) => drop(tell_begun.send(Err(reason))),
                }
            });
            // Who asked for the end may have gone.
            let _ = tell_ended.send(());
        };
        thread::Builder::new()
            .name("traces".to_owned())
            .spawn(sending)
            .map_err(|error| error.to_string())?;
        begun.recv().map_err(|error| error.to_string())??;
        Ok(Self {
            spans: Mutex::new(Some(spans)),
            ended: Mutex::new(ended),
        })
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, mut span: SpanData) {
        describe(&mut span);
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = spans
            .as_ref()
            .is_some_and(|spans| spans.try_send(span).is_ok());
        if !sent {
            FIGURES.count_dropped(QUEUE_FULL, 1);
        }
    }

    /// What waits is sent within half a second anyway.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        let spans = self
            .spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if spans.is_none() {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        drop(spans);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = limit.min(END_LIMIT);
        ended
            .recv_timeout(limit)
            .map_err(|_| OTelSdkError::Timeout(limit))
    }
}

/// What calls and requests are to those who draw them: a server's, under the names that others have for what they tell.
/// <https://opentelemetry.io/docs/specs/semconv/>
fn describe(span: &mut SpanData) {
    if spans::CALLS.contains(&&*span.name) {
        span.span_kind = SpanKind::Server;
        span.attributes.push(KeyValue::new("rpc.system", "grpc"));
    } else if span.name == spans::REQUEST {
        span.span_kind = SpanKind::Server;
        let mut of_request = [String::new(), String::new()];
        for attribute in &mut span.attributes {
            let known = match attribute.key.as_str() {
                "method" => {
                    of_request[0] = attribute.value.to_string();
                    "http.request.method"
                }
                "route" => {
                    of_request[1] = attribute.value.to_string();
                    "http.route"
                }
                "status" => "http.response.status_code",
                _ => continue,
            };
            attribute.key = known.into();
        }
        span.name = of_request.join(" ").into();
    }
}

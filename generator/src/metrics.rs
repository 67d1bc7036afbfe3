//! What a generator has done, for Prometheus. `docs/metrics.md` lists it.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use sluicegate_transport::http;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use warp::{Filter as _, Reply as _, http::header, reply::Response};

use crate::door::door;

/// The only format there is here: Prometheus reads it, and says so by itself.
/// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From half a millisecond to four minutes, by powers of two.
const BUCKETS: usize = 20;
const FIRST_BUCKET_S: f64 = 0.0005;

/// Times to the acknowledgement, of as many readings as each is told for.
#[derive(Debug, Default)]
struct Acknowledgements {
    buckets: [AtomicU64; BUCKETS],
    beyond: AtomicU64,
    sum_us: AtomicU64,
}

impl Acknowledgements {
    fn record(&self, latency: Duration, readings: u64) {
        let bucket = (0..BUCKETS).find(|&bucket| latency.as_secs_f64() <= bound_s(bucket));
        let counter = bucket.map_or(&self.beyond, |bucket| &self.buckets[bucket]);
        counter.fetch_add(readings, Relaxed);
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us.saturating_mul(readings), Relaxed);
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let mut buckets: Vec<_> = (0..BUCKETS)
            .map(|bucket| (bound_s(bucket), self.buckets[bucket].load(Relaxed)))
            .collect();
        buckets.push((f64::MAX, self.beyond.load(Relaxed)));
        let count = buckets.iter().map(|(_, readings)| readings).sum();
        let sum_s = self.sum_us.load(Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)
    }
}

fn bound_s(bucket: usize) -> f64 {
    FIRST_BUCKET_S * f64::from(1_u32 << bucket)
}

/// Counts of a process, over all that it has started. Relaxed: they are shown, not reckoned with.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) requests: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) settled: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    acknowledgements: Acknowledgements,
}

impl Totals {
    pub(crate) fn record(&self, latency: Duration, readings: u64) {
        self.acknowledgements.record(latency, readings);
    }

    /// All figures of the generator, in OpenMetrics.
    pub(crate) fn page(self: &Arc<Self>, standing: Standing) -> String {
        let mut registry = Registry::with_prefix("sluicegen");
        registry.register_collector(Box::new(Page {
            totals: Arc::clone(self),
            standing,
        }));
        let mut page = String::new();
        // A String takes every write.
        let _ = text::encode(&mut page, &registry);
        page
    }
}

/// How a generator stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) running: bool,
    /// Whether the target took the last connection.
    pub(crate) target_up: bool,
    /// `None` for as many as possible.
    pub(crate) target_rate: Option<f64>,
}

#[derive(Debug)]
struct Page {
    totals: Arc<Totals>,
    standing: Standing,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.totals;
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        // Read in this order, so that no more is settled than was sent.
        let (failed, rejected, settled) = (
            count(&totals.failed),
            count(&totals.rejected),
            count(&totals.settled),
        );
        let sent = count(&totals.sent);
        for (name, help, value) in [
            (
                "requests",
                "Calls, or chunks handed to a stream",
                count(&totals.requests),
            ),
            ("readings_sent", "Readings that were sent", sent),
            (
                "readings_acknowledged",
                "Readings that are stored",
                settled.saturating_sub(rejected),
            ),
            (
                "readings_rejected",
                "Readings that the service refused one by one",
                rejected,
            ),
            (
                "readings_failed",
                "Readings whose fate is unknown, because a call failed for good",
                failed,
            ),
            (
                "reconnects",
                "Attempts to go on, or to connect again, after a failure",
                count(&totals.reconnects),
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let Standing {
            running,
            target_up,
            target_rate,
        } = self.standing;
        for (name, help, value) in [
            (
                "readings_in_flight",
                "Readings that wait for an answer",
                sent.saturating_sub(settled + failed) as f64,
            ),
            (
                "running",
                "1 from a start to its stop",
                f64::from(u8::from(running)),
            ),
            (
                "target_up",
                "1 while the service takes connections, as was tried last; 0 while nothing runs",
                f64::from(u8::from(target_up)),
            ),
            (
                "target_rate",
                "Readings a second that are to be sent; 0 for as many as possible",
                target_rate.unwrap_or_default(),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let mut info = encoder.encode_descriptor(
            "build_info",
            "The program, as a label",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(1_i64).encode(info.encode_family(&version)?)?;
        totals.acknowledgements.encode(encoder.encode_descriptor(
            "acknowledgement",
            "From the intended time of sending to the acknowledgement, of each reading",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?)
    }
}

/// The answer to a scrape.
pub(crate) fn answer(page: String) -> Response {
    warp::reply::with_header(page, header::CONTENT_TYPE, OPEN_METRICS).into_response()
}

/// Serves `/metrics` until it is dropped.
#[derive(Debug)]
pub(crate) struct MetricsServer {
    _closing: DropGuard,
}

impl MetricsServer {
    /// # Errors
    /// When the address is taken.
    pub(crate) async fn bind(
        addr: SocketAddr,
        totals: Arc<Totals>,
        target_rate: Option<f64>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let page = warp::path!("metrics").and(warp::get()).map(move || {
            answer(totals.page(Standing {
                running: true,
                target_up: true,
                target_rate,
            }))
        });
        let closing = CancellationToken::new();
        tokio::spawn(http::serve(
            listener,
            warp::service(page),
            door(None),
            closing.clone(),
        ));
        Ok(Self {
            _closing: closing.drop_guard(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reading_of_a_chunk_counts() {
        let totals = Arc::new(Totals::default());
        totals.record(Duration::from_micros(500), 10);
        totals.record(Duration::from_millis(3), 1_000);
        totals.record(Duration::from_secs(3_600), 1);
        let page = totals.page(Standing {
            running: true,
            target_up: false,
            target_rate: None,
        });
        for line in [
            "# TYPE sluicegen_acknowledgement_seconds histogram",
            "sluicegen_acknowledgement_seconds_bucket{le=\"0.0005\"} 10",
            "sluicegen_acknowledgement_seconds_bucket{le=\"0.002\"} 10",
            "sluicegen_acknowledgement_seconds_bucket{le=\"0.004\"} 1010",
            "sluicegen_acknowledgement_seconds_bucket{le=\"+Inf\"} 1011",
            "sluicegen_acknowledgement_seconds_count 1011",
            "sluicegen_running 1.0",
            "sluicegen_target_up 0.0",
            "# EOF",
        ] {
            assert!(page.lines().any(|it| it == line), "{line} in {page}");
        }
    }
}

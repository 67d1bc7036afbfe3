//! One registry for all figures, which Prometheus asks for. Each room registers its own when it is made.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabelValue, EncodeMetric, LabelValueEncoder, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram},
    registry::{Metric, Registry, Unit},
};

pub use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

/// A counter of seconds.
pub type SecondsCounter = Counter<f64, std::sync::atomic::AtomicU64>;

const PREFIX: &str = "sluicegate";

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// What every scraper of Prometheus reads.
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>
    Text,
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
}

/// All figures of the service, under names that begin with `sluicegate_`, and those of its process.
#[derive(Debug)]
pub struct Metrics {
    service: Mutex<Registry>,
    /// Named as every client library names them: without the prefix.
    process: Mutex<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            service: Mutex::new(Registry::with_prefix(PREFIX)),
            process: Mutex::default(),
        }
    }
}

fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// Registers a figure and returns it. The help is a sentence without its full stop.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        lock(&self.service).register(name, help, metric.clone());
        metric
    }

    /// As `register`, for seconds: the name goes without them.
    pub fn register_seconds<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        lock(&self.service).register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }

    /// Registers what is only known when it is asked for.
    pub fn ask(&self, collector: impl Collector) {
        lock(&self.service).register_collector(Box::new(collector));
    }

    /// As `ask`, for figures of the process.
    pub fn ask_process(&self, collector: impl Collector) {
        lock(&self.process).register_collector(Box::new(collector));
    }

    /// All figures as they are now.
    #[must_use]
    pub fn render(&self, exposition: Exposition) -> String {
        let mut page = String::new();
        // A String takes every write.
        for registry in [&self.service, &self.process] {
            let _ = text::encode_registry(&mut page, &lock(registry));
        }
        match exposition {
            Exposition::OpenMetrics => {
                let _ = text::encode_eof(&mut page);
                page
            }
            Exposition::Text => plain(&page),
        }
    }
}

/// The older format of what was written in OpenMetrics: there a counter's whole name stands in what is said of it, and
/// units and the end are not said.
fn plain(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let said = line.strip_prefix("# ").and_then(|said| {
            let mut words = said.splitn(3, ' ');
            Some((words.next()?, words.next()?, words.next()?))
        });
        match said {
            Some(("UNIT", ..)) => continue,
            Some(("HELP", name, help)) => {
                let is_counter = lines
                    .peek()
                    .is_some_and(|next| next.starts_with("# TYPE ") && next.ends_with(" counter"));
                let suffix = if is_counter { "_total" } else { "" };
                text.push_str(&format!("# HELP {name}{suffix} {help}"));
            }
            Some(("TYPE", name, "counter")) => {
                text.push_str(&format!("# TYPE {name}_total counter"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// For durations from a tenth of a millisecond to a minute and a half, by powers of two, seconds.
#[must_use]
pub fn durations() -> Histogram {
    Histogram::new(histogram::exponential_buckets(0.0001, 2.0, 20))
}

/// For counts from 1 to 4,000,000, by powers of four.
#[must_use]
pub fn counts() -> Histogram {
    Histogram::new(histogram::exponential_buckets(1.0, 4.0, 12))
}

/// A label whose values are words of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word(pub &'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

/// Writes figures that are only known when they are asked for.
pub struct Answer<'a>(pub DescriptorEncoder<'a>);

impl Answer<'_> {
    /// A gauge without labels.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        write(
            self.0
                .encode_descriptor(name, help, None, MetricType::Gauge)?,
            value,
        )
    }

    /// A counter without labels; its name goes without `_total`.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        counter.encode(encoder)
    }

    /// A counter of seconds.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn seconds_counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        let seconds = Some(&Unit::Seconds);
        counter.encode(
            self.0
                .encode_descriptor(name, help, seconds, MetricType::Counter)?,
        )
    }

    /// A gauge for each of these labels.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: &[(L, f64)],
    ) -> fmt::Result {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            write(encoder.encode_family(labels)?, *value)?;
        }
        Ok(())
    }
}

/// Whole numbers as such.
fn write(encoder: MetricEncoder<'_>, value: f64) -> fmt::Result {
    if value.fract() == 0.0 && value.abs() < EXACT {
        ConstGauge::new(value as i64).encode(encoder)
    } else {
        ConstGauge::new(value).encode(encoder)
    }
}

/// Up to here every whole number is a double.
const EXACT: f64 = (1_u64 << 53) as f64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let metrics = Metrics::default();
        let readings = metrics.register("readings", "Readings taken in", Counter::<u64>::default());
        readings.inc_by(7);
        metrics.register_seconds("load", "How long a load takes", durations());
        let open = metrics.render(Exposition::OpenMetrics);
        assert!(open.contains(
            "# HELP sluicegate_readings Readings taken in.\n# TYPE sluicegate_readings counter\nsluicegate_readings_total 7\n"
        ));
        assert!(open.contains("# UNIT sluicegate_load_seconds seconds\n"));
        assert!(open.ends_with("# EOF\n"));
        let text = metrics.render(Exposition::Text);
        assert!(text.contains(
            "# HELP sluicegate_readings_total Readings taken in.\n# TYPE sluicegate_readings_total counter\nsluicegate_readings_total 7\n"
        ));
        assert!(text.contains("# TYPE sluicegate_load_seconds histogram\n"));
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"));
    }
}

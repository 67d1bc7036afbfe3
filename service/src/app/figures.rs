//! Figures that are only known when somebody asks for them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use sluicegate_transport::tls::Tls;
use tokio_util::sync::CancellationToken;

use crate::{
    build_info::{COMMIT, VERSION},
    config::Config,
    telemetry::{
        self,
        metrics::{Answer, Collector, DescriptorEncoder, Metrics},
    },
    usecase::{
        UseCases,
        ingest::{Figures, Ingest, LaneActivity},
        manage::partitions::PartitionFigures,
        readiness::Readiness,
    },
};

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// Registers what the service tells when it is asked.
pub(super) fn register(
    metrics: &Metrics,
    config: &Config,
    started: &Arc<OnceLock<UseCases>>,
    readiness: &Arc<Readiness>,
    draining: &CancellationToken,
    tls: Option<&Arc<Tls>>,
) {
    metrics.ask(Limits::of(config));
    telemetry::register(metrics);
    metrics.ask(Standing {
        started: started.clone(),
        readiness: readiness.clone(),
        draining: draining.clone(),
    });
    metrics.ask(Certificate(tls.cloned()));
    #[cfg(target_os = "linux")]
    metrics.ask_process(super::process::Process);
}

/// The settings that bound something: what a figure is held against.
#[derive(Debug)]
struct Limits(Vec<([(&'static str, &'static str); 1], f64)>);

impl Limits {
    fn of(config: &Config) -> Self {
        let (grpc, rest, ingest) = (&config.grpc, &config.rest, &config.ingest);
        let limits = [
            ("grpc.max_connections", grpc.max_connections),
            ("grpc.max_open_calls", grpc.max_open_calls),
            (
                "grpc.max_concurrent_calls",
                grpc.max_concurrent_calls as usize,
            ),
            ("grpc.max_message_bytes", grpc.max_message_bytes),
            ("grpc.window_bytes", grpc.window_bytes),
            ("rest.max_connections", rest.max_connections),
            ("rest.max_exports", rest.max_exports),
            ("rest.max_heavy_queries", rest.max_heavy_queries),
            ("rest.answer_bytes", rest.answer_bytes as usize),
            ("rest.live_bytes", rest.live_bytes as usize),
            ("rest.parquet_bytes", rest.parquet_bytes as usize),
            ("rest.max_buckets", rest.max_buckets as usize),
            ("rest.max_scanned_rows", rest.max_scanned_rows as usize),
            ("ingest.lanes", ingest.lanes),
            ("ingest.max_batch_rows", ingest.max_batch_rows),
            ("ingest.budget_bytes", ingest.budget_bytes as usize),
            ("ingest.dictionary_bytes", ingest.dictionary_bytes),
            ("ingest.series_cache_bytes", ingest.series_cache_bytes),
            ("series.max", config.series.max as usize),
            ("series.new_per_hour", config.series.new_per_hour as usize),
            ("quarantine.max_rows", config.quarantine.max_rows as usize),
            ("ready.max_lag", config.ready.max_lag().as_secs() as usize),
        ];
        let limits = limits.map(|(setting, limit)| ([("setting", setting)], limit as f64));
        Self(limits.to_vec())
    }
}

impl Collector for Limits {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut answer = Answer(encoder);
        let build = [("version", VERSION), ("commit", COMMIT)];
        answer.gauges("build_info", "The program, as labels", &[(build, 1.0)])?;
        answer.gauges("limit", "Settings that bound something", &self.0)
    }
}

/// The certificate that both ports show.
#[derive(Debug)]
struct Certificate(Option<Arc<Tls>>);

impl Collector for Certificate {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) = (
            "tls_certificate_days_left",
            "Days until the certificate in use expires; negative once it has",
        );
        let mut answer = Answer(encoder);
        let Some(tls) = &self.0 else {
            let none: [([(&str, &str); 0], f64); 0] = [];
            return answer.gauges(name, help, &none);
        };
        let left = tls.expires().duration_since(SystemTime::now());
        // Negative since then.
        let left_s = left.map_or_else(
            |over| -over.duration().as_secs_f64(),
            |left| left.as_secs_f64(),
        );
        answer.gauge(name, help, left_s / DAY_S)
    }
}

struct Standing {
    started: Arc<OnceLock<UseCases>>,
    readiness: Arc<Readiness>,
    draining: CancellationToken,
}

impl fmt::Debug for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Standing")
    }
}

impl Collector for Standing {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut answer = Answer(encoder);
        let started = self.started.get();
        let last = self.readiness.last();
        let of_last = |what: fn(&crate::usecase::readiness::Standing) -> bool| {
            f64::from(u8::from(last.as_ref().is_some_and(what)))
        };
        answer.gauge(
            "ready",
            "1 while readings flow, as /readyz says",
            of_last(|last| last.ready),
        )?;
        answer.gauge(
            "database_up",
            "1 while the database answers",
            of_last(|last| last.database),
        )?;
        answer.gauge(
            "draining",
            "1 while the service is on its way down",
            f64::from(u8::from(self.draining.is_cancelled())),
        )?;
        match started {
            Some(started) => {
                books(&mut answer, &started.ingest.figures())?;
                ingestion(&mut answer, &started.ingest)?;
                match &started.partitions {
                    Some(manager) => partitions(&mut answer, &manager.figures()),
                    None => Ok(()),
                }
            }
            None => books(&mut answer, &Figures::default()),
        }
    }
}

fn books(answer: &mut Answer<'_>, books: &Figures) -> fmt::Result {
    let counters = [
        ("readings_received", "Readings taken in", books.received),
        ("readings_committed", "Readings committed", books.committed),
        (
            "readings_rejected",
            "Readings not stored: in quarantine, or turned away",
            books.rejected,
        ),
        (
            "readings_duplicate",
            "Readings that an earlier delivery had stored",
            books.duplicate,
        ),
        (
            "readings_turned_away",
            "Of those rejected: handed back to a fenced or misplaced writer",
            books.turned_away,
        ),
        ("batches_committed", "Transactions committed", books.batches),
        (
            "load_retries",
            "Loads that failed and were tried again",
            books.retries,
        ),
    ];
    for (name, help, value) in counters {
        answer.counter(name, help, value)?;
    }
    answer.gauge(
        "readings_in_flight",
        "Readings received and not settled",
        books.in_flight as f64,
    )
}

fn ingestion(answer: &mut Answer<'_>, ingest: &Ingest) -> fmt::Result {
    answer.gauge(
        "in_flight_bytes",
        "Memory that readings in flight take, of ingest.budget_bytes",
        ingest.used_bytes() as f64,
    )?;
    answer.gauge(
        "lag_seconds",
        "Age of the oldest reading that is not settled",
        ingest.lag().as_secs_f64(),
    )?;
    answer.gauge(
        "live_watchers",
        "Those who watch readings as they come (/live)",
        ingest.watches().watchers() as f64,
    )?;
    let of_lanes = |values: Vec<f64>| -> Vec<_> {
        let numbered = values.into_iter().enumerate();
        numbered
            .map(|(lane, value)| ([("lane", lane.to_string())], value))
            .collect()
    };
    let lags = ingest.lags().iter().map(|lag| lag.as_secs_f64()).collect();
    answer.gauges(
        "lane_lag_seconds",
        "Of each lane the age of its oldest reading that is not settled",
        &of_lanes(lags),
    )?;
    let queued = ingest.queued().into_iter().map(|count| count as f64);
    answer.gauges(
        "lane_queue_messages",
        "Messages that wait for each lane",
        &of_lanes(queued.collect()),
    )?;
    let (mut ages, mut attempts) = (Vec::new(), Vec::new());
    for state in ingest.lanes() {
        let (age, attempt) = match state.activity {
            LaneActivity::Loading { since } => (since.elapsed().as_secs_f64(), 0),
            LaneActivity::Retrying { since, attempt, .. } => {
                (since.elapsed().as_secs_f64(), attempt)
            }
            LaneActivity::Idle | LaneActivity::Ended => (0.0, 0),
        };
        ages.push(([("lane", state.label())], age));
        attempts.push(([("lane", state.label())], f64::from(attempt)));
    }
    answer.gauges(
        "lane_load_age_seconds",
        "How long each lane has been with the batch that it loads; 0 when it loads none",
        &ages,
    )?;
    answer.gauges(
        "lane_load_attempts",
        "Attempts to load that batch which failed",
        &attempts,
    )
}

/// What the last pass of this instance found, and what all of its passes did.
fn partitions(answer: &mut Answer<'_>, figures: &PartitionFigures) -> fmt::Result {
    for (name, help, value) in [
        (
            "partitions",
            "Partitions of the readings table",
            figures.partitions,
        ),
        (
            "partitions_ahead",
            "Partitions after the one that receives",
            figures.ahead,
        ),
        (
            "partition_width_seconds",
            "Width of new partitions",
            figures.width_s,
        ),
        (
            "catch_all_readings",
            "Readings in the catch-all partition; estimated beyond 500,000",
            figures.catch_all_rows,
        ),
        (
            "partitions_failing",
            "1 when the last pass over the partitions did not end well",
            u64::from(figures.failure.is_some()),
        ),
        (
            "retention_waiting",
            "1 while retention drops nothing because the clocks cannot be believed",
            u64::from(figures.retention_waits.is_some()),
        ),
    ] {
        answer.gauge(name, help, value as f64)?;
    }
    for (name, help, value) in [
        (
            "rehomed_readings",
            "Readings moved out of the catch-all partition",
            figures.rehomed_rows,
        ),
        (
            "partitions_dropped",
            "Partitions dropped by retention",
            figures.dropped,
        ),
    ] {
        answer.counter(name, help, value)?;
    }
    Ok(())
}

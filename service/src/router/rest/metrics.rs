//! The figures of the service in the text format of Prometheus.

use std::{fmt::Write as _, time::Duration};

use crate::usecase::{ingest::Figures, manage::partitions::PartitionFigures};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn render(
    books: &Figures,
    in_flight_bytes: u64,
    lag: Duration,
    draining: bool,
    partitions: Option<&PartitionFigures>,
) -> String {
    let counters = [
        ("readings_received", "Readings taken in.", books.received),
        ("readings_committed", "Readings committed.", books.committed),
        (
            "readings_rejected",
            "Readings not stored: in quarantine, or turned away.",
            books.rejected,
        ),
        (
            "readings_duplicate",
            "Readings that an earlier delivery had stored.",
            books.duplicate,
        ),
        (
            "readings_turned_away",
            "Of those rejected: handed back to a fenced or misplaced writer.",
            books.turned_away,
        ),
        (
            "batches_committed",
            "Transactions committed.",
            books.batches,
        ),
        (
            "load_retries",
            "Loads that failed and were tried again.",
            books.retries,
        ),
    ];
    let gauges = [
        (
            "readings_in_flight",
            "Readings received and not settled.",
            books.in_flight as f64,
        ),
        (
            "in_flight_bytes",
            "Memory that readings in flight take.",
            in_flight_bytes as f64,
        ),
        (
            "lag_seconds",
            "Age of the oldest reading that is not settled.",
            lag.as_secs_f64(),
        ),
        (
            "draining",
            "1 while the service is on its way down.",
            f64::from(u8::from(draining)),
        ),
    ];
    let mut text = String::new();
    for (name, help, value) in counters {
        let name = format!("{name}_total");
        line(&mut text, &name, "counter", help, value);
    }
    for (name, help, value) in gauges {
        line(&mut text, name, "gauge", help, value);
    }
    if let Some(figures) = partitions {
        of_partitions(&mut text, figures);
    }
    text
}

/// What the last pass of this instance found, and what all of its passes did.
fn of_partitions(text: &mut String, figures: &PartitionFigures) {
    for (name, help, value) in [
        (
            "partitions",
            "Partitions of the readings table.",
            figures.partitions,
        ),
        (
            "partitions_ahead",
            "Partitions after the one that receives.",
            figures.ahead,
        ),
        (
            "partition_width_seconds",
            "Width of new partitions.",
            figures.width_s,
        ),
        (
            "catch_all_readings",
            "Readings in the catch-all partition; estimated beyond 500,000.",
            figures.catch_all_rows,
        ),
        (
            "partitions_failing",
            "1 when the last pass over the partitions did not end well.",
            u64::from(figures.failure.is_some()),
        ),
        (
            "retention_waiting",
            "1 while retention drops nothing because the clocks cannot be believed.",
            u64::from(figures.retention_waits.is_some()),
        ),
    ] {
        line(text, name, "gauge", help, value);
    }
    for (name, help, value) in [
        (
            "rehomed_readings_total",
            "Readings moved out of the catch-all partition.",
            figures.rehomed_rows,
        ),
        (
            "partitions_dropped_total",
            "Partitions dropped by retention.",
            figures.dropped,
        ),
    ] {
        line(text, name, "counter", help, value);
    }
}

fn line(text: &mut String, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    // A String takes every write.
    let _ = write!(
        text,
        "# HELP sluicegate_{name} {help}\n# TYPE sluicegate_{name} {kind}\nsluicegate_{name} {value}\n"
    );
}

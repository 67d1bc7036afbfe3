//! A year of a million readings, from the whole of it to milliseconds.

use std::time::Instant;

use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{ColumnBatch, Series};

use super::{address, database, is_there, with_page};
use crate::{
    common::{
        readings::columns,
        service::{AckedCall, Service},
    },
    sample::{START_S, service as service_of},
};

const READINGS: i64 = 1_000_000;
const YEAR_S: i64 = 365 * 86_400;
/// In the middle of the year a reading came each millisecond for a while.
const BURST: i64 = 1_000;
const BURST_S: i64 = START_S + YEAR_S / 2;
const BATCH: i64 = 50_000;

fn at_us(n: i64) -> i64 {
    match n.checked_sub(READINGS - BURST) {
        Some(n) if n >= 0 => BURST_S * 1_000_000 + n * 1_000,
        _ => START_S * 1_000_000 + n * (YEAR_S * 1_000_000 / READINGS),
    }
}

async fn store_year(service: &Service) {
    let at = service.open("year").await;
    let mut call = AckedCall::resume(&mut service.client().await, "year", &at).await;
    for first in (0..READINGS).step_by(BATCH as usize) {
        let numbers = first..first + BATCH;
        let batch = ColumnBatch {
            series: vec![Series {
                id1: 1,
                id2: "year".to_owned(),
                sensor_type: "temperature".to_owned(),
            }],
            extend_dictionary: false,
            series_index: vec![0; BATCH as usize],
            sensor_value: numbers
                .clone()
                .map(|n| (at_us(n) as f64 / 4e12).sin() * 15.0 + (n * 7919 % 100) as f64 / 20.0)
                .collect(),
            base_timestamp_us: 0,
            timestamp_delta_us: numbers.map(at_us).collect(),
            series_tags: Vec::new(),
        };
        call.send(columns(batch)).await;
        call.until_acked(at.committed_seq + (first + BATCH) as u64)
            .await;
    }
    call.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_readings_of_a_year_are_seen_from_years_to_milliseconds() {
    if !is_there() {
        return;
    }
    let (_database, service) = service_of(&database().await, Layout::Series).await;
    store_year(&service).await;
    with_page(&service, |page| async move {
        let series = json!([[1, "year", "temperature"]]);
        let (from, to) = (START_S as f64, (START_S + YEAR_S) as f64);
        let begun = Instant::now();
        page.open(&address(&series, from, to)).await;
        page.until(
            "a year",
            "text('.status').includes('of 1,000,000 readings')",
        )
        .await;
        eprintln!(
            "a year of {READINGS} readings was shown after {:?}",
            begun.elapsed()
        );
        let status = page.text(".status").await;
        assert!(
            status.contains("averages of 12h"),
            "as many buckets as pixels: {status}"
        );
        page.picture("series", "light", (1200, 860)).await;
        // The burst lies in the middle, so zooming keeps it there; each press is followed by the next without waiting.
        page.run(
            "for (let n = 0; n < 22; n += 1) { key('ArrowUp'); await pause(30); }",
            Value::Null,
        )
        .await;
        page.until(
            "the readings of some seconds",
            "/every reading: [\\d,]+/.test(text('.status'))",
        )
        .await;
        let burst = BURST_S as f64 + 0.5;
        page.open(&address(&series, burst - 0.01, burst + 0.01))
            .await;
        page.until(
            "each of twenty milliseconds",
            "text('.status').includes('every reading: 20.')",
        )
        .await;
        page.run("all('details.data summary')[0].click()", Value::Null)
            .await;
        page.until(
            "them as a table",
            "all('details.data tbody tr').length === 20",
        )
        .await;
        let table = page.text("details.data tbody").await;
        assert!(table.contains(".495") && table.contains(".509"), "{table}");
    })
    .await;
    service.close().await;
}

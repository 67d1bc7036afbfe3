//! `/metrics`: what it says is what has happened, and the table in `docs/metrics.md` says all that it says.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use sluicegen::run::RunOptions;
use tokio::time::sleep;

use crate::{Generator, fake::Fake, number};

/// The figures of a page in OpenMetrics: name to type, and sample to value.
fn figures(page: &str) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
    let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            types.insert(format!("{name}{suffix}"), kind.to_owned());
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            samples.insert(name.to_owned(), value.parse().unwrap());
        }
    }
    (types, samples)
}

/// Those of the table: name to type.
fn documented() -> BTreeMap<String, String> {
    let rows = include_str!("../../../docs/metrics.md").lines();
    let rows = rows.filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let ours = rows.filter(|(name, _)| name.starts_with("sluicegen_"));
    ours.map(|(name, cells)| {
        let kind = cells.split(" | ").next().unwrap();
        (name.to_owned(), kind.to_owned())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_for_prometheus_are_those_of_the_docs() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let generator = Generator::serve(&format!("--target {target} --rate 1000 --start")).await;
    generator
        .until("readings are stored", |stats| {
            number(stats, "acknowledged") > 500
        })
        .await;
    let (_, stats) = generator.post("/stop", json!({})).await;
    let (status, report) = generator.post("/spam", json!({"total": 100})).await;
    assert_eq!(
        (status, number(&report, "committed")),
        (200, 100),
        "{report}"
    );
    let page = async |path: &str| {
        let url = format!("http://{}{path}", generator.server.addr());
        let reply = generator.client.get(url).send().await.unwrap();
        let kind = reply.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(
            kind,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        reply.text().await.unwrap()
    };
    assert_eq!(page("/metrics").await, page("/api/v1/metrics").await);
    let (types, samples) = figures(&page("/metrics").await);
    assert_eq!(types, documented());
    // Those of the burst are among them, and a stop takes nothing away.
    let acknowledged = number(&stats, "acknowledged") + 100;
    for (sample, value) in [
        ("sluicegen_readings_acknowledged_total", acknowledged),
        ("sluicegen_acknowledgement_seconds_count", acknowledged),
        ("sluicegen_readings_in_flight", 0),
        ("sluicegen_running", 0),
        ("sluicegen_target_rate", 1_000),
    ] {
        assert_eq!(samples[sample], value as f64, "{sample}");
    }
    generator.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_its_figures_while_it_lasts() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    // Nobody else takes a port that was just let go, unless it is asked for by number.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let running = tokio::spawn(sluicegen::run::run(RunOptions {
        target,
        rate: "200".parse().unwrap(),
        duration: Some(Duration::from_secs(3)),
        metrics_addr: Some(addr),
        ..RunOptions::default()
    }));
    sluicegate_transport::crypto::provider();
    // What is kept open would still be answered for a moment.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0);
    let client = client.build().unwrap();
    let page = async || {
        let reply = client
            .get(format!("http://{addr}/metrics"))
            .send()
            .await
            .ok()?;
        reply.text().await.ok()
    };
    let mut sent = 0.0;
    while sent == 0.0 && !running.is_finished() {
        if let Some(page) = page().await {
            let (_, samples) = figures(&page);
            assert_eq!(samples["sluicegen_target_rate"], 200.0);
            sent = samples["sluicegen_readings_sent_total"];
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(sent > 0.0);
    let report = running.await.unwrap().unwrap();
    assert_eq!(report.books.sent, report.books.committed);
    assert_eq!(page().await, None, "it is served until the end");
}

//! `verify` against a real database in which each kind of fault is planted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../proto/tests/fake/mod.rs"]
mod fake;

use std::{collections::HashMap, path::Path};

use chrono::DateTime;
use clap::Parser;
use common::Stack;
use fake::Fake;
use sluicegate_proto::v1::SensorReading;
use sluicegen::{
    error::Error,
    report::Report,
    run::{RunOptions, run},
    verify::{VerifyOptions, VerifyReport, verify},
};
use warp::Filter as _;

#[derive(Parser)]
struct Run {
    #[command(flatten)]
    options: RunOptions,
}

#[derive(Parser)]
struct Verify {
    #[command(flatten)]
    options: VerifyOptions,
}

async fn run_with_journal(stack: &Stack, journal: &Path, flags: &str) -> Report {
    let (target, journal) = (stack.target(), journal.display().to_string());
    let fixed = ["sluicegen", "--target", &target, "--journal", &journal];
    let flags = fixed.into_iter().chain(flags.split_whitespace());
    let report = run(Run::parse_from(flags).options).await.unwrap();
    assert!(
        report.books.balance() && report.errors.is_empty(),
        "{report:?}"
    );
    report
}

async fn verify_all(stack: &Stack, journals: &[&Path]) -> VerifyReport {
    let journals: Vec<_> = journals
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let url = stack.url();
    let flags = ["sluicegen", "--database-url", &url, "--journal"].into_iter();
    let flags = flags.chain(journals.iter().map(String::as_str));
    verify(&Verify::parse_from(flags).options).await.unwrap()
}

fn faults(report: &VerifyReport) -> [u64; 4] {
    [
        report.lost,
        report.duplicated,
        report.altered,
        report.unexpected,
    ]
}

/// The keys of a row in the middle of the table.
const VICTIM: &str = "(SELECT id FROM (SELECT id FROM sensor_readings ORDER BY ts, id LIMIT 1 OFFSET 7777) AS victim)";

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_fault_is_found() {
    let stack = Stack::start().await;
    let journal = stack.path("run.journal");
    run_with_journal(
        &stack,
        &journal,
        "--count 50000 --connections 2 --series 100",
    )
    .await;
    let clean = verify_all(&stack, &[&journal]).await;
    assert_eq!(
        (faults(&clean), clean.complete),
        ([0; 4], true),
        "{clean:?}"
    );
    assert_eq!(
        (clean.sent, clean.acknowledged, clean.found, clean.open),
        (50_000, 50_000, 50_000, 0)
    );

    stack
        .run(&format!("DELETE FROM sensor_readings WHERE id = {VICTIM}"))
        .await;
    let report = verify_all(&stack, &[&journal]).await;
    assert_eq!(faults(&report), [1, 0, 0, 0], "{report:?}");

    let copy =
        "INSERT INTO sensor_readings (id, sensor_value, sensor_type, id1, id2, ts) SELECT -1 - id";
    stack
        .run(&format!("{copy}, sensor_value, sensor_type, id1, id2, ts FROM sensor_readings WHERE id = {VICTIM}"))
        .await;
    let report = verify_all(&stack, &[&journal]).await;
    assert_eq!(faults(&report), [1, 1, 0, 0], "{report:?}");

    let other = VICTIM.replace("7777", "20000");
    stack
        .run(&format!(
            "UPDATE sensor_readings SET sensor_value = sensor_value + 0.01 WHERE id = {other}"
        ))
        .await;
    let third = VICTIM.replace("7777", "30000");
    stack
        .run(&format!(
            "UPDATE sensor_readings SET sensor_type = 'Pressure' WHERE id = {third}"
        ))
        .await;
    let report = verify_all(&stack, &[&journal]).await;
    assert_eq!(faults(&report), [1, 1, 2, 0], "{report:?}");

    stack
        .run(&format!("{copy} - 1000000000, 1, sensor_type, id1, id2, ts + INTERVAL 1 MICROSECOND FROM sensor_readings WHERE id = {other}"))
        .await;
    // Readings of ids that the run did not send are nobody's fault.
    stack
        .run(&format!("{copy} - 2000000000, 1, sensor_type, id1, 'other', ts FROM sensor_readings WHERE id = {other}"))
        .await;
    let report = verify_all(&stack, &[&journal]).await;
    assert_eq!(faults(&report), [1, 1, 2, 1], "{report:?}");
    assert_eq!(
        (report.found, report.examples.len()),
        (50_001, 5),
        "{report:?}"
    );
    stack.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_and_every_disturbance_reconciles() {
    let stack = Stack::start().await;
    let disturbed = "--late 0.02 --late-by 2s --out-of-order 0.02 --duplicates 0.02 --bad 0.01 --types a:3,b=sine --id1 0..9 --id2 x-[0..9]";
    for (mode, count) in [
        ("stream-acked", 40_000),
        ("stream", 40_000),
        ("batch", 20_000),
        ("unary", 2_000),
    ] {
        let journal = stack.path(mode);
        let flags = format!("--mode {mode} --count {count} --connections 2 --seed 5 {disturbed}");
        stack.run("DELETE FROM sensor_readings").await;
        let report = run_with_journal(&stack, &journal, &flags).await;
        assert!(report.books.rejected > count / 200, "{report:?}");
        let verified = verify_all(&stack, &[&journal]).await;
        assert_eq!(faults(&verified), [0; 4], "{mode}: {verified:?}");
        assert_eq!(
            (verified.acknowledged, verified.open),
            (report.books.committed, 0),
            "{mode}"
        );
        assert_eq!(verified.rejected, report.books.rejected, "{mode}");
        assert_eq!(verified.found, report.books.committed, "{mode}");
    }
    stack.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_may_be_stored_or_not() {
    let stack = Stack::start().await;
    let (one, two) = (stack.path("one"), stack.path("two"));
    run_with_journal(&stack, &one, "--count 20000 --start-time 1700000000000").await;
    run_with_journal(
        &stack,
        &two,
        "--count 20000 --start-time 1700000000000 --seed 2",
    )
    .await;
    let both = verify_all(&stack, &[&one, &two]).await;
    assert_eq!((faults(&both), both.found), ([0; 4], 40_000), "{both:?}");
    // Alone, the other run's rows are unexpected: same ids, same times.
    let alone = verify_all(&stack, &[&one]).await;
    assert_eq!((alone.lost, alone.altered), (0, 0), "{alone:?}");
    assert_eq!(alone.duplicated + alone.unexpected, 20_000, "{alone:?}");
    // A crash forgets the last acknowledgements and the end of the run.
    stack
        .run("DELETE FROM sensor_readings WHERE id % 2 = 0")
        .await;
    let cut = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let kept: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with(['a', 'e']))
            .collect();
        std::fs::write(path, kept.join("\n") + "\na 0 1").unwrap();
    };
    cut(&one);
    cut(&two);
    let crashed = verify_all(&stack, &[&one, &two]).await;
    assert_eq!(
        (faults(&crashed), crashed.acknowledged, crashed.complete),
        ([0; 4], 0, false),
        "{crashed:?}"
    );
    stack.close().await;
}

/// The management API, as far as `verify` needs it, over these rows.
async fn serve_rest(stored: Vec<SensorReading>, decimals: u32) -> String {
    let readiness = serde_json::json!({"storage": {"timestamp_decimals": decimals}});
    let readyz = warp::path!("readyz").map(move || warp::reply::json(&readiness));
    let export = warp::path!("api" / "v1" / "sensor" / "time")
        .and(warp::header::exact("accept", "application/x-ndjson"))
        .and(warp::query::<HashMap<String, String>>())
        .map(move |range: HashMap<String, String>| {
            let us = |name: &str| DateTime::parse_from_rfc3339(&range[name]).unwrap().timestamp_micros();
            let (from, to) = (us("from_time"), us("to_time"));
            let within = stored.iter().filter(|one| (from..to).contains(&one.timestamp_us));
            let line = |one: &SensorReading| {
                serde_json::json!({
                    "id": 1, "id1": one.id1, "id2": one.id2, "sensor_type": one.sensor_type,
                    "sensor_value": one.sensor_value, "timestamp": "", "timestamp_us": one.timestamp_us,
                })
                .to_string()
                    + "\n"
            };
            within.map(line).collect::<String>()
        });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(warp::serve(readyz.or(export)).incoming(listener).run());
    url
}

async fn verify_rest(journal: &Path, rest: &str) -> Result<VerifyReport, Error> {
    let journal = journal.display().to_string();
    let flags = ["sluicegen", "--journal", &journal, "--rest", rest];
    verify(&Verify::parse_from(flags).options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_through_the_service_finds_the_same_faults() {
    let fake = Fake::default();
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let target = format!("http://{}", fake.serve().await);
    let flags = format!(
        "sluicegen --target {target} --journal {} --count 20000 --values normal:0:1e9 --late 0.01",
        journal.display()
    );
    run(Run::parse_from(flags.split(' ')).options)
        .await
        .unwrap();
    let mut stored = fake.model().stored.clone();
    let rest = serve_rest(stored.clone(), 6).await;
    assert_eq!(faults(&verify_rest(&journal, &rest).await.unwrap()), [0; 4]);

    // A table of whole seconds.
    let mut cut = stored.clone();
    cut.iter_mut()
        .for_each(|one| one.timestamp_us -= one.timestamp_us.rem_euclid(1_000_000));
    let rest = serve_rest(cut, 0).await;
    assert_eq!(faults(&verify_rest(&journal, &rest).await.unwrap()), [0; 4]);

    stored.remove(100);
    stored.push(stored[5_000].clone());
    stored[9_000].sensor_value += 0.01;
    let foreign = SensorReading {
        timestamp_us: stored[12_000].timestamp_us + 1,
        ..stored[12_000].clone()
    };
    stored.push(foreign);
    let rest = serve_rest(stored, 6).await;
    assert_eq!(
        faults(&verify_rest(&journal, &rest).await.unwrap()),
        [1, 1, 1, 1]
    );

    let away = verify_rest(&journal, "http://127.0.0.1:1")
        .await
        .unwrap_err();
    assert!(away.to_string().contains("127.0.0.1:1"), "{away}");
}

//! `verify` against a real database in which each kind of fault is planted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../proto/tests/fake/mod.rs"]
mod fake;

use std::path::Path;

use clap::Parser;
use common::Stack;
use fake::Fake;
use sluicegate::repository::mysql::Layout;
use sluicegen::{
    report::Report,
    run::{RunOptions, run},
    verify::{VerifyOptions, VerifyReport, verify},
};

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

/// Through the service and directly, which have to agree.
async fn verify_all(stack: &Stack, journals: &[&Path]) -> VerifyReport {
    let journals: Vec<_> = journals
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let mut reports = Vec::new();
    for (flag, address) in [("--rest", stack.rest()), ("--database-url", stack.url())] {
        let flags = ["sluicegen", flag, &address, "--journal"].into_iter();
        let flags = flags.chain(journals.iter().map(String::as_str));
        let mut report = verify(&Verify::parse_from(flags).options).await.unwrap();
        report.seconds = 0.0;
        reports.push(report);
    }
    assert_eq!(
        serde_json::to_value(&reports[0]).unwrap(),
        serde_json::to_value(&reports[1]).unwrap()
    );
    reports.remove(0)
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
        // One in a hundred, and by chance some more or less; the service says why.
        let share = report.books.rejected as f64 / count as f64;
        assert!((0.008..0.012).contains(&share), "{report:?}");
        let named: u64 = report.rejections.iter().map(|one| one.readings).sum();
        assert!((1..=report.books.rejected).contains(&named), "{report:?}");
        assert!(
            report
                .rejections
                .iter()
                .any(|one| one.reason.contains("sensor_value")),
            "{report:?}"
        );
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

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_whole_seconds_is_held_to_whole_seconds() {
    let stack = Stack::start_with(Layout::Seed).await;
    let journal = stack.path("run.journal");
    let flags = "--count 20000 --rate 10000 --values normal:0:1e9 --late 0.01 --out-of-order 0.01";
    run_with_journal(&stack, &journal, flags).await;
    let clean = verify_all(&stack, &[&journal]).await;
    assert_eq!((faults(&clean), clean.found), ([0; 4], 20_000), "{clean:?}");
    stack
        .run(&format!("DELETE FROM sensor_readings WHERE id = {VICTIM}"))
        .await;
    let other = VICTIM.replace("7777", "12000");
    stack
        .run(&format!(
            "UPDATE sensor_readings SET sensor_value = sensor_value + 0.01, ts = ts WHERE id = {other}"
        ))
        .await;
    let report = verify_all(&stack, &[&journal]).await;
    assert_eq!(faults(&report), [1, 0, 1, 0], "{report:?}");
    stack.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_or_service_that_is_away_is_named() {
    let fake = Fake::default();
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal").display().to_string();
    let target = format!("http://{}", fake.serve().await);
    let flags = format!("sluicegen --target {target} --journal {journal} --count 10");
    run(Run::parse_from(flags.split(' ')).options)
        .await
        .unwrap();
    for (flag, address) in [
        ("--rest", "http://127.0.0.1:1"),
        ("--database-url", "mysql://root@127.0.0.1:1/sluicegate"),
    ] {
        let flags = ["sluicegen", "--journal", &journal, flag, address];
        let away = verify(&Verify::parse_from(flags).options)
            .await
            .unwrap_err();
        assert_eq!(away.exit_code(), std::process::ExitCode::from(1));
        assert!(away.to_string().contains("127.0.0.1:1"), "{away}");
    }
}

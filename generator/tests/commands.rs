//! The commands against a model of the service.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../proto/tests/fake/mod.rs"]
mod fake;

use std::{path::Path, process::Command};

use clap::Parser;
use fake::Fake;
use sluicegen::{
    replay::{ReplayOptions, replay},
    report::Report,
    run::{RunOptions, run},
};

#[derive(Parser)]
struct Run {
    #[command(flatten)]
    options: RunOptions,
}

#[derive(Parser)]
struct Replay {
    #[command(flatten)]
    options: ReplayOptions,
}

async fn run_against(fake: &Fake, flags: &str) -> Report {
    let target = format!("http://{}", fake.serve().await);
    let flags = ["sluicegen", "--target", &target]
        .into_iter()
        .chain(flags.split(' '));
    run(Run::parse_from(flags).options).await.unwrap()
}

fn sample() -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/seattle-weather-hourly-normals.csv");
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_accounts_for_every_reading() {
    for (mode, count) in [
        ("stream", 30_000),
        ("stream-acked", 30_000),
        ("batch", 30_000),
        ("unary", 2_000),
    ] {
        for encoding in ["columns", "rows"] {
            let fake = Fake::default();
            let flags = format!("--mode {mode} --encoding {encoding} --count {count}");
            let report = run_against(&fake, &flags).await;
            assert!(report.books.balance(), "{report:?}");
            assert_eq!(report.books.sent, count, "{mode}");
            assert_eq!(report.books.committed, count, "{mode}");
            assert_eq!(fake.model().stored.len() as u64, count, "{mode}");
            assert!(
                report.ack_ms.max > 0.0 && report.errors.is_empty(),
                "{report:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rated_run_keeps_its_rate_and_its_books_while_calls_break() {
    let fake = Fake::default();
    fake.model().break_every = Some(20);
    let report = run_against(&fake, "--rate 20000 --duration 2s --series 50").await;
    assert!(report.books.balance(), "{report:?}");
    assert!(report.reconnects > 0, "{report:?}");
    // Breaks do not slow the schedule down, nor does anything make it faster.
    assert!(
        report.sent_per_s <= 20_000.0 && report.target_per_s == Some(20_000.0),
        "{report:?}"
    );
    let model = fake.model();
    assert_eq!(model.stored.len() as u64, report.books.sent);
    let in_time_order =
        |pair: &[sluicegate_proto::v1::SensorReading]| pair[0].timestamp_us < pair[1].timestamp_us;
    assert!(model.stored.windows(2).all(in_time_order), "once, in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_has_its_own_stream() {
    let fake = Fake::default();
    let report = run_against(&fake, "--count 10001 --connections 3 --stream-id s").await;
    assert!(report.books.balance(), "{report:?}");
    assert_eq!(report.books.committed, 10_001);
    let model = fake.model();
    let positions = ["s-0", "s-1", "s-2"].map(|name| model.streams[name].committed_seq);
    assert_eq!(positions, [3_334, 3_334, 3_333]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_run_says_what_failed_and_still_balances() {
    let fake = Fake::default();
    fake.model().refuse = Some(tonic::Code::PermissionDenied);
    for mode in ["stream-acked", "unary"] {
        let report =
            run_against(&fake, &format!("--mode {mode} --count 100 --concurrency 4")).await;
        assert!(report.books.balance(), "{report:?}");
        assert_eq!((report.books.sent, report.books.failed), (100, 100));
        assert!(
            report.errors[0].contains("refused on purpose"),
            "{report:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_file_is_replayed_and_a_named_replay_is_not_repeated() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    for sent in [26_277, 0] {
        let file = sample();
        let flags = [
            "sluicegen",
            &file,
            "--target",
            &target,
            "--wide",
            "--time-column",
            "date",
        ]
        .into_iter()
        .chain(["--id1", "1", "--id2", "seattle", "--stream-id", "seattle"]);
        let report = replay(Replay::parse_from(flags).options).await.unwrap();
        assert!(report.books.balance(), "{report:?}");
        assert_eq!((report.books.sent, report.skipped), (sent, Some(0)));
    }
    assert_eq!(fake.model().stored.len(), 26_277);
}

fn sluicegen(flags: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegen"))
        .args(flags)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_wrong_file_or_flag_exits_with_2_and_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.csv");
    std::fs::write(&file, "date,wind\n2010-01-01T01:00:00,strong\n").unwrap();
    let file = file.display().to_string();
    let (code, out, err) = sluicegen(&[
        "replay",
        &file,
        "--wide",
        "--time-column",
        "date",
        "--id2",
        "a",
    ]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(
        err,
        format!("sluicegen: {file}, line 2, column wind: \"strong\" is no number\n")
    );
    assert_eq!(sluicegen(&["run", "--rate", "fast"]).0, Some(2));
    assert_eq!(sluicegen(&["replay", "nowhere.csv"]).0, Some(2));
}

#[test]
fn a_service_that_is_away_exits_with_1() {
    for mode in ["stream-acked", "unary"] {
        let (code, _, err) = sluicegen(&[
            "run",
            "--target",
            "http://127.0.0.1:1",
            "--mode",
            mode,
            "--connect-timeout",
            "300ms",
        ]);
        assert_eq!(code, Some(1), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains("127.0.0.1:1"), "{err}");
    }
}

#[test]
fn completions_know_the_commands() {
    let (code, out, _) = sluicegen(&["completions", "bash"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("replay"));
}

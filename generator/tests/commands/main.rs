//! The commands against a model of the service.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod csv;
#[path = "../../../proto/tests/fake/mod.rs"]
mod fake;
mod forward;
mod outage;
#[path = "../port/mod.rs"]
mod port;
mod schema;
mod terminal;

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
    let in_time_order = |pair: &[sluicegate_proto::v1::SensorReading]| {
        pair[0].timestamp_us() < pair[1].timestamp_us()
    };
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
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let csv = write("bad.csv", b"date,wind\n2010-01-01T01:00:00,strong\n");
    let wide = ["--wide", "--time-column", "date", "--id2", "a"];
    let (code, out, err) = sluicegen(&[&["replay", &csv], &wide[..]].concat());
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(
        err,
        format!(
            "sluicegen: {csv}, line 2, column wind: \"strong\" is no number: --null 'strong' skips such cells\n"
        )
    );
    let key = write("key.yaml", b"seed: 1\ncolor: red\n");
    let share = write("share.yaml", b"late: 2\n");
    let empty = write("empty", b"");
    let text = write("text", b"hello\n");
    let binary = write("binary", &[0xff; 300]);
    let header = b"{\"sluicegen_journal\":1,\"sluicegen\":\"0.1.0\",\"mode\":\"unary\"";
    let cut = write("cut", header);
    let future = write(
        "future",
        b"{\"sluicegen_journal\":1,\"sluicegen\":\"99.0.0\",\"mode\":\"unary\",\"stream_id\":\"s\",\"workload\":\
          {\"patterns\":{},\"connections\":1,\"start_us\":0,\"step_us\":1.0}}\n",
    );
    let list = write("list", b"9000\nnowhere\n");
    let list = format!("@{list}");
    for (flags, word) in [
        (vec!["run", "--rate", "fast"], "--rate"),
        (vec!["run", "--rate", "0"], "--rate"),
        (vec!["run", "--mode", "carrier-pigeon"], "--mode"),
        (vec!["run", "--connections", "0"], "--connections"),
        (vec!["run", "--duration", "5"], "--duration"),
        (vec!["run", "--colour"], "--colour"),
        (vec!["run", "--late", "2"], "late"),
        (vec!["run", "--out-of-order", "0.6"], "out_of_order"),
        (
            vec!["run", "--late", "0.5", "--duplicates", "0.3"],
            "duplicates",
        ),
        (vec!["run", "--types", "a=dice"], "dice"),
        (vec!["run", "--id1", "9..1"], "--id1"),
        (vec!["run", "--start-time", "soon"], "--start-time"),
        (
            vec!["run", "--start-time", "9999-01-01T00:00:00Z"],
            "--start-time",
        ),
        (vec!["run", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (vec!["run", "--config", &key], "color"),
        (vec!["run", "--config", &share], "late"),
        (vec!["run", "--target", "nowhere"], "nowhere"),
        (vec!["run", "--hdr", "/nowhere/hdr"], "/nowhere/hdr"),
        (vec!["run", "--give-up-after", "soon"], "--give-up-after"),
        (vec!["replay", "nowhere.csv"], "nowhere.csv"),
        (vec!["replay", "x", "--delimiter", ";;"], "--delimiter"),
        (vec!["replay", "x", "--decimal", ";"], "--decimal"),
        (vec!["replay", "x", "--time-unit", "h"], "--time-unit"),
        (vec!["replay", "x", "--time-format", "%H"], "--time-format"),
        (vec!["replay", "x", "--time-zone", "Mars"], "--time-zone"),
        (vec!["replay", "x", "--escape", "q"], "--escape"),
        (vec!["forward"], "--stream-id"),
        (
            vec![
                "forward",
                "--stream-id",
                "s",
                "--spool",
                "/nowhere",
                "--spool-bytes",
                "1GB",
            ],
            "--spool-bytes",
        ),
        (
            vec![
                "forward",
                "nowhere.lp",
                "--stream-id",
                "s",
                "--spool",
                "/nowhere",
            ],
            "nowhere.lp",
        ),
        (
            vec![
                "forward",
                "--stream-id",
                "s",
                "--spool",
                "/nowhere",
                "--mapping",
                "nowhere.yaml",
            ],
            "nowhere.yaml",
        ),
        (vec!["verify"], "--journal"),
        (vec!["verify", "--journal", "nowhere"], "nowhere"),
        (vec!["verify", "--journal", &empty], &empty),
        (vec!["verify", "--journal", &text], &text),
        (vec!["verify", "--journal", &binary], &binary),
        (vec!["verify", "--journal", &cut], &cut),
        (vec!["verify", "--journal", &future], "99.0.0"),
        (vec!["serve", "--addr", "9000"], "--addr"),
        (vec!["serve", "--bad", "x"], "--bad"),
        (vec!["fleet", "frequency"], "--rate"),
        (vec!["fleet", "--endpoints", "x", "stats"], "--endpoints"),
        (vec!["fleet", "--endpoints", &list, "stats"], "line 2"),
        (vec!["fleet", "up", "--count", "0"], "--count"),
        (vec!["fleet", "config", "{"], "JSON"),
        (
            vec!["fleet", "spam", "--total", "1", "--timeout", "x"],
            "--timeout",
        ),
        (vec!["export", "--out", "/tmp/nowhere"], "--count"),
        (vec!["completions", "dos"], "dos"),
        (vec!["dance"], "dance"),
    ] {
        let (code, out, err) = sluicegen(&flags);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{flags:?}: {err}");
        assert!(
            err.lines().count() == 1 && err.starts_with("sluicegen: ") && err.contains(word),
            "{flags:?}: {err}"
        );
    }
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
fn completions_of_every_shell_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = sluicegen(&["completions", shell]);
        assert_eq!(code, Some(0));
        for command in ["run", "replay", "serve", "fleet", "verify", "frequency"] {
            assert!(out.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn completions_may_be_cut_off_by_who_reads_them() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegen"))
        .args(["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

/// What was stored, as bytes. Calls that run side by side are answered in any order.
fn stored(fake: &Fake) -> Vec<Vec<u8>> {
    use prost::Message as _;
    let model = fake.model();
    let mut all: Vec<Vec<u8>> = model.stored.iter().map(|one| one.encode_to_vec()).collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_send_the_same_readings_byte_for_byte_in_every_mode() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("patterns.yaml");
    let yaml = "seed: 42\nstart_time: 2026-01-01T00:00:00Z\nshuffle_within: 5ms\nlate: 0.05\nlate_by: 1s\n\
                out_of_order: 0.05\nduplicates: 0.05\nbad: 0.01\nid1: 0..4\nid2: [a, 'b-[0..9]']\n\
                types: ['t:3=normal:20:5', 'h=uniform:0:100', 'p=sine:0:1:1', 'c=constant:7', w]\n";
    std::fs::write(&file, yaml).unwrap();
    let mut all = Vec::new();
    for mode in ["stream", "stream-acked", "batch", "unary"] {
        let flags = format!(
            "--mode {mode} --count 3000 --connections 2 --config {}",
            file.display()
        );
        let (first, second) = (Fake::default(), Fake::default());
        for fake in [&first, &second] {
            let report = run_against(fake, &flags).await;
            assert_eq!(report.books.sent, 3_000);
        }
        assert!(stored(&first) == stored(&second), "{mode}");
        all.push(stored(&first));
    }
    assert!(
        all.windows(2).all(|pair| pair[0] == pair[1]),
        "and all modes the same"
    );
    let other = Fake::default();
    let flags = format!(
        "--count 3000 --connections 2 --config {} --seed 43",
        file.display()
    );
    run_against(&other, &flags).await;
    assert!(stored(&other) != all[0], "another seed makes others");
    // So does an export.
    let export = |name: &str| {
        let out = directory.path().join(name);
        let flags = [
            "export",
            "--count",
            "3000",
            "--connections",
            "2",
            "--bad",
            "0",
            "--config",
        ];
        let (code, _, err) = sluicegen(
            &[
                &flags[..],
                &[file.to_str().unwrap(), "--out", out.to_str().unwrap()],
            ]
            .concat(),
        );
        assert_eq!(code, Some(0), "{err}");
        ["readings-0.tsv", "readings-1.tsv"].map(|name| std::fs::read(out.join(name)).unwrap())
    };
    assert_eq!(export("one"), export("two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_readings_are_reported_with_the_reason() {
    for mode in ["stream", "stream-acked", "batch", "unary"] {
        let fake = Fake::default();
        let report = run_against(&fake, &format!("--mode {mode} --count 2000 --bad 0.1")).await;
        let stored = fake.model().stored.len() as u64;
        assert_eq!(report.books.rejected, 2_000 - stored, "{report:?}");
        assert!(report.books.rejected > 0 && report.books.balance());
        assert_eq!(report.rejections.len(), 1, "{report:?}");
        assert!(report.rejections[0].reason.contains("not a number"));
        assert_eq!(report.rejections[0].readings, report.books.rejected);
    }
}

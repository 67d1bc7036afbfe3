//! Ten generators under `fleet`: against a real service, and as processes of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{path::Path, process::Output, time::Duration};

use clap::Parser;
use common::Stack;
use serde_json::Value;
use sluicegen::{
    serve::{ServeOptions, Server},
    verify::{VerifyOptions, verify},
};
use tokio::{
    process::Command,
    time::{Instant, timeout},
};

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    options: ServeOptions,
}

#[derive(Parser)]
struct Verify {
    #[command(flatten)]
    options: VerifyOptions,
}

/// Runs `sluicegen fleet` as people do, on a host without authorities, such as its image.
async fn fleet(endpoints: &str, words: &str) -> (Output, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegen"))
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .args(["fleet", "--json", "--endpoints", endpoints])
        .args(words.split_whitespace())
        .output()
        .await
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, json)
}

async fn done(endpoints: &str, words: &str) -> Value {
    let (output, json) = fleet(endpoints, words).await;
    assert!(output.status.success(), "{words}: {output:?}");
    json
}

fn total(summary: &Value, figure: &str) -> f64 {
    summary[figure]["total"].as_f64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_generators_are_started_slowed_watched_and_stopped_and_all_they_sent_is_stored() {
    let stack = Stack::start().await;
    let (target, journals) = (stack.target(), stack.path("journals").display().to_string());
    let mut servers = Vec::new();
    for seed in 0..10 {
        let flags = format!(
            "sluicegen --addr 127.0.0.1:0 --target {target} --rate 2000 --series 50 --seed {seed} --journal-dir {journals}"
        );
        servers.push(
            Server::bind(&Serve::parse_from(flags.split(' ')).options, None)
                .await
                .unwrap(),
        );
    }
    let endpoints: Vec<String> = servers
        .iter()
        .map(|server| server.addr().to_string())
        .collect();
    let endpoints = endpoints.join(",");

    done(&endpoints, "start").await;
    let under_way = async {
        loop {
            let stats = done(&endpoints, "stats").await;
            if total(&stats, "acknowledged") > 10_000.0 {
                break stats;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let running = timeout(Duration::from_secs(60), under_way)
        .await
        .expect("10,000 are acknowledged in a minute");
    assert_eq!(running["running"], 10, "{running}");
    for figure in [
        "rate",
        "requests",
        "sent",
        "acknowledged",
        "rejected",
        "failed",
        "uptime_s",
    ] {
        let spread = &running[figure];
        let of = |name: &str| spread[name].as_f64().unwrap();
        assert!(
            of("min") <= of("avg") && of("avg") <= of("max"),
            "{running}"
        );
        assert!((of("avg") * 10.0 - of("total")).abs() < 0.01, "{running}");
    }

    let changing = Instant::now();
    done(&endpoints, "frequency --rate 50").await;
    let slow = done(&endpoints, "stats").await;
    let (watched, _) = fleet(&endpoints, "stats --watch --interval 500ms --looks 4").await;
    let slow_s = changing.elapsed().as_secs_f64();
    let looks: Vec<Value> = String::from_utf8(watched.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(looks.len(), 4);
    // Each schedule began anew with the new rate; what it let go of the old one is a chunk at most.
    let sent = total(&looks[3], "sent") - total(&slow, "sent");
    let most = 10.0 * (50.0 * slow_s + 4.0);
    assert!(sent <= most, "{sent} of at most {most} readings");
    assert_eq!(looks[3]["generators"][0]["rate"]["target"], 50.0);

    let file = stack.path("fleet.txt");
    std::fs::write(&file, endpoints.replace(',', "\n")).unwrap();
    let bursts = done(
        &format!("@{}", file.display()),
        "spam --total 100 --concurrency 4",
    )
    .await;
    let committed = |burst: &Value| burst["answer"]["committed"].as_u64().unwrap();
    let committed: u64 = bursts.as_array().unwrap().iter().map(committed).sum();
    assert_eq!(committed, 1_000, "{bursts}");
    done(&endpoints, "stop").await;
    let stopped = done(&endpoints, "stats").await;
    assert_eq!(
        (stopped["running"].as_u64(), total(&stopped, "failed")),
        (Some(0), 0.0),
        "{stopped}"
    );
    let stored = stack.ask("SELECT COUNT(*) FROM sensor_readings").await;
    assert_eq!(
        total(&stopped, "acknowledged") as u64 + committed,
        stored,
        "{stopped}"
    );
    assert_eq!(total(&stopped, "sent"), total(&stopped, "acknowledged"));

    // Starts and bursts keep journals, and the table is what they say.
    let journals: Vec<String> = std::fs::read_dir(Path::new(&journals))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    assert_eq!(journals.len(), 20);
    let url = stack.url();
    let flags = ["sluicegen", "--database-url", &url, "--journal"].into_iter();
    let flags = flags.chain(journals.iter().map(String::as_str));
    let report = verify(&Verify::parse_from(flags).options).await.unwrap();
    assert!(report.is_clean() && report.complete, "{report:?}");
    assert_eq!(
        (report.acknowledged, report.open, report.found),
        (stored, 0, stored)
    );

    // One that is down is named, and the others still answer.
    servers.pop().unwrap().close().await;
    let (output, json) = fleet(&endpoints, "stats").await;
    assert_eq!(
        (output.status.code(), &json["answered"]),
        (Some(1), &Value::from(9))
    );
    assert_eq!(
        json["down"][0]["endpoint"].as_str(),
        endpoints.split(',').next_back()
    );
    let (output, json) = fleet(&endpoints, "start").await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        json.as_array()
            .unwrap()
            .iter()
            .filter(|one| one["error"].is_null())
            .count(),
        9
    );
    for server in servers {
        server.close().await;
    }
    stack.close().await;
}

/// Stops the generators of a state directory, should a test fail before it does.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = std::process::Command::new(env!("CARGO_BIN_EXE_sluicegen"))
            .args(["fleet", "--state-dir", &self.0, "down"])
            .output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_starts_processes_and_down_stops_exactly_those() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().display().to_string();
    let _cleanup = Cleanup(state.clone());
    let fleet = async |words: &str| {
        Command::new(env!("CARGO_BIN_EXE_sluicegen"))
            .args(["fleet", "--json", "--state-dir", &state])
            .args(words.split_whitespace())
            .output()
            .await
            .unwrap()
    };
    let up = fleet("up --count 3 --first-port 0 -- --rate 5").await;
    assert!(up.status.success(), "{up:?}");
    let addresses: Value = serde_json::from_slice(&up.stdout).unwrap();
    assert_eq!(addresses["endpoints"].as_array().unwrap().len(), 3);
    // Without endpoints, those that are up are meant.
    let stats = fleet("stats").await;
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(stats["answered"], 3, "{stats}");
    assert_eq!(
        stats["generators"][2]["rate"]["target"], 5.0,
        "the flags behind -- are theirs"
    );
    assert_eq!(
        fleet("up --count 1 --first-port 0").await.status.code(),
        Some(1),
        "they are up already"
    );
    let down = fleet("down").await;
    let down: Value = serde_json::from_slice(&down.stdout).unwrap();
    assert_eq!(down["stopped"], 3);
    let first = addresses["endpoints"][0].as_str().unwrap();
    assert!(tokio::net::TcpStream::connect(first).await.is_err());
    let again = fleet("down").await;
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["stopped"], 0);
    let broken = fleet("up --count 2 --first-port 0 -- --nonsense").await;
    assert_eq!(broken.status.code(), Some(1));
    let reason = String::from_utf8(broken.stderr).unwrap();
    assert!(reason.contains("does not start"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn down_leaves_a_process_alone_that_has_got_the_number_of_a_generator() {
    let directory = tempfile::tempdir().unwrap();
    let mut stranger = Command::new("sleep")
        .arg("60")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = stranger.id().unwrap();
    let state = serde_json::json!({"generators": [{"pid": pid, "started_ticks": 1, "addr": "127.0.0.1:9000"}]});
    std::fs::write(directory.path().join("fleet.json"), state.to_string()).unwrap();
    let state_dir = directory.path().display().to_string();
    let down = Command::new(env!("CARGO_BIN_EXE_sluicegen"))
        .args(["fleet", "--json", "--state-dir", &state_dir, "down"])
        .output()
        .await
        .unwrap();
    let down: Value = serde_json::from_slice(&down.stdout).unwrap();
    assert_eq!(down["stopped"], 0);
    assert!(stranger.try_wait().unwrap().is_none(), "it still runs");
    stranger.kill().await.unwrap();
}

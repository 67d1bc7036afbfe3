//! Open loop: a server that stands still shows in the latencies, and the schedule is kept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../proto/tests/fake/mod.rs"]
mod fake;

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::Parser;
use fake::Fake;
use rustix::process::{Pid, Signal, kill_process};
use sluicegen::run::{RunOptions, run};

const ADDRESS_FILE: &str = "SLUICEGEN_TEST_ADDRESS_FILE";

#[derive(Parser)]
struct Run {
    #[command(flatten)]
    options: RunOptions,
}

/// A server in a process of its own, which can be stopped as a whole.
struct Process(Child);

impl Process {
    fn start(address_file: &PathBuf) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "the_server_that_is_stopped"])
            .env(ADDRESS_FILE, address_file)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: the other half of the one below.
#[tokio::test]
#[ignore = "it is started by another test"]
async fn the_server_that_is_stopped() {
    let file = PathBuf::from(std::env::var(ADDRESS_FILE).unwrap());
    let address = Fake::default().serve().await.to_string();
    let beside = file.with_extension("tmp");
    std::fs::write(&beside, address).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    // Longer than any test, and not for ever should it be left behind.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_for_two_seconds_shows_in_p999() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("address");
    let server = Process::start(&file);
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let target = format!("http://{}", std::fs::read_to_string(&file).unwrap());
    for mode in ["stream-acked", "unary"] {
        let hdr = directory.path().join(mode);
        let flags = format!(
            "sluicegen --target {target} --mode {mode} --rate 500 --duration 4s --hdr {}",
            hdr.display()
        );
        let loaded = tokio::spawn(run(Run::parse_from(flags.split(' ')).options));
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.signal(Signal::STOP);
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.signal(Signal::CONT);
        let report = loaded.await.unwrap().unwrap();
        assert!(
            report.books.balance() && report.errors.is_empty(),
            "{report:?}"
        );
        // Half of the readings were due while nobody answered; the first of them waited for two seconds.
        assert!(report.ack_ms.p999 >= 1_000.0, "{report:?}");
        // The schedule went on: none was left out.
        assert!((1_900..=2_000).contains(&report.books.sent), "{report:?}");
        let histogram = std::fs::read_to_string(hdr).unwrap();
        assert!(
            histogram.contains(&format!("Total count    = {:>12}]", report.books.sent)),
            "{histogram}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_per_second_are_sent_on_schedule() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let flags = format!("sluicegen --target {target} --rate 200000 --count 400000");
    let report = run(Run::parse_from(flags.split(' ')).options)
        .await
        .unwrap();
    assert_eq!(
        (report.books.sent, report.books.committed),
        (400_000, 400_000)
    );
    // A burst at the start would make it faster, a lost turn slower.
    assert!(
        (198_000.0..=202_000.0).contains(&report.sent_per_s),
        "{report:?}"
    );
    assert_eq!(report.target_per_s, Some(200_000.0));
}

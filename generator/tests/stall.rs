//! Open loop: a server that stands still shows in the latencies, and the schedule is kept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../proto/tests/fake/mod.rs"]
mod fake;

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
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
    let fake = Fake::default();
    let address = fake.serve().await.to_string();
    let write = |extension: &str, text: String| {
        let beside = file.with_extension("tmp");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, file.with_extension(extension)).unwrap();
    };
    write("", address);
    // Longer than any test, and not for ever should it be left behind.
    for _ in 0..12_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let stored = fake.model().stored.len();
        write("stored", stored.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_for_two_seconds_shows_in_p999() {
    // Each with a server of its own, all at once.
    let stalls = ["stream-acked", "batch", "unary"].map(|mode| tokio::spawn(stall(mode)));
    for stall in stalls {
        stall.await.unwrap();
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let give_up_at = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < give_up_at, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn stall(mode: &'static str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("address");
    let server = Process::start(&file);
    until("the server has an address", || file.exists()).await;
    let target = format!("http://{}", std::fs::read_to_string(&file).unwrap());
    let stored = || -> u64 {
        let text = std::fs::read_to_string(file.with_extension("stored"));
        text.map_or(0, |text| text.parse().unwrap())
    };
    let hdr = directory.path().join("hdr");
    // The schedule takes six seconds: the stop comes in its midst however slow the machine is.
    let flags = format!(
        "sluicegen --target {target} --mode {mode} --rate 500 --count 3000 --batch-size 10 --hdr {}",
        hdr.display()
    );
    let loaded = tokio::spawn(run(Run::parse_from(flags.split(' ')).options));
    until("a hundred are stored", || stored() >= 100).await;
    server.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.signal(Signal::CONT);
    let report = loaded.await.unwrap().unwrap();
    assert!(
        report.books.balance() && report.errors.is_empty(),
        "{report:?}"
    );
    // None was left out, and the ones that were due right after the stop waited for all of it.
    assert_eq!(report.books.committed, 3_000, "{report:?}");
    assert!(report.ack_ms.p999 >= 1_900.0, "{report:?}");
    let histogram = std::fs::read_to_string(hdr).unwrap();
    assert!(
        histogram.contains("Total count    =         3000]"),
        "{histogram}"
    );
}

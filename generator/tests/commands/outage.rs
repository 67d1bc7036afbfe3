//! A service that goes away, comes back, answers nothing, or is not to be found.

use std::{
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tonic::Code;

use crate::{fake::Fake, port::Port, sample, sluicegen};

const MODES: [&str; 4] = ["stream", "stream-acked", "batch", "unary"];
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that runs, and ends with the test.
struct Running(Option<Child>);

impl Running {
    fn start(flags: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sluicegen"))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(Some(child.unwrap()))
    }

    /// Waits for its end, which has to come.
    async fn end(mut self) -> Output {
        until("the command ends", || {
            let child = self.0.as_mut().unwrap();
            child.try_wait().unwrap().is_some()
        })
        .await;
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up_at, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Until the model has got some readings.
async fn until_it_flows(fake: &Fake) {
    until("readings flow", || fake.model().stored.len() > 100).await;
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

fn assert_gave_up(mode: &str, output: &Output, because: &str) {
    let report = report(output);
    assert_eq!(output.status.code(), Some(1), "{mode}: {report}");
    let errors: Vec<&str> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error.as_str().unwrap())
        .collect();
    let gave_up = errors
        .iter()
        .find(|error| error.contains("gave up after") && error.contains("--give-up-after"));
    let gave_up = gave_up.unwrap_or_else(|| panic!("{mode}: {errors:?}"));
    assert!(gave_up.contains(because), "{mode}: {gave_up}");
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(
        number("sent"),
        number("received") + number("failed"),
        "{mode}: {report}"
    );
    assert!(number("failed") > 0, "{mode}: {report}");
}

fn flags<'a>(mode: &'a str, target: &'a str, patience: &'a str) -> Vec<&'a str> {
    vec![
        "run",
        "--json",
        "--mode",
        mode,
        "--target",
        target,
        "--rate",
        "2000",
        "--duration",
        "1h",
        "--batch-size",
        "20",
        "--give-up-after",
        patience,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_service_goes_away_ends_and_says_why() {
    for mode in MODES {
        let port = Port::reserve();
        let fake = Fake::default();
        let runtime = port.serve(&fake);
        let target = format!("http://{}", port.address);
        let mut flags = flags(mode, &target, "2s");
        // A plain stream is acknowledged when it asks for it.
        flags.extend(["--unacknowledged-bytes", "10000"]);
        let run = Running::start(&flags);
        until_it_flows(&fake).await;
        runtime.shutdown_background();
        let output = run.end().await;
        assert_gave_up(mode, &output, "refused");
        let report = report(&output);
        let last = report["last_failure"].as_str().unwrap();
        assert!(last.contains("refused"), "{mode}: {report}");
        assert!(report["reconnects"].as_u64() > Some(0), "{mode}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_service_comes_back_goes_on_and_tells_of_it() {
    for mode in ["stream", "stream-acked"] {
        let port = Port::reserve();
        let fake = Fake::default();
        let runtime = port.serve(&fake);
        let target = format!("http://{}", port.address);
        let mut flags = flags(mode, &target, "50s");
        flags.extend(["--count", "6000"]);
        let run = Running::start(&flags);
        until("it runs", || fake.model().calls > 0).await;
        runtime.shutdown_background();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let runtime = port.serve(&fake);
        let output = run.end().await;
        let report = report(&output);
        assert_eq!(output.status.code(), Some(0), "{mode}: {report}");
        assert_eq!(report["received"], 6_000, "{mode}: {report}");
        assert!(report["reconnects"].as_u64() > Some(0), "{mode}: {report}");
        assert!(report["last_failure"].is_string(), "{mode}: {report}");
        runtime.shutdown_background();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_service_refuses_for_ever_ends_with_its_reason() {
    for mode in MODES {
        let fake = Fake::default();
        let target = format!("http://{}", fake.serve().await);
        let run = Running::start(&flags(mode, &target, "2s"));
        until("it runs", || fake.model().calls > 0).await;
        {
            let mut model = fake.model();
            model.refuse = Some(Code::Unavailable);
            model.break_every = Some(1);
        }
        assert_gave_up(mode, &run.end().await, "refused on purpose");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_service_takes_calls_and_answers_nothing_ends() {
    for (mode, because) in [
        ("stream", "acknowledges nothing"),
        ("stream-acked", "acknowledges nothing"),
        ("batch", "no answer"),
        ("unary", "no answer"),
    ] {
        let fake = Fake::default();
        let target = format!("http://{}", fake.serve().await);
        fake.model().stalled = true;
        let mut flags = flags(mode, &target, "2s");
        flags.extend(["--unacknowledged-bytes", "10000"]);
        assert_gave_up(mode, &Running::start(&flags).end().await, because);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_progress_tell_why_nothing_moves() {
    let port = Port::reserve();
    let fake = Fake::default();
    let runtime = port.serve(&fake);
    let target = format!("http://{}", port.address);
    // A line comes every ten seconds.
    let run = Running::start(&flags("stream-acked", &target, "14s"));
    until_it_flows(&fake).await;
    runtime.shutdown_background();
    let output = run.end().await;
    let err = String::from_utf8_lossy(&output.stderr);
    let line = err.lines().find(|line| line.contains(" durable, "));
    let line = line.unwrap_or_else(|| panic!("{err}"));
    assert!(
        line.contains("reconnects: cannot connect") && line.contains("refused"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_service_goes_away_ends_and_says_why() {
    let port = Port::reserve();
    let fake = Fake::default();
    let runtime = port.serve(&fake);
    let (file, target) = (sample(), format!("http://{}", port.address));
    let run = Running::start(&[
        "replay",
        &file,
        "--json",
        "--target",
        &target,
        "--wide",
        "--time-column",
        "date",
        "--id2",
        "a",
        "--rate",
        "1000",
        "--give-up-after",
        "2s",
    ]);
    until_it_flows(&fake).await;
    runtime.shutdown_background();
    assert_gave_up("replay", &run.end().await, "refused");
}

#[test]
fn a_name_that_does_not_resolve_is_named_at_the_start() {
    let file = sample();
    let from = [
        vec!["run", "--mode", "stream"],
        vec!["run", "--mode", "stream-acked"],
        vec!["run", "--mode", "batch"],
        vec!["run", "--mode", "unary"],
        vec![
            "replay",
            &file,
            "--wide",
            "--time-column",
            "date",
            "--id2",
            "a",
        ],
    ];
    for command in from {
        let target = [
            "--target",
            "http://nowhere.invalid:50051",
            "--connect-timeout",
            "1s",
        ];
        let (code, out, err) = sluicegen(&[&command[..], &target[..]].concat());
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        let last = err.lines().last().unwrap();
        assert!(
            last.starts_with("sluicegen: ") && last.contains("nowhere.invalid"),
            "{err}"
        );
    }
}

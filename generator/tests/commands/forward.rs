//! `sluicegen forward` against a model of the service: lines of any format, restarts, rotation, and a service that is away.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{fake::Fake, port::Port};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a spool and inputs, and where the readings go.
struct Edge {
    folder: tempfile::TempDir,
    target: String,
}

impl Edge {
    fn new(target: String) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            target,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegen"));
        command
            .args(["forward", "--json", "--stream-id", "edge", "--target"])
            .arg(&self.target)
            .args([
                "--connect-timeout",
                "300ms",
                "--sync-interval",
                "5ms",
                "--spool",
            ])
            .arg(self.path("spool"))
            .args(flags)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end, which has to be in order: the figures, and what was said.
    fn forward(&self, flags: &[&str]) -> (Value, String) {
        let output = self.command(flags).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (serde_json::from_slice(&output.stdout).unwrap(), said)
    }

    /// As `forward`, for what is refused.
    fn refused(&self, flags: &[&str]) -> (Option<i32>, String) {
        let output = self.command(flags).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    }

    fn append(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

async fn edge(fake: &Fake) -> Edge {
    Edge::new(format!("http://{}", fake.serve().await))
}

/// Lines whose values are their numbers.
fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers
        .map(|n| format!("edge,id1=3,id2=a flow={n} {n}000000\n"))
        .collect()
}

fn stored(fake: &Fake) -> Vec<u64> {
    let model = fake.model();
    model
        .stored
        .iter()
        .map(|one| one.sensor_value() as u64)
        .collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up_at, "waited in vain: {what}");
        wait(20);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the model has threads of its own"
)]
fn wait(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// SIGTERM, and the figures that it leaves.
fn terminate(mut child: Child) -> Value {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("it ends", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_forwarded_once_and_what_is_appended_later_as_well() {
    let fake = Fake::default();
    let edge = edge(&fake).await;
    edge.append("a.lp", &lines(0..5_000));
    let (report, _) = edge.forward(&["a.lp"]);
    assert_eq!(
        (&report["taken"], &report["committed"]),
        (&5_000.into(), &5_000.into())
    );
    assert_eq!(
        (&report["spooled"], &report["bad_lines"]),
        (&0.into(), &0.into())
    );
    for (more, name) in [(0, "a.lp"), (7, "a.lp"), (7, "b.lp")] {
        let next = stored(&fake).len() as u64;
        edge.append("a.lp", &lines(next..next + more));
        if name == "b.lp" {
            // It is known by what it holds, not by its name.
            fs::rename(edge.path("a.lp"), edge.path("b.lp")).unwrap();
        }
        let (report, said) = edge.forward(&[name]);
        assert_eq!(report["taken"], more, "{said}");
        assert!(
            said.contains(&format!("goes on behind line {next}")),
            "{said}"
        );
    }
    assert_eq!(stored(&fake), (0..5_014).collect::<Vec<_>>());
    let first = fake.model().stored[1].clone();
    assert_eq!((first.id1, first.id2.as_str()), (3, "a"));
    assert_eq!(
        (first.sensor_type.as_str(), first.timestamp_us()),
        ("edge.flow", 1_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_is_refused_unless_it_is_to_go_behind_the_first_one() {
    let fake = Fake::default();
    let edge = edge(&fake).await;
    edge.append("a.lp", &lines(0..100));
    edge.append("b.lp", &lines(100..200));
    edge.forward(&["a.lp"]);
    let (code, said) = edge.refused(&["b.lp"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("stands behind line 100 of a.lp") && said.contains("--append"),
        "{said}"
    );
    for taken in [100, 0] {
        let (report, _) = edge.forward(&["b.lp", "--append"]);
        assert_eq!(report["taken"], taken);
    }
    assert_eq!(stored(&fake), (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_said_counted_and_skipped() {
    let fake = Fake::default();
    let edge = edge(&fake).await;
    edge.append("a.lp", &lines(0..2));
    edge.append("a.lp", "nonsense\nedge flow=much 5\n# a comment\n\n");
    edge.append("a.lp", &lines(2..4));
    let (report, said) = edge.forward(&["a.lp"]);
    assert_eq!(
        (&report["taken"], &report["bad_lines"]),
        (&4.into(), &2.into())
    );
    assert!(
        said.contains("line 3: ") && said.contains("line 4: "),
        "{said}"
    );
    assert_eq!(stored(&fake), [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_every_format_become_readings() {
    let mapping = "format: json\nvalue: {pointer: /v}\nsensor_type: {constant: t}\nid1: {constant: 1}\nid2: {pointer: /who}\n\
                   time: {pointer: /at, unit: s}\n";
    for (flags, text) in [
        (
            vec!["--format", "ndjson"],
            r#"{"sensor_value":7,"sensor_type":"t","id1":1,"id2":"a","timestamp_us":5000000}"#,
        ),
        (
            vec!["--format", "csv"],
            "sensor_value,sensor_type,id1,id2,timestamp_us\n7,t,1,a,5000000",
        ),
        (vec!["--mapping", "map.yaml"], r#"{"v":7,"who":"a","at":5}"#),
    ] {
        let fake = Fake::default();
        let edge = edge(&fake).await;
        edge.append("map.yaml", mapping);
        edge.append("input", text);
        let (report, said) = edge.forward(&[&["input"], &flags[..]].concat());
        assert_eq!(report["taken"], 1, "{said}");
        let one = fake.model().stored[0].clone();
        let found = (
            one.sensor_value(),
            one.sensor_type.as_str(),
            one.id1,
            one.id2.as_str(),
        );
        assert_eq!((found, one.timestamp_us()), ((7.0, "t", 1, "a"), 5_000_000));
    }
}

#[test]
fn a_service_that_is_away_finds_everything_in_the_spool_later() {
    let port = Port::reserve();
    let edge = Edge::new(format!("http://{}", port.address));
    edge.append("a.lp", &lines(0..3_000));
    let (report, _) = edge.forward(&["a.lp", "--detach-at-end"]);
    assert_eq!(
        (&report["taken"], &report["spooled"]),
        (&3_000.into(), &3_000.into())
    );
    // Told to end, it ends, though nobody has taken anything.
    let child = edge.command(&["a.lp"]).spawn().unwrap();
    wait(500);
    assert_eq!(terminate(child)["spooled"], 3_000);
    let fake = Fake::default();
    let runtime = port.serve(&fake);
    let (report, _) = edge.forward(&["/dev/null"]);
    assert_eq!(
        (&report["committed"], &report["spooled"]),
        (&3_000.into(), &0.into())
    );
    assert_eq!(stored(&fake), (0..3_000).collect::<Vec<_>>());
    runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_through_a_pipe_is_taken_to_its_end() {
    let fake = Fake::default();
    let edge = edge(&fake).await;
    for part in 0..2 {
        let mut child = edge.command(&["-"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(lines(500 * part..500 * (part + 1)).as_bytes())
            .unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
    }
    assert_eq!(stored(&fake), (0..1_000).collect::<Vec<_>>());
    // A file behind a pipe could be what came through it.
    edge.append("a.lp", &lines(0..1_000));
    let (code, said) = edge.refused(&["a.lp"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("stands in a pipe"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_file_is_stored_once_over_rotation_and_kill_9() {
    let fake = Fake::default();
    let edge = edge(&fake).await;
    let log = edge.path("a.lp");
    edge.append("a.lp", "");
    let mut next = 0;
    let follow = || edge.command(&["a.lp", "--follow"]).spawn().unwrap();
    let mut child = follow();
    for round in 0..8_u64 {
        edge.append("a.lp", &lines(next..next + 2_000));
        // The beginning of a line, whose end comes later.
        let text = lines(next + 2_000..next + 2_001);
        let (begin, rest) = text.split_at(5 + round as usize);
        edge.append("a.lp", begin);
        wait(round * 13);
        if round % 2 == 1 {
            child.kill().unwrap();
            child.wait().unwrap();
            child = follow();
        }
        edge.append("a.lp", rest);
        next += 2_001;
        if round == 4 {
            until("all of it is stored", || stored(&fake).len() as u64 == next);
            fs::rename(&log, edge.path("a.lp.1")).unwrap();
            File::create(&log).unwrap();
        }
    }
    until("all of it is stored", || stored(&fake).len() as u64 >= next);
    // What is stored may not have been acknowledged yet: the next run hears of it.
    terminate(child);
    let (report, _) = edge.forward(&["a.lp"]);
    assert_eq!(report["spooled"], 0);
    assert_eq!(stored(&fake), (0..next).collect::<Vec<_>>());
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions())
    };
    assert_eq!(mode(&edge.path("spool")) & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_drops_the_oldest_and_says_how_many() {
    let port = Port::reserve();
    let edge = Edge::new(format!("http://{}", port.address));
    edge.append("a.lp", &lines(0..200_000));
    let flags = [
        "a.lp",
        "--detach-at-end",
        "--spool-bytes",
        "1MiB",
        "--when-full",
        "drop-oldest",
    ];
    let (report, said) = edge.forward(&flags);
    let (taken, dropped) = (&report["taken"], report["dropped"].as_u64().unwrap());
    assert_eq!(taken, 200_000);
    assert!(dropped > 50_000, "{report}");
    assert!(
        said.contains("were dropped because the spool was full"),
        "{said}"
    );
    assert_eq!(report["spooled"], 200_000 - dropped);
}

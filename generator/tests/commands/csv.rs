//! What `replay` makes of files that people really have, in whatever way they come.

mod cases;

use std::{
    ffi::OsStr,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sluicegate_proto::v1::StreamPosition;

use self::cases::{
    CASES, Case,
    Outcome::{Refused, Stored},
};
use crate::fake::Fake;

fn data(file: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/csv");
    data.join(file)
}

/// Replays against the model what `stdin` and `file` say, and returns what the command printed.
async fn replay(fake: &Fake, file: &OsStr, flags: &[&str], stdin: Stdio) -> Output {
    let target = format!("http://{}", fake.serve().await);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegen"));
    command
        .arg("replay")
        .arg(file)
        .args(["--json", "--target", &target])
        .args(flags)
        .stdin(stdin);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

impl Case {
    /// `name` is what the command calls the input.
    fn assert(&self, fake: &Fake, name: &str, output: &Output) {
        let (file, flags) = (self.file, self.flags);
        let err = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout);
        let model = fake.model();
        match &self.outcome {
            Refused(parts) => {
                assert_eq!(output.status.code(), Some(2), "{file} {flags:?}: {err}");
                assert_eq!((out.as_ref(), err.lines().count()), ("", 1), "{err}");
                assert!(model.stored.is_empty() && model.calls == 0, "{file}");
                let rest = err.strip_prefix(&format!("sluicegen: {name}"));
                let rest = rest.unwrap_or_else(|| panic!("{name}: {err}"));
                assert!(rest.starts_with(parts[0]), "{file} {flags:?}: {err}");
                for part in *parts {
                    assert!(rest.contains(part), "{file} {flags:?}: {part}: {err}");
                }
            }
            Stored {
                values,
                first_us,
                skipped,
                said,
            } => {
                assert_eq!(output.status.code(), Some(0), "{file} {flags:?}: {err}");
                let stored: Vec<f64> = model.stored.iter().map(|one| one.sensor_value()).collect();
                assert_eq!(stored, *values, "{file} {flags:?}");
                assert_eq!(
                    model.stored[0].timestamp_us(),
                    *first_us,
                    "{file} {flags:?}"
                );
                let report: serde_json::Value = serde_json::from_str(&out).unwrap();
                assert_eq!(report["skipped"], *skipped, "{file} {flags:?}");
                assert_eq!(report["committed"], values.len() as u64);
                for part in *said {
                    assert_eq!(err.matches(part).count(), 1, "{file}: once {part}: {err}");
                    assert!(report["notes"].to_string().contains(part), "{report}");
                }
                assert_eq!(said.is_empty(), report["notes"].is_null(), "{report}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_has_the_outcome_that_its_writer_expects() {
    for case in &CASES {
        let (fake, path) = (Fake::default(), data(case.file));
        let output = replay(&fake, path.as_os_str(), case.flags, Stdio::null()).await;
        case.assert(&fake, path.to_str().unwrap(), &output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_the_same_through_a_pipe_packed_and_from_a_fifo() {
    let directory = tempfile::tempdir().unwrap();
    for case in &CASES {
        let plain = std::fs::read(data(case.file)).unwrap();
        let packed_path = directory.path().join(format!("{}.gz", case.file));
        let mut packer = GzEncoder::new(File::create(&packed_path).unwrap(), Compression::fast());
        packer.write_all(&plain).unwrap();
        packer.finish().unwrap();
        let packed = std::fs::read(&packed_path).unwrap();

        let fake = Fake::default();
        let output = replay(&fake, packed_path.as_os_str(), case.flags, Stdio::null()).await;
        case.assert(&fake, packed_path.to_str().unwrap(), &output);

        for bytes in [&plain, &packed] {
            let fake = Fake::default();
            let (reader, mut writer) = std::io::pipe().unwrap();
            let write = std::thread::spawn({
                let bytes = bytes.clone();
                // A byte at a time: nothing may rest on how a pipe is cut.
                move || bytes.chunks(1).try_for_each(|byte| writer.write_all(byte))
            });
            let output = replay(&fake, OsStr::new("-"), case.flags, reader.into()).await;
            write.join().unwrap().unwrap();
            case.assert(&fake, "standard input", &output);
        }

        let fake = Fake::default();
        let redirected = File::open(data(case.file)).unwrap();
        let output = replay(&fake, OsStr::new("-"), case.flags, redirected.into()).await;
        case.assert(&fake, "standard input", &output);

        let fake = Fake::default();
        let fifo = directory.path().join(format!("{}.fifo", case.file));
        let _ = std::fs::remove_file(&fifo);
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let write = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::write(fifo, plain)
        });
        let output = replay(&fake, fifo.as_os_str(), case.flags, Stdio::null()).await;
        write.join().unwrap().unwrap();
        case.assert(&fake, fifo.to_str().unwrap(), &output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_may_unpack_a_file_in_the_place_of_its_name() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let script = format!(
        "'{}' replay <(cat '{}') --json --target {target} --time-unit s",
        env!("CARGO_BIN_EXE_sluicegen"),
        data("epoch-seconds.csv").display()
    );
    let output = tokio::task::spawn_blocking(move || {
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).output().unwrap()
    })
    .await
    .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(fake.model().stored.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_comes_twice_is_the_earlier_one_and_said_once_or_the_one_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("twice.csv");
    // The two lines of the file with a clock that is put forward that are times in Berlin, the last one twice.
    let text = std::fs::read_to_string(data("local-dst.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&path, [lines[0], lines[1], lines[3], lines[3]].join("\n")).unwrap();
    // 2026-10-25T00:30:00Z
    let first_us = 1_792_888_200_000_000;
    for (more, expected_us) in [
        (&[][..], first_us),
        (&["--ambiguous", "later"], first_us + 3_600_000_000),
    ] {
        let fake = Fake::default();
        let flags = [&["--time-zone", "Europe/Berlin"], more].concat();
        let output = replay(&fake, path.as_os_str(), &flags, Stdio::null()).await;
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert_eq!(
            err.matches("comes twice in Europe/Berlin").count(),
            1,
            "{err}"
        );
        assert!(
            err.contains("line 3") && err.contains("--ambiguous"),
            "{err}"
        );
        let times: Vec<i64> = fake
            .model()
            .stored
            .iter()
            .map(|one| one.timestamp_us())
            .collect();
        // 2026-03-29T00:59:00Z
        assert_eq!(times, [1_774_745_940_000_000, expected_us, expected_us]);
    }
    let flags = ["--time-zone", "Europe/Berlin", "--ambiguous", "refuse"];
    let output = replay(&Fake::default(), path.as_os_str(), &flags, Stdio::null()).await;
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("line 3") && err.contains("comes twice"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_that_a_stream_has_already_are_skipped_aloud() {
    let fake = Fake::default();
    // Its producer told of no source.
    let others = StreamPosition {
        committed_seq: 3,
        ..StreamPosition::default()
    };
    fake.model().streams.insert("others".to_owned(), others);
    for (stream, file, sent, skipped, said) in [
        ("plant", "monday.csv", 3, 0, None),
        ("plant", "monday.csv", 0, 3, Some("all 3 of")),
        (
            "others",
            "tuesday.csv",
            1,
            3,
            Some("the first 3 of the 4 of"),
        ),
    ] {
        let path = data(file);
        let flags = ["--stream-id", stream];
        let output = replay(&fake, path.as_os_str(), &flags, Stdio::null()).await;
        let err = String::from_utf8_lossy(&output.stderr);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["sent"], sent, "{report}");
        assert_eq!(report["skipped_committed"], skipped, "{report}");
        match said {
            None => assert_eq!(err, ""),
            Some(said) => {
                assert!(err.contains(&format!("the stream {stream:?} has")), "{err}");
                assert!(err.contains(said) && err.contains(file), "{err}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_file_that_breaks_off_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.csv.gz");
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let mut text = "timestamp,id1,id2,sensor_type,sensor_value\n".to_owned();
    for second in 0..20_000_u32 {
        let value = second.wrapping_mul(2_654_435_761);
        text += &format!("{}000,1,a,t,{value}\n", 1_772_323_200 + second);
    }
    packer.write_all(text.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let fake = Fake::default();
    let output = replay(&fake, path.as_os_str(), &[], Stdio::null()).await;
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains(", line ") && err.contains("cannot be read"),
        "{err}"
    );
    assert_eq!(fake.model().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_and_an_empty_pipe_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (file, part) in [
        (directory.path().as_os_str(), "directory"),
        (OsStr::new("-"), "empty"),
    ] {
        let output = replay(&Fake::default(), file, &[], Stdio::null()).await;
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(part) && err.lines().count() == 1, "{err}");
    }
}

/// Replays a file under the name of one stream.
async fn replay_as(fake: &Fake, file: &Path, more: &[&str]) -> Output {
    let flags = [&["--stream-id", "plant"], more].concat();
    replay(fake, file.as_os_str(), &flags, Stdio::null()).await
}

fn stored(fake: &Fake) -> Vec<f64> {
    let model = fake.model();
    model.stored.iter().map(|one| one.sensor_value()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_in_its_own_file_and_another_one_is_refused_or_appended() {
    let fake = Fake::default();
    let [monday, tuesday] = ["monday.csv", "tuesday.csv"].map(data);
    let sent = replay_as(&fake, &monday, &[]).await;
    assert_eq!(sent.status.code(), Some(0));
    assert_eq!(stored(&fake), [1.0, 2.0, 3.0]);

    let refused = replay_as(&fake, &tuesday, &[]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for part in [
        "tuesday.csv",
        "\"plant\"",
        "first 3 readings of monday.csv",
        "--append",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(stored(&fake), [1.0, 2.0, 3.0], "nothing was sent");

    let appended = replay_as(&fake, &tuesday, &["--append"]).await;
    assert_eq!(appended.status.code(), Some(0));
    assert_eq!(stored(&fake), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    // The stream stands in that one now, with or without the flag.
    for more in [&[][..], &["--append"]] {
        let again = replay_as(&fake, &tuesday, more).await;
        assert_eq!(again.status.code(), Some(0));
        let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
        assert_eq!(
            (&report["sent"], &report["skipped_committed"]),
            (&0.into(), &4.into())
        );
    }
    assert_eq!(stored(&fake).len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_grown_is_known_again_under_any_name_and_its_new_readings_are_sent() {
    let fake = Fake::default();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.csv");
    let text = std::fs::read_to_string(data("monday.csv")).unwrap();
    std::fs::write(&path, &text).unwrap();
    assert_eq!(replay_as(&fake, &path, &[]).await.status.code(), Some(0));
    let moved = directory.path().join("log.1.csv");
    let grown = text.trim_end().to_owned() + "\n2026-03-02T00:00:03Z,1,pump,temperature,4\n";
    std::fs::write(&moved, &grown).unwrap();
    assert_eq!(replay_as(&fake, &moved, &[]).await.status.code(), Some(0));
    assert_eq!(stored(&fake), [1.0, 2.0, 3.0, 4.0]);
    // One that begins otherwise is another file.
    std::fs::write(&moved, grown.replace(",2\n", ",20\n")).unwrap();
    let refused = replay_as(&fake, &moved, &[]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(stored(&fake).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_break_leave_the_stream_in_its_file() {
    let fake = Fake::default();
    fake.model().break_every = Some(3);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.csv");
    let lines =
        (0..5_000).map(|n| format!("{},1,pump,temperature,{n}\n", 1_767_225_600_000_i64 + n));
    let text =
        "timestamp,id1,id2,sensor_type,sensor_value\n".to_owned() + &lines.collect::<String>();
    std::fs::write(&path, text).unwrap();
    let sent = replay_as(&fake, &path, &["--rate", "10000"]).await;
    assert_eq!(
        sent.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    let expected: Vec<f64> = (0..5_000).map(f64::from).collect();
    assert_eq!(stored(&fake), expected);
    let at = fake.model().streams["plant"].clone();
    assert_eq!((at.committed_seq, at.source_seq), (5_000, 5_000));
}

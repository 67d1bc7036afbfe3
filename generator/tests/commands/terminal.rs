//! The live view, on a terminal and elsewhere.

use std::{fs::File, io::Read as _, process::Command};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{fake::Fake, sluicegen};

/// What a run shows on a terminal.
fn shown_on_a_terminal(flags: &[&str], no_color: bool) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let inner = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegen"));
    command
        .args(flags)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdout(inner.try_clone().unwrap())
        .stderr(inner);
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let mut child = command.spawn().unwrap();
    // The command keeps the terminal open, and reading it would not end.
    drop(command);
    let mut shown = Vec::new();
    // Linux reports the end of a terminal as an error.
    let _ = File::from(terminal).read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&shown).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_rate_and_latency_over_time_and_no_colours_where_none_are_wanted() {
    let fake = Fake::default();
    let target = format!("http://{}", fake.serve().await);
    let flags = [
        "run", "--target", &target, "--rate", "1000", "--count", "1500",
    ];
    // Colours begin with ESC [ and end with m.
    let coloured = |shown: &str| {
        shown.split("\u{1b}[").skip(1).any(|rest| {
            let end = rest.find(|c: char| c.is_ascii_alphabetic());
            end.is_some_and(|end| rest[end..].starts_with('m'))
        })
    };
    let (with, without) = tokio::task::spawn_blocking({
        let flags = flags.map(str::to_owned);
        move || {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            (
                shown_on_a_terminal(&flags, false),
                shown_on_a_terminal(&flags, true),
            )
        }
    })
    .await
    .unwrap();
    assert!(
        coloured(&with) && !coloured(&without),
        "{with:?}\n{without:?}"
    );
    for shown in [&with, &without] {
        for part in ["sent,", "durable,", "ack p50", "rate ", "ack  ", "█"] {
            assert!(shown.contains(part), "{part}: {shown:?}");
        }
    }
    // Elsewhere nothing moves: no escapes, and the report on stdout.
    let (code, out, err) = sluicegen(&flags);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("ack p99.9") && !out.contains('\u{1b}'));
}

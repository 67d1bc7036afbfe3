//! A generator that others can reach: whoever drives it can have its token sent anywhere.

use std::process::{Output, Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

fn generator(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegen"));
    command
        .arg("serve")
        .args(flags)
        .env_remove("SLUICEGEN_INSECURE")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn an_address_that_others_reach_needs_a_certificate_and_a_token() {
    let Output { status, stderr, .. } = generator(&["--addr", "0.0.0.0:0"]).output().await.unwrap();
    let sentence = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    for part in [
        "--addr is 0.0.0.0:0",
        "--api-tls-cert",
        "--api-token-file",
        "--insecure",
    ] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
}

#[tokio::test]
async fn one_that_lets_everybody_in_says_so_at_its_start() {
    let mut child = generator(&["--addr", "0.0.0.0:0", "--insecure"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let warning = lines.next_line().await.unwrap().unwrap();
    assert!(
        warning.contains("which others can reach") && warning.ends_with("(--insecure)"),
        "{warning}"
    );
    let page = lines.next_line().await.unwrap().unwrap();
    assert!(
        page.contains("http://0.0.0.0:") && page.ends_with('/'),
        "{page}"
    );
    child.kill().await.unwrap();
}

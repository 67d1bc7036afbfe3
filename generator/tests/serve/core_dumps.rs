//! What is left of a generator that crashes: it has tokens and keys, too.

use std::{process::Stdio, time::Duration};

use tokio::{
    process::Command,
    time::{Instant, sleep},
};

const LIMIT: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_crash_leaves_no_memory_behind() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluicegen"))
        .args(["serve", "--addr", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/limits", child.id().unwrap());
    let give_up_at = Instant::now() + LIMIT;
    loop {
        let limits = std::fs::read_to_string(&path).unwrap();
        let mut lines = limits.lines();
        let core = lines.find_map(|line| line.strip_prefix("Max core file size"));
        let core = core.unwrap().split_whitespace();
        if core.take(2).eq(["0", "0"]) {
            break;
        }
        assert!(Instant::now() < give_up_at, "{limits}");
        sleep(Duration::from_millis(20)).await;
    }
    child.kill().await.unwrap();
}

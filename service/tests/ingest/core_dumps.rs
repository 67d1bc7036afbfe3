//! What is left of a service that crashes.

use crate::common::{program::command, until};

#[tokio::test]
async fn a_crash_leaves_no_memory_behind() {
    let mut serve = command(&[
        "serve",
        "--grpc-addr",
        "127.0.0.1:0",
        "--rest-addr",
        "127.0.0.1:0",
        "--database-url",
        "mysql://root@127.0.0.1:1/x",
    ]);
    let mut child = serve.spawn().expect("it runs");
    let path = format!("/proc/{}/limits", child.id().expect("it runs"));
    // Neither now nor when something in the process would raise it again.
    until("core dumps are off", || {
        let limits = std::fs::read_to_string(&path).expect("readable");
        let mut lines = limits.lines();
        let core = lines.find_map(|line| line.strip_prefix("Max core file size"));
        let core = core.expect("a limit").split_whitespace();
        std::future::ready(core.take(2).eq(["0", "0"]))
    })
    .await;
    child.kill().await.expect("killed");
}

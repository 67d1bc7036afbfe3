//! Processes that were sent SIGSTOP.

use super::until;

/// Waits until every thread of the process stands still: one thread takes SIGSTOP and stops the others, which on a busy
/// machine run on for a while, and answer.
pub(crate) async fn until_it_stands_still(pid: u32) {
    let threads = format!("/proc/{pid}/task");
    until("every thread stands still", async || {
        // A process that is gone does not run on.
        let Ok(threads) = std::fs::read_dir(&threads) else {
            return true;
        };
        threads.flatten().all(|thread| {
            let status = std::fs::read_to_string(thread.path().join("status"));
            status.is_ok_and(|status| status.contains("State:\tT"))
        })
    })
    .await;
}

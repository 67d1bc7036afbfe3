//! The one place where long-lived tasks start. It knows each by its name: one that panics, or ends while the service
//! still runs, is a failure of the process (P7).

use std::{any::Any, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::failpoint;

const ENDED_EARLY: &str = "ended early";
/// How long the failure of a task may be told after the early ends that come of it.
const LAST_WORD: Duration = Duration::from_millis(500);

/// How a task ended that should have gone on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("the task \"{task}\" {reason}")]
pub struct TaskFailure {
    /// The name under which it was started.
    pub task: String,
    /// What follows the name: "panicked: …", "failed: …", "ended early".
    pub reason: String,
}

/// Starts tasks and hears of their ends.
#[derive(Clone, Debug)]
pub struct Supervisor {
    /// From here on tasks may end.
    draining: CancellationToken,
    /// Cancelled at the first failure.
    failed: CancellationToken,
    failures: Arc<watch::Sender<Vec<TaskFailure>>>,
}

impl Supervisor {
    /// Tasks may end once `draining` is cancelled, and not before.
    #[must_use]
    pub fn new(draining: CancellationToken) -> Self {
        Self {
            draining,
            failed: CancellationToken::new(),
            failures: Arc::new(watch::Sender::default()),
        }
    }

    /// Starts a task that lives as long as the service does. The handle resolves when it has ended, however it did.
    pub fn start<E: fmt::Display>(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> JoinHandle<()> {
        let (name, supervisor) = (name.into(), self.clone());
        tokio::spawn(async move {
            // What a task shares with others are channels, and mutexes whose poison is looked past.
            let task = AssertUnwindSafe(failpoint::mortal(&name, task));
            let reason = match task.catch_unwind().await {
                Err(panic) => format!("panicked: {}", message(panic.as_ref())),
                Ok(Err(error)) => format!("failed: {error}"),
                Ok(Ok(())) if supervisor.draining.is_cancelled() => return,
                Ok(Ok(())) => ENDED_EARLY.to_owned(),
            };
            supervisor.fail(TaskFailure { task: name, reason });
        })
    }

    fn fail(&self, failure: TaskFailure) {
        error!(
            task = failure.task,
            reason = failure.reason,
            "a task is gone: the service ends"
        );
        self.failures.send_modify(|all| all.push(failure));
        self.failed.cancel();
    }

    /// Cancelled at the first failure.
    #[must_use]
    pub fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    /// Resolves with the first failure.
    pub async fn failure(&self) -> TaskFailure {
        let mut failures = self.failures.subscribe();
        loop {
            if let Some(first) = failures.borrow_and_update().first() {
                return first.clone();
            }
            // The sender is ours, so there is a change to wait for.
            let _ = failures.changed().await;
        }
    }

    /// What the failures come from; None when there are none. When a task is gone, those that it worked with may end early,
    /// and be heard of first: its own failure is waited for, but not for long.
    pub async fn cause(&self) -> Option<TaskFailure> {
        let own = |all: &[TaskFailure]| all.iter().find(|it| it.reason != ENDED_EARLY).cloned();
        let mut failures = self.failures.subscribe();
        if failures.borrow().is_empty() {
            return None;
        }
        let told = failures.wait_for(|all| own(all).is_some());
        let _ = tokio::time::timeout(LAST_WORD, told).await;
        let all = self.failures();
        own(&all).or_else(|| all.into_iter().next())
    }

    /// Every failure so far, the first one first.
    #[must_use]
    pub fn failures(&self) -> Vec<TaskFailure> {
        self.failures.borrow().clone()
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn supervisor() -> Supervisor {
        Supervisor::new(CancellationToken::new())
    }

    fn only_failure(supervisor: &Supervisor) -> String {
        assert!(supervisor.failed().is_cancelled());
        let failures = supervisor.failures();
        assert_eq!(failures.len(), 1);
        failures[0].to_string()
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_and_names_the_task() {
        let supervisor = supervisor();
        let task = supervisor.start("lane 0", async {
            assert_eq!(1 + 1, 3, "arithmetic");
            Ok::<(), Infallible>(())
        });
        task.await.expect("caught");
        let failure = only_failure(&supervisor);
        assert!(failure.starts_with("the task \"lane 0\" panicked: "));
        assert!(failure.contains("arithmetic"), "{failure}");
    }

    #[tokio::test]
    async fn an_error_is_a_failure_even_while_the_service_drains() {
        let supervisor = supervisor();
        supervisor.draining.cancel();
        let task = supervisor.start("loader 1", async { Err("fenced") });
        task.await.expect("no panic");
        let failure = only_failure(&supervisor);
        assert_eq!(failure, "the task \"loader 1\" failed: fenced");
    }

    #[tokio::test]
    async fn an_end_is_a_failure_unless_the_service_drains() {
        let supervisor = supervisor();
        let task = supervisor.start("early", async { Ok::<(), Infallible>(()) });
        task.await.expect("no panic");
        assert_eq!(only_failure(&supervisor), "the task \"early\" ended early");
        let other = supervisor.start("other", async { Err("broken") });
        other.await.expect("no panic");
        let cause = supervisor.cause().await.expect("a failure");
        assert_eq!(cause.task, "other", "an early end comes of something else");
        let drained = self::supervisor();
        drained.draining.cancel();
        let task = drained.start("late", async { Ok::<(), Infallible>(()) });
        task.await.expect("no panic");
        assert!(!drained.failed().is_cancelled());
        assert!(drained.failures().is_empty());
    }
}

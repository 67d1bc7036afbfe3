//! One handle for the way down: a signal to all tasks, the place where they start, and a deadline.

use std::{convert::Infallible, io, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::supervisor::Supervisor;

/// Shared by everyone who has to stop.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Cancelled when the service begins to drain.
    pub draining: CancellationToken,
    /// Cancelled when nothing shall be waited for any more.
    pub at_once: CancellationToken,
    /// Cancelled when the tables are others than those that were read at the start: the process has to start anew.
    pub start_anew: CancellationToken,
    /// Starts every task that lives as long as the service.
    pub tasks: Supervisor,
    /// Longest time from the signal to the end of the process.
    pub deadline: Duration,
}

impl Shutdown {
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        let draining = CancellationToken::new();
        Self {
            tasks: Supervisor::new(draining.clone()),
            draining,
            at_once: CancellationToken::new(),
            start_anew: CancellationToken::new(),
            deadline,
        }
    }

    /// Begins to drain at SIGTERM or SIGINT, and cuts that short at a SIGINT that follows: whoever presses Ctrl-C again
    /// means it.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub fn on_signal(&self) -> io::Result<()> {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let (draining, at_once) = (self.draining.clone(), self.at_once.clone());
        self.tasks.start("signals", async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("draining");
            draining.cancel();
            interrupt.recv().await;
            tracing::warn!("ending at once");
            at_once.cancel();
            Ok::<(), Infallible>(())
        });
        Ok(())
    }
}

//! What the service manager is told, where one has started the service: systemd's protocol, over the socket that
//! NOTIFY_SOCKET names. <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tracing::warn;

use super::Addresses;
use crate::{shutdown::Shutdown, usecase::readiness::Readiness};

/// Names the socket.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// Between looks at how the service stands.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// A start goes on for as long as it says so within this time: a migration or a recovery may take hours.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// What is left to do when readings are committed and an embedded database has ended.
const STOP_MARGIN: Duration = Duration::from_secs(15);
/// How long the end waits for the manager to hear of it.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Longer ones could be cut off by the manager, in the middle of a word.
const MAX_STATUS_CHARS: usize = 1_000;

/// Starts to tell the service manager how the service stands, where there is one.
pub(super) fn start(
    readiness: &Arc<Readiness>,
    addresses: &Addresses,
    shutdown: &Shutdown,
) -> Option<JoinHandle<()>> {
    std::env::var_os(SOCKET_VARIABLE)?;
    let teller = Teller {
        readiness: readiness.clone(),
        shutdown: shutdown.clone(),
        takes: format!(
            "takes readings: gRPC on {}, REST on {}",
            addresses.grpc_addr, addresses.rest_addr
        ),
        has_failed: AtomicBool::default(),
    };
    let telling = shutdown.tasks.start("service manager", async move {
        teller.run().await;
        Ok::<(), Infallible>(())
    });
    Some(telling)
}

/// Waits until all is told, so that what `tell_why` says is the last word. A manager that does not listen is left alone.
pub(super) async fn told(telling: Option<JoinHandle<()>>) {
    if let Some(telling) = telling {
        let _ = tokio::time::timeout(LAST_WORD, telling).await;
    }
}

/// Tells the service manager why the process ends, where there is one: it shows that to whoever asks for the status.
pub fn tell_why(sentence: &str) {
    // The log has it, too.
    let _ = sd_notify::notify(&[NotifyState::Status(&line(sentence))]);
}

struct Teller {
    readiness: Arc<Readiness>,
    shutdown: Shutdown,
    /// The status while readings flow.
    takes: String,
    /// Whether the manager could not be told something, so that this is said once.
    has_failed: AtomicBool,
}

impl Teller {
    async fn run(&self) {
        tokio::join!(self.tell_standing(), self.keep_alive());
        // Readings have the deadline, and after them an embedded database has it again.
        let patience = self.shutdown.deadline * 2 + STOP_MARGIN;
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::Status("commits what is in flight, and ends"),
            extension(patience),
        ])
        .await;
    }

    /// READY=1 once the start is over or waits for a database that is away: then nothing more will come of waiting for
    /// this process. STATUS= is what `/readyz` says, at each change.
    async fn tell_standing(&self) {
        let draining = &self.shutdown.draining;
        let (mut is_up, mut told) = (false, String::new());
        while let Some(standing) = draining.run_until_cancelled(self.readiness.look()).await {
            let status = match standing.ready {
                true => self.takes.clone(),
                false => line(&format!("not ready: {}", standing.reasons.join("; "))),
            };
            let mut states = Vec::new();
            if !is_up {
                is_up = self.readiness.has_done_its_part();
                states.push(match is_up {
                    true => NotifyState::Ready,
                    false => extension(START_PATIENCE),
                });
            }
            if status != told {
                states.push(NotifyState::Status(&status));
            }
            if !states.is_empty() {
                self.tell(&states).await;
            }
            told = status;
            draining
                .run_until_cancelled(tokio::time::sleep(LOOK_PAUSE))
                .await;
        }
    }

    /// WATCHDOG=1, three times within the manager's limit: as long as tasks get their turns, and none of those that have to
    /// live is gone. That the database does not answer is no reason to end the process.
    async fn keep_alive(&self) {
        let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        let Some(limit) = limit else { return };
        let mut beats = tokio::time::interval(limit / 3);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let Shutdown {
            draining, tasks, ..
        } = &self.shutdown;
        while draining.run_until_cancelled(beats.tick()).await.is_some()
            && !tasks.failed().is_cancelled()
        {
            self.tell(&[NotifyState::Watchdog]).await;
        }
    }

    async fn tell(&self, states: &[NotifyState<'_>]) {
        let lines: Vec<_> = states.iter().map(ToString::to_string).collect();
        let lines = lines.join("\n");
        // A manager that is slow to read must not hold up a thread that carries readings.
        let sending =
            tokio::task::spawn_blocking(move || sd_notify::notify(&[NotifyState::Custom(&lines)]));
        let sent = sending
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = sent
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            warn!(%error, "the service manager cannot be told how the service stands ({SOCKET_VARIABLE})");
        }
    }
}

fn extension(time: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
}

/// The protocol is one of lines: a reason that has several, such as one with the end of a database's log, becomes one.
fn line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_STATUS_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_whatever_a_database_says() {
        assert_eq!(line("not ready:\n a\r\nREADY=1"), "not ready: a READY=1");
        assert_eq!(line(&"ä".repeat(5_000)).chars().count(), MAX_STATUS_CHARS);
    }

    #[test]
    fn a_time_beyond_the_protocols_is_its_longest() {
        let day = Duration::from_secs(86_400);
        assert_eq!(extension(day).to_string(), "EXTEND_TIMEOUT_USEC=4294967295");
    }
}

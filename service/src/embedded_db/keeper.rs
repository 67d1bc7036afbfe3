//! A server that ends without being told to is started again, unless it does so too often.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{EmbeddedDb, EmbeddedDbError};

/// So many ends within [`DEATH_WINDOW`] are no accident: whoever looks after the machine has to know.
const DEATHS_MAX: usize = 5;
const DEATH_WINDOW: Duration = Duration::from_secs(60);
/// The pause before the first new start; it doubles with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// How often a server is tried on a disk that is full.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(5);

/// How the server is, for those who say whether the service is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It answers, as far as is known.
    #[default]
    Running,
    /// It has ended and is started again.
    Restarting {
        /// One sentence: how it ended, and what is waited for.
        reason: String,
    },
}

impl EmbeddedDb {
    /// How the server is. It changes while [`EmbeddedDb::keep_running`] is polled.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Starts the server again whenever it ends by itself, however it ends, on the same directory, socket and port;
    /// stops it at `stop`, also in the middle of a start. While its disk is full it is tried for as long as it takes.
    ///
    /// # Errors
    /// [`EmbeddedDbError::KeepsDying`] when it has ended five times within a minute, starts that failed included.
    pub async fn keep_running(mut self, stop: CancellationToken) -> Result<(), EmbeddedDbError> {
        tokio::select! {
            error = self.revive() => {
                error!(%error, "the embedded database is given up");
                Err(error)
            }
            () = stop.cancelled() => self.stop().await,
        }
    }

    /// Returns only when the server is given up.
    async fn revive(&mut self) -> EmbeddedDbError {
        let mut deaths = Deaths::default();
        let mut how = self.ended().await;
        loop {
            match self.pause_after(&mut deaths, &how) {
                Ok(pause) => sleep(pause).await,
                Err(given_up) => return given_up,
            }
            how = match self.launch().await {
                Ok(()) => {
                    info!(pid = self.pid(), "the embedded database runs again");
                    self.condition.send_replace(Condition::Running);
                    self.ended().await
                }
                Err(EmbeddedDbError::Start { reason, .. }) => format!("it did not start: {reason}"),
                Err(error) => error.to_string(),
            };
        }
    }

    /// Counts a death, says it, and tells how long to wait before the next start.
    fn pause_after(&self, deaths: &mut Deaths, how: &str) -> Result<Duration, EmbeddedDbError> {
        let (pause, reason) = if self.dir.is_full() {
            let data_dir = self.dir.root().display();
            let reason = format!("{how}; the disk of {data_dir} is full");
            (FULL_DISK_PAUSE, reason)
        } else {
            let recent = deaths.count(Instant::now());
            if recent >= DEATHS_MAX {
                return Err(EmbeddedDbError::KeepsDying {
                    deaths: recent,
                    window_s: DEATH_WINDOW.as_secs(),
                    last: how.to_owned(),
                    log: self.dir.log_path(),
                    tail: self.dir.log_tail(0),
                });
            }
            let doublings = u32::try_from(recent).unwrap_or(u32::MAX) - 1;
            (
                BACKOFF_MIN * 2_u32.saturating_pow(doublings),
                how.to_owned(),
            )
        };
        let pause_ms = pause.as_millis() as u64;
        let log = self.dir.log_path();
        warn!(reason, pause_ms, log = %log.display(), "the embedded database has ended: starting it again");
        let reason = format!("the embedded database has ended ({reason}) and is started again");
        self.condition
            .send_replace(Condition::Restarting { reason });
        Ok(pause)
    }

    /// Waits for the end of the server and says how it came.
    async fn ended(&mut self) -> String {
        let Some(child) = self.child.as_mut() else {
            return "it does not run".to_owned();
        };
        let how = match child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        self.child = None;
        how
    }
}

/// When the server died, of late.
#[derive(Debug, Default)]
struct Deaths(VecDeque<Instant>);

impl Deaths {
    /// Counts one more, and returns how many there were within the window.
    fn count(&mut self, now: Instant) -> usize {
        self.0.push_back(now);
        while self
            .0
            .front()
            .is_some_and(|&died| now - died > DEATH_WINDOW)
        {
            self.0.pop_front();
        }
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_count_for_a_minute() {
        let (mut deaths, begin) = (Deaths::default(), Instant::now());
        let counts = [0, 10, 60, 61, 122].map(|s| deaths.count(begin + Duration::from_secs(s)));
        assert_eq!(counts, [1, 2, 3, 3, 1]);
    }
}

//! How many costly questions run at once, so that they leave room for the others.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a heavy query waits for its turn before its client is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Costly {
    /// A query whose work is not bounded by the rows that it brings.
    HeavyQuery,
    /// An answer of any length.
    Export,
    /// Readings that leave the quarantine.
    Replay,
}

/// As many as may be are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    pub with: Costly,
    /// So many may run at once.
    pub most: usize,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = match self.with {
            Costly::HeavyQuery => "heavy queries",
            Costly::Export => "exports",
            Costly::Replay => return f.write_str("another replay is under way"),
        };
        write!(f, "{} {with} are under way, the most at once", self.most)
    }
}

/// Dropping it ends the turn.
pub(super) type Turn = OwnedSemaphorePermit;

/// The turns of one kind.
#[derive(Debug)]
pub(super) struct Turns {
    of: Costly,
    most: usize,
    free: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new(of: Costly, most: usize) -> Self {
        Self {
            of,
            most,
            free: Arc::new(Semaphore::new(most)),
        }
    }

    /// An export or a replay takes long, so that waiting for one is in vain; a heavy query may end in a moment.
    pub(super) async fn take(&self) -> Result<Turn, Busy> {
        let free = self.free.clone();
        let taken = match self.of {
            Costly::Export | Costly::Replay => free.try_acquire_owned().ok(),
            Costly::HeavyQuery => tokio::time::timeout(PATIENCE, free.acquire_owned())
                .await
                .ok()
                .and_then(Result::ok),
        };
        taken.ok_or(Busy {
            with: self.of,
            most: self.most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_heavy_query_waits_for_a_while_and_an_export_does_not() {
        let heavy = Turns::new(Costly::HeavyQuery, 1);
        let first = heavy.take().await.unwrap();
        let (second, ()) = tokio::join!(heavy.take(), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        });
        let _second = second.unwrap();
        let busy = heavy.take().await.unwrap_err();
        assert_eq!(
            busy.to_string(),
            "1 heavy queries are under way, the most at once"
        );
        let exports = Turns::new(Costly::Export, 2);
        let begun = tokio::time::Instant::now();
        let (_one, _other) = (exports.take().await.unwrap(), exports.take().await.unwrap());
        assert_eq!(exports.take().await.unwrap_err().most, 2);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

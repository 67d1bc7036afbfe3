//! The full text of names that are longer than their column. They are kept in a small table beside the readings, which have
//! a beginning and a hash: nothing waits for that, and what is in the table stays.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    model::LongName,
    repository::{RepositoryError, mysql::MySqlLongNames},
};

/// Names that this process knows to be there. Beyond, it begins anew: a name that is written again stays as it is.
const MAX_KNOWN: usize = 65_536;
/// Names that wait to be written.
const MAX_WAITING: usize = 1_024;
/// Names that one statement writes.
const MAX_AT_ONCE: usize = 16;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Where doors hand long names over.
#[derive(Clone, Debug)]
pub struct LongNames {
    known: Arc<Mutex<HashSet<String>>>,
    waiting: mpsc::Sender<LongName>,
}

impl LongNames {
    /// What writes them, until `draining`, and then what still waits, if the database takes it at once.
    pub(super) fn start(
        table: MySqlLongNames,
        draining: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let names = Self {
            known: Arc::default(),
            waiting: sender,
        };
        (names, write(table, receiver, draining))
    }

    /// Has these written, but for those that are known to be there. Does not wait: a name for which there is no place is
    /// written when it comes again.
    pub fn keep(&self, names: Vec<LongName>) {
        if names.is_empty() {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if known.contains(name.name()) {
                continue;
            }
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            let key = name.name().to_owned();
            if self.waiting.try_send(name).is_ok() {
                known.insert(key);
            }
        }
    }
}

async fn write(
    table: MySqlLongNames,
    mut waiting: mpsc::Receiver<LongName>,
    draining: CancellationToken,
) {
    let mut names = Vec::with_capacity(MAX_AT_ONCE);
    loop {
        tokio::select! {
            biased;
            taken = waiting.recv_many(&mut names, MAX_AT_ONCE) => {
                if taken == 0 {
                    return;
                }
            }
            () = draining.cancelled() => return,
        }
        let mut backoff = BACKOFF_MIN;
        while let Err(error) = table.insert(&names).await {
            tell(&error, backoff);
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(backoff) => {}
            }
            backoff = BACKOFF_MAX.min(2 * backoff);
        }
        names.clear();
    }
}

/// Once for a trouble.
fn tell(error: &RepositoryError, backoff: Duration) {
    if backoff == BACKOFF_MIN {
        tracing::warn!(%error, "the full text of long names cannot be written: trying again");
    }
}

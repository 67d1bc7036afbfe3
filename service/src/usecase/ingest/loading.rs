//! Drives a lane's loader: the same batch again, with backoff and jitter, until it is durable.

use std::{sync::Arc, time::Duration};

use rand::Rng as _;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{batch::SealedBatch, books::Books};
use crate::{
    ledger::PartOutcome,
    repository::{BatchLoader, LoadBatch as _, RepositoryError},
};

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Why a lane's loader can load no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotLoad {
    #[error("{0}")]
    Refused(#[from] RepositoryError),
    #[error("a finished load still holds its batch")]
    BatchHeld,
}

/// Loads batches one after the other. Runs in a task of its own that nobody drops: a LOAD that is under way must not
/// be cancelled, or the connection is out of step.
pub(super) async fn drive(
    mut loader: Box<dyn BatchLoader>,
    mut sealed: mpsc::Receiver<SealedBatch>,
    loaded: mpsc::Sender<(SealedBatch, Vec<PartOutcome>)>,
    books: Arc<Books>,
) -> Result<(), CannotLoad> {
    while let Some(batch) = sealed.recv().await {
        let batch = Arc::new(batch);
        let outcomes = load_until_durable(loader.as_mut(), &batch, &books).await?;
        // The loader has let go of the batch by now; only a statement that it had to leave behind could hold it.
        let batch = reclaim(batch).await.ok_or(CannotLoad::BatchHeld)?;
        if loaded.send((batch, outcomes)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn reclaim(mut batch: Arc<SealedBatch>) -> Option<SealedBatch> {
    for _ in 0..1_000 {
        match Arc::try_unwrap(batch) {
            Ok(batch) => return Some(batch),
            Err(held) => batch = held,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

async fn load_until_durable(
    loader: &mut dyn BatchLoader,
    batch: &Arc<SealedBatch>,
    books: &Books,
) -> Result<Vec<PartOutcome>, RepositoryError> {
    let mut attempt = 0_u32;
    loop {
        match loader.load(batch.clone()).await {
            Ok(outcomes) => {
                if attempt > 0 {
                    info!(
                        batch = batch.number().0,
                        attempt, "the batch is committed after all"
                    );
                }
                return Ok(outcomes);
            }
            Err(reason) if reason.is_retriable() => {
                attempt += 1;
                books.count_retry();
                let pause = backoff(attempt);
                let pause_ms = pause.as_millis() as u64;
                warn!(batch = batch.number().0, rows = batch.rows(), attempt, %reason, pause_ms, "loading again");
                tokio::time::sleep(pause).await;
            }
            Err(reason) => return Err(reason),
        }
    }
}

/// Full jitter: lanes that met the same trouble do not come back together.
fn backoff(attempt: u32) -> Duration {
    let ceiling = BACKOFF_MAX.min(BACKOFF_MIN * 2_u32.saturating_pow(attempt.min(10)));
    rand::rng().random_range(BACKOFF_MIN / 2..=ceiling)
}

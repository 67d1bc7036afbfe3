//! Keeps a source running, as long as that is wanted: one that cannot go on waits, says why, and begins anew.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Hub, Pull, trouble::Trouble};
use crate::usecase::sources::SourceState;

const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest wait for what may be over by itself. A broker that is back is read again that soon.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The shortest wait for what somebody has to mend, and the longest: a broker that has just started may refuse whom it will
/// let in, and one that counts wrong passwords should not see many.
const MEND_BACKOFF_MIN: Duration = Duration::from_secs(2);
const MEND_BACKOFF_MAX: Duration = Duration::from_secs(60);
/// After so long the trouble before is forgotten.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// Runs the source until `draining`.
pub(super) async fn run(hub: Hub, pull: impl Pull, draining: CancellationToken) {
    let mut wishes = hub.source.wishes();
    let mut backoff = BACKOFF_MIN;
    // As long as it is in trouble, that is what it tells.
    let mut is_in_trouble = false;
    loop {
        if !wishes.borrow_and_update().runs {
            hub.source.stands(SourceState::Paused, None);
            tracing::info!(source = hub.source.name(), "the source is paused");
            tokio::select! {
                () = draining.cancelled() => return,
                _ = wishes.wait_for(|wish| wish.runs) => {}
            }
            (backoff, is_in_trouble) = (BACKOFF_MIN, false);
            continue;
        }
        if !is_in_trouble {
            hub.source.stands(SourceState::Starting, None);
        }
        let begun = Instant::now();
        let stop = draining.child_token();
        let ended = {
            let pulling = pull.pull(stop.clone());
            tokio::pin!(pulling);
            tokio::select! {
                ended = &mut pulling => ended,
                _ = wishes.changed() => {
                    stop.cancel();
                    // What was read is settled first.
                    pulling.await
                }
            }
        };
        if draining.is_cancelled() {
            return;
        }
        let Err(trouble) = ended else {
            (backoff, is_in_trouble) = (BACKOFF_MIN, false);
            continue;
        };
        is_in_trouble = true;
        if begun.elapsed() > WELL_AFTER {
            backoff = BACKOFF_MIN;
        }
        tell(&hub, &trouble);
        hub.metrics.restarts.inc();
        backoff = match trouble {
            Trouble::Passing(_) | Trouble::Fenced(_) | Trouble::Silence => backoff.min(BACKOFF_MAX),
            Trouble::ToMend(_) => backoff.clamp(MEND_BACKOFF_MIN, MEND_BACKOFF_MAX),
        };
        tokio::select! {
            () = draining.cancelled() => return,
            () = tokio::time::sleep(backoff) => {}
            _ = wishes.changed() => {}
        }
        backoff *= 2;
    }
}

/// Says why it cannot go on, once for a reason.
fn tell(hub: &Hub, trouble: &Trouble) {
    let source = hub.source.name();
    let state = match trouble {
        Trouble::Passing(_) | Trouble::Fenced(_) | Trouble::Silence => SourceState::Waiting,
        Trouble::ToMend(_) => SourceState::Stopped,
    };
    if hub.source.stands(state, Some(trouble.to_string())) {
        match trouble {
            Trouble::ToMend(reason) => tracing::error!(source, %reason, "the source has stopped"),
            reason => tracing::warn!(source, %reason, "the source waits, and tries again"),
        }
    }
}

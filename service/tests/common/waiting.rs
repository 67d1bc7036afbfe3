//! Waiting for things to come true.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How long a condition may take to come true.
const CONDITION_LIMIT: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let give_up_at = Instant::now() + CONDITION_LIMIT;
    while !holds().await {
        assert!(Instant::now() < give_up_at, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

//! The service is killed at random moments; producers resume by themselves.

use std::time::Duration;

use anyhow::Result;
use rand::Rng as _;
use tokio::time::{Instant, sleep};

use crate::{
    lab::Lab,
    outcome::{Millis, Outcome},
    service::Service,
    stack::Stack,
};

/// Enough that there is always something in flight, and not so much that checking takes longer than killing.
const LOAD: &str = "--rate 40000 --connections 2 --series 1000";

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let kills = lab.scale.times(100, 5);
    let mut stack = Stack::start(lab, &[]).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let mut recoveries = Millis::default();
    for kill in 1..=kills {
        generator.progress().await?;
        sleep(Duration::from_millis(lab.rng.random_range(0..400))).await;
        let killed_at = Instant::now();
        stack.service.kill().await?;
        let mut next = Service::spawn(&stack.options)?;
        if kill % 5 == 0 {
            // A start is a moment like any other.
            sleep(Duration::from_millis(lab.rng.random_range(0..150))).await;
            next.kill().await?;
            next = Service::spawn(&stack.options)?;
        }
        next.ready().await?;
        // What arrives from here on comes from the new service.
        let settled = generator.journal.settled()?;
        drop(stack.replace(next));
        generator.settled_beyond(settled).await?;
        recoveries.add(killed_at.elapsed());
    }
    let judged = stack.judge(lab, vec![generator]).await?;
    Ok(Outcome::of(kills, judged)
        .figure("recovery_p50_ms", recoveries.quantile(0.5))
        .figure("recovery_max_ms", recoveries.quantile(1.0)))
}

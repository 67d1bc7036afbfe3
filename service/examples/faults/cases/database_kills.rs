//! The database is killed in mid-load; the service recovers by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::Rng as _;
use tokio::time::{Instant, sleep};

use crate::{
    lab::Lab,
    outcome::{Millis, Outcome},
    stack::Stack,
};

const LOAD: &str = "--rate 40000 --connections 2 --series 1000";

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let kills = lab.scale.times(50, 2);
    let mut stack = Stack::start(lab, &[]).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let (mut outages, mut recoveries) = (Millis::default(), Millis::default());
    for _ in 0..kills {
        generator.progress().await?;
        sleep(Duration::from_millis(lab.rng.random_range(0..400))).await;
        let retries = stack.service.readiness().await?.books.retries;
        let killed_at = Instant::now();
        lab.server.kill().await?;
        lab.server.restart().await?;
        let answers_at = Instant::now();
        generator.progress().await?;
        outages.add(killed_at.elapsed());
        recoveries.add(answers_at.elapsed());
        stack.service.still_runs()?;
        ensure!(
            stack.service.readiness().await?.books.retries > retries,
            "no load met the killed database"
        );
    }
    let judged = stack.judge(lab, vec![generator]).await?;
    Ok(Outcome::of(kills, judged)
        .figure("outage_p50_s", outages.quantile(0.5) / 1000.0)
        .figure("outage_max_s", outages.quantile(1.0) / 1000.0)
        .figure("after_database_p50_s", recoveries.quantile(0.5) / 1000.0)
        .figure("after_database_max_s", recoveries.quantile(1.0) / 1000.0))
}

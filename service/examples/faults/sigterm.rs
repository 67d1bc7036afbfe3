//! SIGTERM at full rate: the service drains and ends well, and past its deadline it says what was left.

use std::time::Duration;

use anyhow::{Result, ensure};
use mysql_async::prelude::Queryable as _;
use rand::Rng as _;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    lab::Lab,
    report::{Millis, Outcome},
    service::Service,
    stack::Stack,
};

const LOAD: &str = "--rate max --connections 2 --series 1000 --unacknowledged-bytes 4000000";
const LEFT: &str = "readings not committed; their producers still hold them";

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let signals = lab.scale.times(50, 3);
    let mut stack = Stack::start(lab, &[]).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let mut drains = Millis::default();
    for _ in 0..signals {
        generator.progress().await?;
        sleep(Duration::from_millis(lab.rng.random_range(0..400))).await;
        let told_at = Instant::now();
        stack.service.signal(Signal::TERM)?;
        let status = stack.service.wait().await?;
        drains.add(told_at.elapsed());
        ensure!(
            status.code() == Some(0),
            "a drained service ended with {status}"
        );
        let mut next = Service::spawn(&stack.options)?;
        next.ready().await?;
        drop(stack.replace(next));
    }
    past_the_deadline(&mut stack).await?;
    generator.progress().await?;
    let judged = stack.judge(lab, vec![generator]).await?;
    Ok(Outcome::of(signals + 1, judged)
        .figure("drain_p50_ms", drains.quantile(0.5))
        .figure("drain_p99_ms", drains.quantile(0.99))
        .figure("drain_max_ms", drains.quantile(1.0)))
}

/// The table is locked for longer than the deadline allows.
async fn past_the_deadline(stack: &mut Stack) -> Result<()> {
    let mut options = stack.options.clone();
    options.instance = "hurried".to_owned();
    options.flags.push("--shutdown-deadline-s=1".to_owned());
    let mut hurried = Service::spawn(&options)?;
    hurried.ready().await?;
    let relaxed = stack.replace(hurried);
    stack.front.reset();
    let mut locking = stack.schema.connect().await?;
    locking
        .query_drop("LOCK TABLES sensor_readings WRITE")
        .await?;
    crate::process::until("readings wait for the table", async || {
        Ok(stack.service.readiness().await?.books.in_flight > 0)
    })
    .await?;
    stack.service.signal(Signal::TERM)?;
    let status = stack.service.wait().await?;
    ensure!(
        status.code() == Some(1),
        "a service that could not drain ended with {status}"
    );
    let log = std::fs::read_to_string(&stack.service.log)?;
    ensure!(
        log.lines().last().is_some_and(|line| line.contains(LEFT)),
        "it does not say what was left: {}",
        stack.service.log.display()
    );
    locking.query_drop("UNLOCK TABLES").await?;
    drop(stack.replace(relaxed));
    Ok(())
}

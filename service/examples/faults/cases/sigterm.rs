//! SIGTERM at full rate: the service drains and ends well, and past its deadline it says what was left.

use std::time::Duration;

use anyhow::{Result, ensure};
use mysql_async::prelude::Queryable as _;
use rand::Rng as _;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    generator::Generator,
    lab::Lab,
    outcome::{Millis, Outcome},
    process::until,
    service::Service,
    stack::{Judged, Stack},
};

const LOAD: &str = "--rate max --connections 2 --series 1000";
/// What the producers keep: so much is in flight at most. The quick form need not drain as much.
const WINDOW: &str = "--unacknowledged-bytes 16000000";
const QUICK_WINDOW: &str = "--unacknowledged-bytes 1000000";
const LEFT: &str = "readings not committed; their producers still hold them";

/// Each drain stores a million readings: a part of the signals has a table of its own, so that the last drains are as
/// long as the first.
const SIGNALS_OF_A_PART: usize = 10;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let signals = lab.scale.times(50, 3);
    let window = if lab.scale.quick {
        QUICK_WINDOW
    } else {
        WINDOW
    };
    let load = format!("{LOAD} {window}");
    let mut drains = Millis::default();
    let mut judged = Judged::nothing();
    let numbers: Vec<u32> = (0..signals).collect();
    let parts = numbers.chunks(SIGNALS_OF_A_PART);
    let last = parts.len();
    for (part, numbers) in parts.enumerate() {
        let mut stack = Stack::start(lab, &[]).await?;
        let name = format!("part-{part}");
        let mut generator = stack.generator_named(lab, &name, &load).await?;
        for _ in numbers {
            drains.add(drain(lab, &mut stack, &mut generator).await?);
        }
        if part + 1 == last {
            past_the_deadline(&mut stack, &mut generator).await?;
            generator.progress().await?;
        }
        judged.add(&stack.judge(lab, vec![generator]).await?);
    }
    Ok(Outcome::of(signals + 1, judged)
        .figure("drain_p50_ms", drains.quantile(0.5))
        .figure("drain_p99_ms", drains.quantile(0.99))
        .figure("drain_max_ms", drains.quantile(1.0)))
}

/// From SIGTERM at a random moment to the end of the service; another one takes its place.
async fn drain(lab: &mut Lab, stack: &mut Stack, generator: &mut Generator) -> Result<Duration> {
    generator.progress().await?;
    sleep(Duration::from_millis(lab.rng.random_range(0..400))).await;
    let told_at = Instant::now();
    stack.service.signal(Signal::TERM)?;
    let status = stack.service.wait().await?;
    let took = told_at.elapsed();
    ensure!(
        status.code() == Some(0),
        "a drained service ended with {status}"
    );
    let mut next = Service::spawn(&stack.options)?;
    next.ready().await?;
    drop(stack.replace(next));
    Ok(took)
}

/// The table is locked for longer than the deadline allows.
async fn past_the_deadline(stack: &mut Stack, generator: &mut Generator) -> Result<()> {
    // One that held readings of these streams would keep them from the next.
    stack.service.signal(Signal::TERM)?;
    stack.service.wait().await?;
    let mut options = stack.options.clone();
    options.flags.push("--shutdown-deadline-s=1".to_owned());
    let mut hurried = Service::spawn(&options)?;
    hurried.ready().await?;
    drop(stack.replace(hurried));
    generator.progress().await?;
    let mut locking = stack.schema.connect().await?;
    locking
        .query_drop("LOCK TABLES sensor_readings WRITE")
        .await?;
    until("readings wait for the table", async || {
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
    let mut next = Service::spawn(&stack.options)?;
    next.ready().await?;
    drop(stack.replace(next));
    Ok(())
}

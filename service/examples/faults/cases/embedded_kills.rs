//! The embedded database is killed at full rate: the service starts it again, and nothing is lost. Then it is killed as
//! soon as it is there, five times within a minute: the service ends with an error and says so.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    judge::hold_stored,
    lab::Lab,
    outcome::{Millis, Outcome},
    process,
    stack::{Judged, Stack, settle},
};

const LOAD: &str = "--connections 2 --series 1000 --unacknowledged-bytes 4000000";
/// Five deaths within a minute are too many.
const BETWEEN_KILLS: Duration = Duration::from_secs(16);
const DEATHS: u32 = 5;
const GIVE_UP_LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let kills = lab.scale.times(20, 2);
    let mut stack = Stack::start_embedded(lab).await?;
    let mut outages = Millis::default();
    // Few kills stay below what is too many within a minute, however fast they come.
    let pause = match kills + 1 < DEATHS {
        true => Duration::ZERO,
        false => BETWEEN_KILLS,
    };
    let judged = kill_at_full_rate(lab, &mut stack, kills, pause, &mut outages).await?;
    sleep(pause).await;
    let given_up_after = kill_until_given_up(&mut stack).await?;
    Ok(Outcome::of(kills + DEATHS, judged)
        .figure("outage_p50_s", outages.quantile(0.5) / 1000.0)
        .figure("outage_max_s", outages.quantile(1.0) / 1000.0)
        .figure("given_up_after_s", given_up_after.as_secs_f64()))
}

async fn kill_at_full_rate(
    lab: &mut Lab,
    stack: &mut Stack,
    kills: u32,
    pause: Duration,
    outages: &mut Millis,
) -> Result<Judged> {
    let mut generator = stack.generator(lab, LOAD).await?;
    for number in 0..kills {
        if number > 0 {
            sleep(pause).await;
        }
        generator.progress().await?;
        sleep(Duration::from_millis(lab.rng.random_range(0..400))).await;
        let server = server_of(stack)?.context("the embedded database does not run")?;
        let killed_at = Instant::now();
        process::signal(server, Signal::KILL)?;
        process::until("another server runs", || async {
            Ok(server_of(stack)?.is_some_and(|pid| pid != server))
        })
        .await?;
        // What was committed before the kill is told first.
        generator.progress().await?;
        generator.progress().await?;
        outages.add(killed_at.elapsed());
        stack.service.still_runs()?;
    }
    let judged = settle(lab, &stack.schema, &[&stack.service], vec![generator]).await?;
    hold_stored(&stack.schema, &[&stack.service]).await?;
    Ok(judged)
}

/// Kills every server that the service starts, until the service gives up. Returns how long that took.
async fn kill_until_given_up(stack: &mut Stack) -> Result<Duration> {
    let begun = Instant::now();
    let mut deaths = 0;
    while stack.service.still_runs().is_ok() {
        ensure!(
            begun.elapsed() < GIVE_UP_LIMIT,
            "the service goes on after {deaths} deaths of its database"
        );
        if let Some(server) = server_of(stack)? {
            process::signal(server, Signal::KILL)?;
            process::until("the server is gone", || async {
                Ok(server_of(stack)? != Some(server))
            })
            .await?;
            deaths += 1;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed();
    let status = stack.service.wait().await?;
    ensure!(status.code() == Some(1), "the service ended with {status}");
    let said = std::fs::read_to_string(&stack.service.log)?;
    let sentence = "the embedded database has ended";
    ensure!(
        said.contains(sentence) && said.contains("server.log ends with"),
        "the service does not say why it ended: see {}",
        stack.service.log.display()
    );
    ensure!(deaths <= DEATHS, "it took {deaths} deaths");
    Ok(took)
}

/// The embedded server, while it runs.
fn server_of(stack: &Stack) -> Result<Option<u32>> {
    process::child_with(stack.service.pid, "--datadir=")
}

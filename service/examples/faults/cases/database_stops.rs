//! The database stands still at full rate: nothing is acknowledged, memory stays flat, producers are slowed, and
//! everything is caught up with afterwards (P1, P4).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mysql_async::prelude::Queryable as _;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{lab::Lab, outcome::Outcome, process::until, stack::Stack};

const LOAD: &str = "--rate max --connections 4 --series 1000";
/// What the producers keep, beyond what fills the service; the quick form has less to catch up with.
const QUICK_WINDOW: &str = "--unacknowledged-bytes 2000000";
/// The largest messages may keep so much of the budget free.
const ROOM_BYTES: u64 = 2 << 20;
/// What a reading takes of it, at least.
const LEAST_BYTES: u64 = 40;
/// What the allocator and the network's buffers may add once the budget is used up.
const SLACK_MIB: f64 = 32.0;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let stop_s = lab.scale.seconds(30, 3);
    // The quick form need not wait until 64 MiB are full.
    let budget_bytes = lab.scale.seconds(64 << 20, 4 << 20);
    let budget_flag = format!("--ingest-budget-bytes={budget_bytes}");
    let stack = Stack::start(lab, &[&budget_flag]).await?;
    let idle = stack.service.usage()?;
    let window = if lab.scale.quick { QUICK_WINDOW } else { "" };
    let mut generator = stack.generator(lab, &format!("{LOAD} {window}")).await?;
    generator.settled_beyond(100_000).await?;
    // Open already, so that it counts before the loads that stand still go on.
    let mut counting = stack.schema.connect().await?;

    lab.server.signal(Signal::STOP)?;
    let stopped_at = Instant::now();
    until("the budget is used up", || async {
        Ok(stack.service.readiness().await?.in_flight_bytes + ROOM_BYTES > budget_bytes)
    })
    .await?;
    // For the figure of memory: most of the room that was left is taken by now.
    sleep(Duration::from_secs(1)).await;
    let full = stack.service.usage()?;
    let in_flight = stack.service.readiness().await?.books.in_flight;
    // From here on producers push against a service that is full.
    sleep(Duration::from_secs(stop_s)).await;
    let end = stack.service.usage()?;
    let unsent = stack.service.readiness().await?.books;
    let settled = generator.journal.settled()?;
    let budget_mib = budget_bytes as f64 / f64::from(1 << 20);
    ensure!(
        end.peak_mib < idle.resident_mib + budget_mib + SLACK_MIB,
        "memory grew from {} to {} MiB, on a budget of {budget_mib} MiB",
        idle.resident_mib,
        end.peak_mib
    );
    // A late acknowledgement of what was committed before makes room for as much.
    let received_while_full = unsent.in_flight.saturating_sub(in_flight);
    ensure!(
        received_while_full * LEAST_BYTES <= ROOM_BYTES,
        "{received_while_full} readings were taken in although the budget was used up"
    );
    let stopped = stopped_at.elapsed();

    lab.server.signal(Signal::CONT)?;
    let continued_at = Instant::now();
    let stored: Option<u64> = counting
        .query_first("SELECT COUNT(*) FROM sensor_readings")
        .await?;
    let stored = stored.context("no count of the table")?;
    ensure!(
        settled <= stored,
        "{settled} readings were acknowledged while the database stood still, and it held {stored}"
    );
    counting.disconnect().await?;
    until("what was in flight is settled", || async {
        let books = stack.service.readiness().await?.books;
        Ok(books.received - books.in_flight >= unsent.received)
    })
    .await?;
    let catch_up = continued_at.elapsed();
    generator.progress().await?;
    let judged = stack.judge(lab, vec![generator]).await?;
    Ok(Outcome::of(1, judged)
        .figure("stopped_s", stopped.as_secs_f64())
        .figure("idle_mib", idle.resident_mib)
        .figure("budget_full_mib", full.resident_mib)
        .figure("peak_mib", end.peak_mib)
        .figure("received_while_full_readings", received_while_full as f64)
        .figure("catch_up_s", catch_up.as_secs_f64()))
}

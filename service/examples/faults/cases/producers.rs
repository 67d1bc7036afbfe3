//! The producers' connections are reset, stalled, throttled, delayed, sliced and cut; they resume, and everything is
//! stored once (P2).

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::Rng as _;
use tokio::time::sleep;

use crate::{lab::Lab, outcome::Outcome, process::until, stack::Stack, wire::Weather};

const ACKED: &str = "--rate 20000 --connections 2 --series 1000";
/// Plain client streaming, row by row; it is acknowledged when a call ends, and so rarely.
const PLAIN: &str =
    "--mode stream --encoding rows --rate 5000 --series 100 --seed 2 --unacknowledged-bytes 400000";

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let rounds = lab.scale.times(20, 1);
    let stack = Stack::start(lab, &[]).await?;
    let mut acked = stack.generator_named(lab, "acked", ACKED).await?;
    let mut plain = stack.generator_named(lab, "plain", PLAIN).await?;
    let mut faults = 0;
    for _ in 0..rounds {
        for (weather, lasts_ms, reset) in [
            (Weather::Fair, 0, true),
            (Weather::Stalled, 1_000, false),
            (Weather::Stalled, 1_000, true),
            (Weather::Throttled(40_000), 1_500, false),
            (Weather::Delayed(Duration::from_millis(30)), 1_000, false),
            (Weather::Sliced, 1_500, false),
            (Weather::CutAfter(1), 200, true),
        ] {
            acked.progress().await?;
            stack.front.set(weather);
            sleep(Duration::from_millis(lasts_ms)).await;
            if reset {
                stack.front.reset();
            }
            stack.front.set(Weather::Fair);
            faults += 1;
        }
        acked.progress().await?;
        let before = stack.front.cuts();
        let cut_after = lab.rng.random_range(1..200_000);
        stack.front.set(Weather::CutAfter(cut_after));
        until("a connection is cut", async || {
            Ok(stack.front.cuts() > before)
        })
        .await?;
        stack.front.set(Weather::Fair);
        faults += 1;
        acked.progress().await?;
        plain.progress().await?;
    }
    let resets = stack.front.resets();
    // One of two connections at least for each reset of those that were open, and the cut.
    ensure!(
        resets >= u64::from(3 * rounds),
        "{rounds} rounds have reset {resets} connections"
    );
    let judged = stack.judge(lab, vec![acked, plain]).await?;
    Ok(Outcome::of(faults, judged).figure("connections_reset", resets as f64))
}

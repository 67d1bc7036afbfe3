//! Four streams bring as much as the service takes, first good readings, then nothing but bad ones. Beside them single
//! readings are answered soon, and a slow named stream keeps its rate (P5).

use anyhow::Result;

use crate::{
    generator::{Generator, RunReport},
    judge::{hold_books, hold_ledger, hold_stored},
    lab::Lab,
    outcome::Outcome,
    stack::{Stack, end},
    verdict::{Verdict, hold},
};

/// As much as the service takes, and no backlog that would take minutes to reject after the end.
const NOISE: &str =
    "--mode stream-acked --connections 4 --series 1000 --unacknowledged-bytes 4000000";
const UNARY_PER_S: u64 = 20;
const SLOW_PER_S: u64 = 1_000;
/// What single readings may take beside the noise, 99 of 100 of them, milliseconds.
const P99_LIMIT_MS: f64 = 250.0;
/// What the quick form allows of it, a debug build beside other work. Without turns it is 6,000 ms and more.
const QUICK_FACTOR: f64 = 8.0;
/// What the slow stream keeps of its rate.
const KEPT_SHARE: f64 = 0.95;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let mut verdict = Verdict::none();
    let mut figures = Vec::new();
    for (name, flags) in [("good", ""), ("bad", "--bad 1")] {
        let (of_phase, unary, slow) = beside(lab, name, flags).await?;
        verdict.add(&of_phase);
        figures.extend([
            (format!("{name}_unary_p50_ms"), unary.ack_ms.p50),
            (format!("{name}_unary_p99_ms"), unary.ack_ms.p99),
            (format!("{name}_slow_kept_share"), kept(&slow)),
            (format!("{name}_slow_p99_ms"), slow.ack_ms.p99),
        ]);
    }
    let outcome = figures
        .into_iter()
        .fold(Outcome::of_verdict(2, verdict), |outcome, (name, value)| {
            outcome.figure(&name, value)
        });
    Ok(outcome)
}

fn kept(slow: &RunReport) -> f64 {
    slow.rows_per_s / SLOW_PER_S as f64
}

/// One kind of noise, and what it does to its neighbours.
async fn beside(lab: &mut Lab, name: &str, flags: &str) -> Result<(Verdict, RunReport, RunReport)> {
    let stack = Stack::start(lab, &[]).await?;
    let lab = &*lab;
    let seconds = lab.scale.seconds(20, 4);
    // Not through the proxy: it would take a share of the processor.
    let target = format!("http://{}", stack.service.grpc);
    let start = |kind: &str, flags: String| {
        let name = format!("{name}-{kind}");
        let target = target.clone();
        async move { Generator::start(lab, &target, &name, &flags).await }
    };
    let noise = start("noise", format!("{NOISE} {flags}")).await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let unary = start(
        "unary",
        format!("--mode unary --rate {UNARY_PER_S} --duration {seconds}s --concurrency 16"),
    )
    .await?;
    let slow = start(
        "slow",
        format!("--mode stream-acked --rate {SLOW_PER_S} --duration {seconds}s"),
    )
    .await?;
    let ((unary, unary_journal), (slow, slow_journal)) =
        tokio::try_join!(unary.ended(), slow.ended())?;
    noise.stop()?;
    let (_, noise_journal) = noise.ended().await?;
    let Stack {
        schema, service, ..
    } = stack;
    hold_books(&service).await?;
    let verdict = Verdict::of(lab, &schema, &[noise_journal, unary_journal, slow_journal]).await?;
    verdict.hold()?;
    hold_ledger(&schema).await?;
    hold_stored(&schema, &[&service]).await?;
    end(service).await?;
    schema.drop().await?;
    let limit_ms = match lab.scale.quick {
        true => P99_LIMIT_MS * QUICK_FACTOR,
        false => P99_LIMIT_MS,
    };
    hold!(
        unary.ack_ms.p99 < limit_ms,
        "single readings beside {name} noise take {:?} ms",
        unary.ack_ms
    );
    hold!(
        lab.scale.quick || kept(&slow) >= KEPT_SHARE,
        "a slow stream beside {name} noise keeps {:.3} of its rate: {:?} ms",
        kept(&slow),
        slow.ack_ms
    );
    Ok((verdict, unary, slow))
}

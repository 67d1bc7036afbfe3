//! Clients flood both doors, one kind after the other, with no more files than are usual. A producer that streams and one of
//! single readings are served meanwhile, the process stays within its bound (P4), and connections to the database that are
//! lost come back.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::{
    flood::Flood,
    generator::{Generator, RunReport},
    judge::{hold_books, hold_ledger, hold_stored},
    lab::Lab,
    outcome::{Outcome, Skipped},
    stack::{Stack, end},
    verdict::{Verdict, hold},
};

/// What a process may usually have open.
const FILES: u64 = 1_024;
/// What the whole process may take with a budget of 64 MiB, MiB.
const MOST_MIB: f64 = 320.0;
/// How much longer readings may take than undisturbed, 99 of 100 of them.
const SLOWER: f64 = 3.0;
/// Below it, noise of the machine is larger than what is measured, milliseconds.
const LEAST_MS: f64 = 20.0;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    if lab.scale.quick {
        let why = "it takes minutes, and measures times that nothing may run beside: scripts/faults.sh --case floods";
        return Err(Skipped(why).into());
    }
    let stack = Stack::start(lab, &[]).await?;
    let lab = &*lab;
    let pid = Pid::from_raw(stack.service.pid as i32).context("it runs")?;
    let files = Rlimit {
        current: Some(FILES),
        maximum: Some(FILES),
    };
    prlimit(Some(pid), Resource::Nofile, files)?;
    let mut journals = Vec::new();
    let mut outcome = Outcome::of_verdict(Flood::ALL.len() as u32, Verdict::none());
    let (unary, stream) = beside(lab, &stack, "undisturbed", &mut journals).await?;
    let undisturbed = [unary.ack_ms.p99, stream.ack_ms.p99];
    for (name, p99) in ["unary", "stream"].into_iter().zip(undisturbed) {
        outcome = outcome.figure(&format!("undisturbed_{name}_p99_ms"), p99);
    }
    let mut slow = Vec::new();
    for flood in Flood::ALL {
        let clients = flood.begin(stack.service.grpc, stack.service.rest);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lost = stack.schema.kill_connections();
        let beside = beside(lab, &stack, flood.name(), &mut journals);
        let (lost, beside) = tokio::join!(lost, beside);
        let (unary, stream) = beside?;
        drop(clients);
        hold!(
            lost? > 0,
            "no connection to the database was there to be lost"
        );
        for (name, of, before) in [
            ("unary", unary.ack_ms.p99, undisturbed[0]),
            ("stream", stream.ack_ms.p99, undisturbed[1]),
        ] {
            let times = of.max(LEAST_MS) / before.max(LEAST_MS);
            if times > SLOWER {
                slow.push(format!("{name} beside {} {times:.1} times", flood.name()));
            }
            outcome = outcome.figure(&format!("{}_{name}_p99_ms", flood.name()), of);
        }
        let usage = stack.service.usage()?;
        hold!(
            usage.peak_mib < MOST_MIB,
            "with {} the process took {:.0} MiB, {MOST_MIB} are the most",
            flood.name(),
            usage.peak_mib
        );
    }
    let usage = stack.service.usage()?;
    let Stack {
        schema, service, ..
    } = stack;
    hold_books(&service).await?;
    let verdict = Verdict::of(lab, &schema, &journals).await?;
    verdict.hold()?;
    hold_ledger(&schema).await?;
    hold_stored(&schema, &[&service]).await?;
    end(service).await?;
    schema.drop().await?;
    hold!(
        slow.is_empty(),
        "readings take more than {SLOWER} times as long: {}",
        slow.join(", ")
    );
    Ok(Outcome { verdict, ..outcome }.figure("peak_mib", usage.peak_mib))
}

/// Two producers for as long as it takes.
async fn beside(
    lab: &Lab,
    stack: &Stack,
    name: &str,
    journals: &mut Vec<std::path::PathBuf>,
) -> Result<(RunReport, RunReport)> {
    let seconds = lab.scale.seconds(10, 3);
    let target = format!("http://{}", stack.service.grpc);
    let unary = format!("--mode unary --rate 50 --duration {seconds}s --concurrency 16");
    let unary = Generator::start(lab, &target, &format!("{name}-unary"), &unary).await?;
    let stream = format!("--mode stream-acked --rate 2000 --duration {seconds}s");
    let stream = Generator::start(lab, &target, &format!("{name}-stream"), &stream).await?;
    let ((unary, first), (stream, second)) = tokio::try_join!(unary.ended(), stream.ended())?;
    journals.extend([first, second]);
    Ok((unary, stream))
}

//! Clients flood both doors, one kind after the other, with no more files than are usual. A producer that streams and one of
//! single readings are served meanwhile, the process stays within its bound (P4), and connections to the database that are
//! lost come back.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::process::Command;

use crate::{
    flood::{Flood, has_stranger},
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

/// How producers reach the service.
struct Way {
    target: String,
    flags: String,
}

/// What was found beside floods.
struct Found {
    outcome: Outcome,
    journals: Vec<PathBuf>,
    slow: Vec<String>,
}

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    refuse_haste(lab)?;
    let stack = Stack::start(lab, &[]).await?;
    let lab = &*lab;
    let way = Way {
        target: format!("http://{}", stack.service.grpc),
        flags: String::new(),
    };
    let floods = Flood::PLAIN.into_iter();
    let floods: Vec<_> = match has_stranger() {
        true => floods.collect(),
        false => {
            println!("no slowhttptest here: its slow clients are NOT let loose");
            floods.filter(|flood| !flood.is_strangers()).collect()
        }
    };
    let found = withstand(lab, &stack, &way, &floods).await?;
    hold_books(&stack.service).await?;
    hold_stored(&stack.schema, &[&stack.service]).await?;
    found.judge(lab, stack).await
}

/// The same over TLS, by those who begin handshakes and do not end them.
pub(crate) async fn handshakes(lab: &mut Lab) -> Result<Outcome> {
    refuse_haste(lab)?;
    let folder = lab.folder.join("certificates");
    let mut command = Command::new(&lab.programs.sluicegate);
    command.arg("certs").arg(&folder).stdout(Stdio::null());
    ensure!(command.status().await?.success(), "no certificates");
    let path = |name: &str| folder.join(name).display().to_string();
    let (cert, key) = (path("server.pem"), path("server.key"));
    let stack = Stack::start(lab, &["--tls-cert", &cert, "--tls-key", &key]).await?;
    let lab = &*lab;
    let way = Way {
        target: format!("https://{}", stack.service.grpc),
        flags: format!("--tls-ca {}", path("ca.pem")),
    };
    let found = withstand(lab, &stack, &way, &Flood::TLS).await?;
    found.judge(lab, stack).await
}

fn refuse_haste(lab: &Lab) -> Result<()> {
    if lab.scale.quick {
        let why = "it takes minutes, and measures times that nothing may run beside: scripts/faults.sh --case floods \
                   --case handshakes";
        return Err(Skipped(why).into());
    }
    Ok(())
}

/// Floods the service, one kind after the other.
async fn withstand(lab: &Lab, stack: &Stack, way: &Way, floods: &[Flood]) -> Result<Found> {
    let pid = Pid::from_raw(stack.service.pid as i32).context("it runs")?;
    let files = Rlimit {
        current: Some(FILES),
        maximum: Some(FILES),
    };
    prlimit(Some(pid), Resource::Nofile, files)?;
    let mut journals = Vec::new();
    let mut outcome = Outcome::of_verdict(floods.len() as u32, Verdict::none());
    let (unary, stream) = served(lab, stack, way, "undisturbed", &mut journals).await?;
    let undisturbed = [unary.ack_ms.p99, stream.ack_ms.p99];
    for (name, p99) in ["unary", "stream"].into_iter().zip(undisturbed) {
        outcome = outcome.figure(&format!("undisturbed_{name}_p99_ms"), p99);
    }
    let mut slow = Vec::new();
    for flood in floods {
        let clients = flood.begin(stack.service.grpc, stack.service.rest);
        let (unary, stream) = served(lab, stack, way, flood.name(), &mut journals).await?;
        drop(clients);
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
    let peak_mib = stack.service.usage()?.peak_mib;
    Ok(Found {
        outcome: outcome.figure("peak_mib", peak_mib),
        journals,
        slow,
    })
}

impl Found {
    /// Holds the table to the journals, and the times to those without a flood.
    async fn judge(self, lab: &Lab, stack: Stack) -> Result<Outcome> {
        let Stack {
            schema, service, ..
        } = stack;
        let verdict = Verdict::of(lab, &schema, &self.journals).await?;
        verdict.hold()?;
        hold_ledger(&schema).await?;
        end(service).await?;
        schema.drop().await?;
        hold!(
            self.slow.is_empty(),
            "readings take more than {SLOWER} times as long: {}",
            self.slow.join(", ")
        );
        Ok(Outcome {
            verdict,
            ..self.outcome
        })
    }
}

/// Two producers, while the connections to the database are lost once: undisturbed as well, for that alone holds readings up.
async fn served(
    lab: &Lab,
    stack: &Stack,
    way: &Way,
    name: &str,
    journals: &mut Vec<PathBuf>,
) -> Result<(RunReport, RunReport)> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lost = stack.schema.kill_connections();
    let (lost, reports) = tokio::join!(lost, beside(lab, way, name, journals));
    hold!(
        lost? > 0,
        "no connection to the database was there to be lost"
    );
    reports
}

/// Two producers for as long as it takes.
async fn beside(
    lab: &Lab,
    Way { target, flags }: &Way,
    name: &str,
    journals: &mut Vec<PathBuf>,
) -> Result<(RunReport, RunReport)> {
    // One moment at which everything stands still is below one in a hundred of that.
    let seconds = lab.scale.seconds(20, 3);
    let unary = format!("--mode unary --rate 50 --duration {seconds}s --concurrency 16 {flags}");
    let unary = Generator::start(lab, target, &format!("{name}-unary"), &unary).await?;
    let stream = format!("--mode stream-acked --rate 2000 --duration {seconds}s {flags}");
    let stream = Generator::start(lab, target, &format!("{name}-stream"), &stream).await?;
    let ((unary, first), (stream, second)) = tokio::try_join!(unary.ended(), stream.ended())?;
    journals.extend([first, second]);
    Ok((unary, stream))
}

//! Each long-lived task is made to panic at full rate: the process ends by itself, soon and not well, names the task, and
//! the next one goes on where it was (P2, P7).

use std::fs;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use crate::{
    lab::Lab,
    outcome::{Millis, Outcome},
    service::Service,
    stack::Stack,
};

const LOAD: &str = "--rate 40000 --connections 2 --series 1000";
const FLAGS: [&str; 4] = ["--ingest-lanes", "2", "--shutdown-deadline-s", "10"];
/// By the names under which the service starts them.
const TASKS: [&str; 7] = [
    "lane 0",
    "loader of lane 1",
    "partition manager",
    "clock",
    "gRPC listener",
    "REST listener",
    "signals",
];

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    ensure!(
        lab.programs.failpoints.is_some(),
        "give a program with failpoints: --failpoints-program"
    );
    let mut stack = Stack::start(lab, &FLAGS).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let rounds = lab.scale.times(4, 1);
    let (mut panics, mut endings) = (0, Millis::default());
    for task in TASKS.iter().cycle().take(TASKS.len() * rounds as usize) {
        // It is in the place of the last one, and at work for about a second before.
        let actions = format!("{task}=20*off->panic(as told)");
        let mut options = stack.options.clone();
        options.with_failpoints(lab, &[("FAILPOINTS", &actions)]);
        stack.service.kill().await?;
        let mut doomed = Service::spawn(&options)?;
        doomed.ready().await?;
        let mut last = stack.replace(doomed);
        last.wait().await?;
        let began = Instant::now();
        let status = stack.service.wait().await?;
        endings.add(began.elapsed());
        ensure!(
            status.code() == Some(1),
            "with \"{task}\" gone the service ended with {status}"
        );
        let log = fs::read_to_string(&stack.service.log)?;
        ensure!(
            log.contains(&format!("the task \"{task}\" panicked: as told")),
            "the service does not say that \"{task}\" is gone"
        );
        panics += 1;
        let mut next = Service::spawn(&stack.options)?;
        next.ready().await?;
        let settled = generator.journal.settled()?;
        drop(stack.replace(next));
        generator.settled_beyond(settled).await?;
    }
    let judged = stack.judge(lab, vec![generator]).await?;
    Ok(Outcome::of(panics, judged)
        .figure("end_p50_ms", endings.quantile(0.5))
        .figure("end_max_ms", endings.quantile(1.0)))
}

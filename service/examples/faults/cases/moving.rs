//! Readings are moved into another layout and back while others come in, and what takes part is killed in turns: the mover,
//! the service and the database.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{
    lab::Lab,
    layout,
    outcome::Outcome,
    process,
    service::Service,
    stack::{Stack, service_options},
};

const LOAD: &str = "--rate 4000 --connections 2 --series 1000";
/// So slow that a move is not at its end before its last kill.
const SLOW: [&str; 4] = ["--step-readings", "500", "--max-rate", "5000"];
/// What is left is moved within this.
const MOVE_LIMIT: Duration = Duration::from_secs(300);

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let kills = lab.scale.times(24, 6);
    let schema = lab.server.schema().await?;
    let mut options = service_options(lab, schema.service_url(schema.port), &[]);
    // A service that starts anew by itself is found where it was.
    options.addresses = [free_address()?, free_address()?];
    let mut stack = Stack::start_on(schema, options).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let before = 12_000 * u64::from(kills);
    generator.settled_beyond(before.min(60_000)).await?;
    let there_and_back = match layout::name() {
        "series" => ["partitioned", "series"],
        _ => ["series", "partitioned"],
    };
    let mut unfinished = 0;
    for to in there_and_back {
        for kill in 0..kills {
            let mut mover = mover(lab, &stack, to, &SLOW)?;
            sleep(Duration::from_millis(lab.rng.random_range(50..1_500))).await;
            unfinished += u32::from(mover.try_wait()?.is_none());
            match kill % 3 {
                0 => mover.kill().await?,
                1 => {
                    stack.service.kill().await?;
                    let mut next = Service::spawn(&stack.options)?;
                    next.ready().await?;
                    drop(stack.replace(next));
                }
                _ => {
                    lab.server.kill().await?;
                    lab.server.restart().await?;
                }
            }
            generator.progress().await?;
            // It may have ended with the database.
            let _ = mover.kill().await;
        }
        let mut mover = mover(lab, &stack, to, &[])?;
        let ended = timeout(MOVE_LIMIT, mover.wait()).await;
        let ended = ended.context("the readings are not moved in time")??;
        ensure!(ended.success(), "the mover ended with {ended}");
        generator.progress().await?;
    }
    ensure!(
        unfinished > kills,
        "most kills came when all was moved: {unfinished} of {} did not",
        2 * kills
    );
    let judged = stack.judge(lab, vec![generator]).await?;
    Ok(Outcome::of(2 * kills, judged))
}

fn mover(lab: &Lab, stack: &Stack, to: &str, flags: &[&str]) -> Result<Child> {
    let mut command = Command::new(&lab.programs.sluicegate);
    command
        .arg("migrate")
        .args(&stack.options.database)
        .args(["--to", to])
        .args(flags)
        .stdout(Stdio::null());
    process::spawn(command, &lab.folder.join("mover.log"))
}

/// One that nobody has now.
fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

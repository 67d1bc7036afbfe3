//! The disk of the database fills up, and is freed later. Producers are told to come again, nothing is acknowledged
//! that is not stored, and everything recovers by itself.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;
use tonic::Code;

use crate::{
    database::{Server, small_logs},
    disk::Disk,
    judge::hold_stored,
    lab::Lab,
    outcome::Outcome,
    probe::Probe,
    process::until,
    stack::{Stack, end, service_options, settle},
};

const LOAD: &str = "--rate 40000 --connections 2 --series 1000 --unacknowledged-bytes 4000000";
/// A server that ends because of the full disk has ended by then.
const SETTLED: Duration = Duration::from_secs(1);

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let rounds = lab.scale.times(5, 1);
    let lasts = Duration::from_secs(lab.scale.seconds(20, 2));
    let disk = Disk::mount(lab.folder.join("disk"))?;
    // So that the disk is for readings.
    let arguments = small_logs(lab.engine);
    let mut server = Server::start(&lab.binary, &disk.folder.join("database"), arguments).await?;
    let schema = server.schema().await?;
    let url = schema.service_url(schema.port);
    let options = service_options(lab, url, &["--ingest-commit-deadline-ms=1000"]);
    let mut stack = Stack::start_on(schema, options).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let probe = Probe::start(stack.service.grpc);
    let mut crashes = 0;
    for _ in 0..rounds {
        generator.progress().await?;
        let retries = stack.service.readiness().await?.books.retries;
        disk.fill()?;
        until("loads fail", async || {
            Ok(stack.service.readiness().await?.books.retries > retries)
        })
        .await?;
        sleep(lasts).await;
        stack.service.still_runs()?;
        disk.free()?;
        // A server that took the full disk for its end is started again, as its supervisor would.
        sleep(SETTLED).await;
        if server.has_crashed() {
            server.revive().await?;
            crashes += 1;
        }
        generator.progress().await?;
    }
    let answers = probe.end().await?;
    let (schema, service) = (stack.schema, stack.service);
    let judged = settle(lab, &schema, &[&service], vec![generator]).await?;
    hold_stored(&schema, &[&service]).await?;
    end(service).await?;
    server.stop().await?;
    let told = |code: Code| f64::from(answers.told(code));
    Ok(Outcome::of(rounds, judged)
        .figure("server_crashes", f64::from(crashes))
        .figure("single_readings_stored", told(Code::Ok))
        .figure("single_readings_told_unavailable", told(Code::Unavailable)))
}

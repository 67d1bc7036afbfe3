//! What is fetched from brokers, while service, database and broker are killed in turns, the network between them is cut, and
//! the broker's disk is full for a while. Each
//! message is stored once where the broker has positions, and at least once where it has none; what cannot be decoded is told.

mod broker;

use std::time::Duration;

use anyhow::Result;
use rand::Rng as _;
use sluicegate::embedded_db::Engine;
use tokio::time::sleep;

use self::broker::Broker;
pub(crate) use self::broker::Kind;
use super::numbers::{judge, until_stored};
use crate::{
    disk::Disk,
    http,
    judge::hold_ledger,
    lab::Lab,
    outcome::{Outcome, Skipped},
    process,
    service::Service,
    stack::{Stack, end},
    verdict::{Verdict, hold},
};

/// What happens in turns.
const FAULTS: [Fault; 5] = [
    Fault::Service,
    Fault::Database,
    Fault::Broker,
    Fault::Network,
    Fault::Disk,
];
/// Readings in all; and so many messages of a round that are none.
const READINGS: u64 = 1_000_000;
const QUICK_READINGS: u64 = 40_000;
const UNDECODABLE: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Service,
    Database,
    Broker,
    Network,
    /// The broker's.
    Disk,
}

pub(crate) async fn run(lab: &mut Lab, kind: Kind) -> Result<Outcome> {
    if lab.scale.quick && lab.engine == Engine::MySql {
        return Err(
            Skipped("in the quick form sources are fetched from into MariaDB alone").into(),
        );
    }
    let faults = FAULTS.len() as u32 * lab.scale.times(20, 2);
    let readings = match lab.scale.quick {
        true => QUICK_READINGS,
        false => READINGS,
    };
    let lasts = Duration::from_secs(lab.scale.seconds(5, 2));
    let disk = match Disk::mount(lab.folder.join("disk")) {
        Ok(disk) => Some(disk),
        Err(error) if error.is::<Skipped>() => {
            eprintln!("the broker's disk is not filled: {error}");
            None
        }
        Err(error) => return Err(error),
    };
    let data_within = disk.as_ref().map(|disk| disk.folder.as_path());
    let mut broker = Broker::start(kind, data_within).await?;
    let config = lab.folder.join("sources.yaml");
    std::fs::write(&config, broker.settings())?;
    let config = config.display().to_string();
    let mut stack = Stack::start(lab, &["--config", &config]).await?;
    until_running(&stack.service).await?;
    let mut sent = 0;
    let mut all = Vec::new();
    for fault in 1..=faults {
        let next = readings * u64::from(fault) / u64::from(faults);
        let mut messages: Vec<_> = (sent..next).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
        messages.extend((0..UNDECODABLE).map(|n| format!("no reading {fault}/{n}")));
        sent = next;
        all.extend_from_slice(&messages);
        broker.send(messages).await;
        sleep(Duration::from_millis(lab.rng.random_range(0..300))).await;
        match FAULTS[fault as usize % FAULTS.len()] {
            Fault::Service => {
                stack.service.kill().await?;
                let mut next = Service::spawn(&stack.options)?;
                next.ready().await?;
                drop(stack.replace(next));
            }
            Fault::Database => {
                lab.server.kill().await?;
                lab.server.restart().await?;
            }
            Fault::Broker => broker.crash().await,
            Fault::Network => broker.cut(),
            Fault::Disk => {
                let Some(disk) = &disk else {
                    continue;
                };
                disk.fill()?;
                sleep(lasts).await;
                stack.service.still_runs()?;
                disk.free()?;
                // One that took the full disk for its end is started again, as its supervisor would.
                broker.crash().await;
            }
        }
    }
    let lost_by_broker = broker.make_good(&all).await;
    until_stored(&stack.schema, readings).await?;
    let told = broker.undecodable(&stack.schema).await?;
    let undecodable = u64::from(faults) * UNDECODABLE;
    hold!(
        told >= undecodable && (told == undecodable || !kind.is_exactly_once()),
        "{undecodable} messages cannot be decoded, {told} are in quarantine"
    );
    let verdict = judge(&stack.schema, readings).await?;
    let duplicated = verdict.duplicated;
    let verdict = match kind.is_exactly_once() {
        true => verdict,
        false => Verdict {
            duplicated: 0,
            found: verdict.found - duplicated,
            ..verdict
        },
    };
    verdict.hold()?;
    hold_ledger(&stack.schema).await?;
    end(stack.service).await?;
    stack.schema.drop().await?;
    Ok(Outcome::of_verdict(faults, verdict)
        .figure("lost_by_broker", lost_by_broker as f64)
        .figure("stored_twice", duplicated as f64)
        .figure("undecodable", told as f64))
}

async fn until_running(service: &Service) -> Result<()> {
    process::until("the source runs", || async {
        let (_, answer) = http::get(service.rest, "/sources").await?;
        Ok(answer["sources"][0]["state"] == "running")
    })
    .await
}

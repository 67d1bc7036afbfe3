//! What is fetched from brokers, while service, database and broker are killed in turns and the network between them is cut. Each
//! message is stored once where the broker has positions, and at least once where it has none; what cannot be decoded is told.

mod broker;

use std::time::Duration;

use anyhow::{Context as _, Result};
use mysql_async::prelude::Queryable as _;
use rand::Rng as _;
use sluicegate::embedded_db::Engine;
use tokio::time::{Instant, sleep};

use self::broker::Broker;
pub(crate) use self::broker::Kind;
use crate::{
    database::Schema,
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
const FAULTS: [Fault; 4] = [
    Fault::Service,
    Fault::Database,
    Fault::Broker,
    Fault::Network,
];
/// Readings in all; and so many messages of a round that are none.
const READINGS: u64 = 1_000_000;
const QUICK_READINGS: u64 = 40_000;
const UNDECODABLE: u64 = 3;
/// For all that is left to be stored once nothing breaks any more.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Service,
    Database,
    Broker,
    Network,
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
    let mut broker = Broker::start(kind).await?;
    let config = lab.folder.join("sources.yaml");
    std::fs::write(&config, broker.settings())?;
    let config = config.display().to_string();
    let mut stack = Stack::start(lab, &["--config", &config]).await?;
    until_running(&stack.service).await?;
    let mut sent = 0;
    for fault in 1..=faults {
        let next = readings * u64::from(fault) / u64::from(faults);
        let mut messages: Vec<_> = (sent..next).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
        messages.extend((0..UNDECODABLE).map(|n| format!("no reading {fault}/{n}")));
        sent = next;
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
        }
    }
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

async fn until_stored(schema: &Schema, readings: u64) -> Result<()> {
    let give_up_at = Instant::now() + DRAIN_LIMIT;
    let sql = "SELECT COUNT(DISTINCT sensor_value) FROM sensor_readings";
    while schema.number(sql).await? < readings {
        if Instant::now() > give_up_at {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// The table is held to what was sent: each number is the value of a reading.
async fn judge(schema: &Schema, readings: u64) -> Result<Verdict> {
    let sql = format!(
        "SELECT COUNT(*), COUNT(DISTINCT sensor_value), \
         CAST(COALESCE(SUM(sensor_value >= {readings} OR sensor_value <> FLOOR(sensor_value)), 0) AS UNSIGNED), \
         CAST(COALESCE(SUM(id1 <> 4 OR id2 <> 'LINE' OR sensor_type <> 'count'), 0) AS UNSIGNED) \
         FROM sensor_readings"
    );
    let mut conn = schema.connect().await?;
    let sums: Option<(u64, u64, u64, u64)> = conn.query_first(sql).await?;
    conn.disconnect().await?;
    let (rows, distinct, unexpected, altered) = sums.context("no sums")?;
    Ok(Verdict {
        complete: true,
        sent: readings,
        acknowledged: readings,
        found: rows,
        lost: (readings + unexpected).saturating_sub(distinct),
        duplicated: rows - distinct,
        altered,
        unexpected,
        ..Verdict::default()
    })
}

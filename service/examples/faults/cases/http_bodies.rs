//! Bodies of a stream come in over HTTP while service and database are killed in turns and connections are cut. Whatever was not
//! answered is sent again under the same number, and each reading is stored once; lines that are none are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rand::Rng as _;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use sluicegate::embedded_db::Engine;
use tokio::time::{Instant, sleep};

use super::numbers::{judge, until_stored};
use crate::{
    judge::hold_ledger,
    lab::Lab,
    outcome::{Outcome, Skipped},
    service::Service,
    stack::{Stack, end},
    verdict::hold,
    wire::Wire,
};

/// What happens in turns.
const FAULTS: [Fault; 3] = [Fault::Service, Fault::Database, Fault::Network];
/// Readings in all, those of a body, and lines of a body that are none.
const READINGS: u64 = 1_000_000;
const QUICK_READINGS: u64 = 40_000;
const BODY: u64 = 500;
const UNDECODABLE: u64 = 1;
/// A body that is not taken for so long never is.
const GIVE_UP: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Service,
    Database,
    Network,
}

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    if lab.scale.quick && lab.engine == Engine::MySql {
        return Err(Skipped("in the quick form bodies go into MariaDB alone").into());
    }
    let faults = FAULTS.len() as u64 * u64::from(lab.scale.times(20, 2));
    let readings = match lab.scale.quick {
        true => QUICK_READINGS,
        false => READINGS,
    };
    let mut stack = Stack::start(lab, &[]).await?;
    let front = Wire::start(stack.service.rest).await?;
    let sender = Sender::new(front.port);
    let taken = sender.taken.clone();
    let sending = tokio::spawn(sender.send(readings));
    for fault in 0..faults {
        let due = readings * fault / faults;
        while taken.load(Ordering::Relaxed) < due && !sending.is_finished() {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(lab.rng.random_range(0..100))).await;
        match FAULTS[fault as usize % FAULTS.len()] {
            Fault::Service => {
                stack.service.kill().await?;
                let mut next = Service::spawn(&stack.options)?;
                next.ready().await?;
                front.point_to(next.rest);
                drop(stack.replace(next));
            }
            Fault::Database => {
                lab.server.kill().await?;
                lab.server.restart().await?;
            }
            Fault::Network => front.reset(),
        }
    }
    let repeats = sending.await??;
    until_stored(&stack.schema, readings).await?;
    let sql = "SELECT COUNT(*) FROM rejected_readings WHERE payload LIKE 'no reading %'";
    let told = stack.schema.number(sql).await?;
    let undecodable = readings / BODY * UNDECODABLE;
    hold!(
        told == undecodable,
        "{undecodable} lines are none, {told} are in quarantine"
    );
    let verdict = judge(&stack.schema, readings).await?;
    verdict.hold()?;
    hold_ledger(&stack.schema).await?;
    end(stack.service).await?;
    stack.schema.drop().await?;
    Ok(Outcome::of_verdict(faults as u32, verdict)
        .figure("bodies_sent_again", repeats as f64)
        .figure("undecodable", told as f64))
}

/// Sends one stream, body by body.
struct Sender {
    client: Client,
    url: String,
    /// Readings that were answered.
    taken: Arc<AtomicU64>,
}

impl Sender {
    fn new(port: u16) -> Self {
        sluicegate_transport::crypto::provider();
        Self {
            client: Client::new(),
            url: format!("http://127.0.0.1:{port}/api/v1/readings"),
            taken: Arc::default(),
        }
    }

    /// Returns how many bodies had to be sent again.
    async fn send(self, readings: u64) -> Result<u64> {
        let (mut repeats, mut first_seq) = (0, 1);
        for begin in (0..readings).step_by(BODY as usize) {
            let body = body(begin..begin + BODY);
            let give_up_at = Instant::now() + GIVE_UP;
            while let Err(reason) = self.try_send(first_seq, &body).await {
                ensure!(
                    Instant::now() < give_up_at,
                    "the body from {begin} is not taken: {reason:#}"
                );
                repeats += 1;
                sleep(AGAIN).await;
            }
            first_seq += BODY + UNDECODABLE;
            self.taken.store(begin + BODY, Ordering::Relaxed);
        }
        Ok(repeats)
    }

    async fn try_send(&self, first_seq: u64, body: &str) -> Result<()> {
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/x-ndjson")
            .header("stream-id", "bodies")
            .header("first-seq", first_seq)
            .body(body.to_owned());
        let answer = request.send().await?;
        let status = answer.status();
        let told: Value = answer.json().await?;
        // Each body has lines that are none, and is answered with what became of all: a problem, unless all of it came before.
        let intake = match status {
            StatusCode::BAD_REQUEST => &told["intake"],
            StatusCode::OK => &told,
            _ => bail!("{status}: {told}"),
        };
        let count = |name: &str| {
            let count = intake[name].as_u64();
            count.with_context(|| format!("no {name}: {told}"))
        };
        let settled = count("committed")? + count("rejected")? + count("duplicate")?;
        ensure!(settled == BODY + UNDECODABLE, "not all of it: {told}");
        Ok(())
    }
}

fn body(numbers: std::ops::Range<u64>) -> String {
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut lines: Vec<_> = numbers
        .clone()
        .map(|n| {
            format!(
                r#"{{"sensor_value":{n},"sensor_type":"count","id1":4,"id2":"LINE","timestamp":"{now}"}}"#
            )
        })
        .collect();
    lines.extend((0..UNDECODABLE).map(|n| format!("no reading {}/{n}", numbers.start)));
    lines.join("\n")
}

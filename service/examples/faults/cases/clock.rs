//! The service's clock jumps by hours and months, both ways (libfaketime): batching and deadlines go on, and
//! it drains under a clock that is wrong.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use mysql_async::prelude::Queryable as _;
use serde::Deserialize;
use tokio::time::sleep;
use tonic::Code;

use crate::{
    faketime::FakeClock,
    lab::Lab,
    outcome::Outcome,
    probe,
    process::until,
    service::Service,
    stack::{Stack, service_options},
};

const LOAD: &str = "--rate 20000 --connections 2 --series 1000";
/// Offsets in seconds, one after the other.
const JUMPS: [i64; 5] = [3_600, -3_600, 90 * 86_400, -90 * 86_400, 0];
/// A jump has arrived when the clock is this close to where it should be, seconds.
const TOLERANCE_S: i64 = 60;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let rounds = lab.scale.times(10, 1);
    let jumps = if lab.scale.quick { &JUMPS[..2] } else { &JUMPS };
    let schema = lab.server.schema().await?;
    let url = schema.service_url(schema.port);
    let mut options = service_options(
        lab,
        url,
        &["--ingest-commit-deadline-ms=1000", "--log-format=json"],
    );
    let clock = FakeClock::new(&lab.folder)?;
    options.environment = clock.environment()?;
    let mut stack = Stack::start_on(schema, options).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let mut faults = 0;
    for _ in 0..rounds {
        for &jump in jumps {
            clock.set(jump)?;
            until("the clock has jumped", async || {
                lose_connections(&stack).await?;
                sleep(Duration::from_millis(100)).await;
                let off_s = (clock_of(&stack.service)? - Utc::now()).num_seconds();
                Ok((off_s - jump).abs() < TOLERANCE_S)
            })
            .await?;
            generator.progress().await?;
            let code = probe::send(stack.service.grpc).await?;
            ensure!(
                code == Code::Ok,
                "a single reading is answered with {code:?} after a jump"
            );
            faults += 1;
        }
        // A deadline that began before a jump still comes.
        let mut conn = stack.schema.connect().await?;
        conn.query_drop("LOCK TABLES sensor_readings WRITE").await?;
        let waiting = tokio::spawn(probe::send(stack.service.grpc));
        sleep(Duration::from_millis(200)).await;
        clock.set(-7_200)?;
        let code = waiting.await??;
        ensure!(
            code == Code::Unavailable,
            "a commit deadline ended with {code:?}"
        );
        conn.query_drop("UNLOCK TABLES").await?;
        generator.progress().await?;
        faults += 1;
    }
    stack.service.still_runs()?;
    let judged = stack.judge(lab, vec![generator]).await?;
    Ok(Outcome::of(faults, judged))
}

/// Loads are tried again, which is written down with what the service takes for now.
async fn lose_connections(stack: &Stack) -> Result<()> {
    let mut admin = stack.schema.connect().await?;
    let name = &stack.schema.name;
    let of_service = format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{name}' AND ID <> CONNECTION_ID()"
    );
    let connections: Vec<u64> = admin.query(of_service).await?;
    for id in connections {
        // It may have ended by itself.
        let _ = admin.query_drop(format!("KILL {id}")).await;
    }
    Ok(admin.disconnect().await?)
}

/// The time of the last line of the service's log.
fn clock_of(service: &Service) -> Result<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Line {
        timestamp: String,
    }
    let log = std::fs::read_to_string(&service.log)?;
    let lines = log.lines().rev();
    let last = lines.map(serde_json::from_str::<Line>).find_map(Result::ok);
    let last = last.context("the log has no line")?;
    Ok(DateTime::parse_from_rfc3339(&last.timestamp)?.to_utc())
}

//! The database is read-only, restarts, has no connections left, holds the table locked, or chooses the service as the
//! victim of a deadlock. Loads are tried again, nothing is acknowledged early, and no producer hears a wrong error.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mysql_async::{Conn, Opts, prelude::Queryable as _};
use sluicegate::embedded_db::Engine;
use tokio::time::sleep;
use tonic::Code;

use crate::{generator::Generator, lab::Lab, outcome::Outcome, probe::Probe, stack::Stack};

const LOAD: &str = "--rate 20000 --connections 2 --series 1000";
/// So that a single reading that waits is answered while the fault lasts.
const COMMIT_DEADLINE: &str = "--ingest-commit-deadline-ms=1000";
/// What was committed before a fault has been acknowledged after so long.
const ACKNOWLEDGED: Duration = Duration::from_secs(1);
const TOO_MANY_CONNECTIONS: u16 = 1040;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let lasts = Duration::from_secs(lab.scale.seconds(20, 1));
    let mut stack = Stack::start(lab, &[COMMIT_DEADLINE]).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    generator.progress().await?;
    let probe = Probe::start(stack.service.grpc);

    read_only(lab, &stack, &mut generator, lasts).await?;
    locked(&stack, &mut generator, lasts).await?;
    no_connections(lab, &stack, &mut generator, lasts).await?;
    let deadlocks = lab.scale.times(20, 2);
    for _ in 0..deadlocks {
        deadlock(&stack, &mut generator).await?;
    }
    lab.server.stop().await?;
    sleep(Duration::from_millis(500)).await;
    lab.server.restart().await?;
    generator.progress().await?;

    stack.service.still_runs()?;
    let answers = probe.end().await?;
    let retries = stack.service.readiness().await?.books.retries;
    let judged = stack.judge(lab, vec![generator]).await?;
    let told = |code: Code| f64::from(answers.told(code));
    Ok(Outcome::of(4 + deadlocks, judged)
        .figure("loads_tried_again", retries as f64)
        .figure("single_readings_stored", told(Code::Ok))
        .figure("single_readings_told_unavailable", told(Code::Unavailable))
        .figure("wrong_errors", f64::from(answers.wrong())))
}

/// Nothing is acknowledged while the fault lasts, and readings flow again after `end`.
async fn nothing_flows(
    generator: &mut Generator,
    lasts: Duration,
    end: impl Future<Output = Result<()>>,
) -> Result<()> {
    sleep(ACKNOWLEDGED).await;
    let settled = generator.journal.settled()?;
    sleep(lasts).await;
    let early = generator.journal.settled()? - settled;
    ensure!(
        early == 0,
        "{early} readings were acknowledged although nothing can be written"
    );
    end.await?;
    generator.progress().await?;
    Ok(())
}

async fn read_only(
    lab: &Lab,
    stack: &Stack,
    generator: &mut Generator,
    lasts: Duration,
) -> Result<()> {
    let begin = match lab.engine {
        Engine::MySql => "SET GLOBAL super_read_only = 1",
        Engine::MariaDb => "SET GLOBAL read_only = 1",
    };
    stack.schema.run(begin).await?;
    let end = stack.schema.run("SET GLOBAL read_only = 0");
    nothing_flows(generator, lasts, end)
        .await
        .context("read-only")
}

async fn locked(stack: &Stack, generator: &mut Generator, lasts: Duration) -> Result<()> {
    let mut conn = stack.schema.connect().await?;
    conn.query_drop("LOCK TABLES sensor_readings WRITE").await?;
    let end = async { Ok(conn.query_drop("UNLOCK TABLES").await?) };
    nothing_flows(generator, lasts, end)
        .await
        .context("table locked")
}

/// Others take every connection, and the service loses those that it has.
async fn no_connections(
    lab: &Lab,
    stack: &Stack,
    generator: &mut Generator,
    lasts: Duration,
) -> Result<()> {
    let mut admin = lab.server.admin().connect().await?;
    let most: Option<u64> = admin.query_first("SELECT @@GLOBAL.max_connections").await?;
    admin.query_drop("SET GLOBAL max_connections = 20").await?;
    let name = &stack.schema.name;
    let of_service = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{name}'");
    let mut others = Vec::new();
    // A connection that is being made is in no list yet: look more than once.
    let mut quiet_looks = 0;
    while quiet_looks < 5 {
        sleep(Duration::from_millis(30)).await;
        let connections: Vec<u64> = admin.query(&of_service).await?;
        let all_taken = take_all(stack, &mut others).await?;
        quiet_looks = match connections.is_empty() && all_taken {
            true => quiet_looks + 1,
            false => 0,
        };
        for id in connections {
            // It may have ended by itself.
            let _ = admin.query_drop(format!("KILL {id}")).await;
        }
    }
    let end = async {
        others.clear();
        let restore = format!("SET GLOBAL max_connections = {}", most.unwrap_or(151));
        Ok(admin.query_drop(restore).await?)
    };
    nothing_flows(generator, lasts, end)
        .await
        .context("no connections left")
}

/// Opens connections until the server refuses. True when it had refused at once.
async fn take_all(stack: &Stack, others: &mut Vec<Conn>) -> Result<bool> {
    let url = stack.schema.service_url(stack.schema.port);
    // Without a schema, so that they can be told from the service's.
    let url = url.replace(&format!("/{}?", stack.schema.name), "/?");
    let before = others.len();
    loop {
        match Conn::new(Opts::from_url(&url)?).await {
            Ok(conn) => others.push(conn),
            Err(mysql_async::Error::Server(error)) if error.code == TOO_MANY_CONNECTIONS => {
                return Ok(others.len() == before);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Deadlocks that the server has ended so far.
async fn deadlocks(stack: &Stack) -> Result<u64> {
    let sql = "SELECT `COUNT` FROM information_schema.INNODB_METRICS WHERE NAME = 'lock_deadlocks'";
    stack.schema.number(sql).await
}

/// Makes a deadlock in which the service is the victim: the other transaction is the larger one.
async fn deadlock(stack: &Stack, generator: &mut Generator) -> Result<()> {
    let mut conn = stack.schema.connect().await?;
    conn.query_drop("CREATE TABLE IF NOT EXISTS ballast (n INT) ENGINE = InnoDB")
        .await?;
    for _attempt in 0..50 {
        let before = stack.service.readiness().await?.books.retries;
        let deadlocks_before = deadlocks(stack).await?;
        conn.query_drop("SET innodb_lock_wait_timeout = 5").await?;
        conn.query_drop("START TRANSACTION").await?;
        let row = "(1)".to_owned() + &",(1)".repeat(9_999);
        conn.query_drop(format!("INSERT INTO ballast VALUES {row}"))
            .await?;
        // The newest readings and the gap behind them: a load that holds its ledger rows has to wait here, ...
        conn.query_drop(
            "SELECT COUNT(*) FROM sensor_readings WHERE ts >= UTC_TIMESTAMP(6) - INTERVAL 2 SECOND FOR UPDATE",
        )
        .await?;
        sleep(Duration::from_millis(300)).await;
        // ... and its ledger rows are what this one asks for now.
        let asked = conn
            .query_drop("SELECT COUNT(*) FROM ingest_streams FOR UPDATE")
            .await;
        conn.query_drop("ROLLBACK").await?;
        generator.progress().await?;
        let retries = stack.service.readiness().await?.books.retries;
        // Where ours went through and the server ended a deadlock, the victim was the service.
        let ended = deadlocks(stack).await? > deadlocks_before;
        if asked.is_ok() && ended && retries > before {
            return Ok(());
        }
    }
    anyhow::bail!("no deadlock came about")
}

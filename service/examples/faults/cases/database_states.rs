//! The database is read-only, restarts, has no connections left, holds the table locked, or chooses the service as the
//! victim of a deadlock. Loads are tried again, nothing is acknowledged early, and no producer hears a wrong error.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mysql_async::{Conn, Opts, prelude::Queryable as _};
use sluicegate::embedded_db::Engine;
use tokio::time::sleep;
use tonic::Code;

use crate::{generator::Generator, lab::Lab, outcome::Outcome, probe::Probe, stack::Stack};

const LOAD: &str = "--rate 20000 --connections 2 --series 1000";
/// So that a single reading that waits is answered while the fault lasts.
const COMMIT_DEADLINE: &str = "--ingest-commit-deadline-ms=1000";
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS_MAX: u32 = 20;
const TOO_MANY_CONNECTIONS: u16 = 1040;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let lasts = Duration::from_secs(lab.scale.seconds(20, 2));
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

/// Nothing is stored while the fault lasts, nothing is acknowledged that is not stored, and readings flow again after the
/// statement `end`. `conn` is one that the fault leaves alone.
async fn nothing_flows(
    stack: &Stack,
    generator: &mut Generator,
    conn: &mut Conn,
    lasts: Duration,
    end: &str,
) -> Result<()> {
    let stored_before = stored_at_last(stack, conn).await?;
    sleep(lasts).await;
    // An acknowledgement of what was committed before the fault may take its time: it is never ahead of the table.
    let settled = generator.journal.settled()?;
    let stored_after = stored(stack, conn).await?;
    ensure!(
        stored_after == stored_before,
        "the table went from {stored_before} to {stored_after} readings although nothing can be written"
    );
    ensure!(
        settled <= stored_after,
        "{settled} readings were acknowledged, and the table holds {stored_after}"
    );
    conn.query_drop(end).await?;
    generator.progress().await?;
    Ok(())
}

/// As `stored`, once no more arrive: a COMMIT that was on its way as the fault began may take its time.
async fn stored_at_last(stack: &Stack, conn: &mut Conn) -> Result<u64> {
    let mut before = stored(stack, conn).await?;
    for _ in 0..LOOKS_MAX {
        sleep(LOOK_EVERY).await;
        let now = stored(stack, conn).await?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    bail!("the table goes on to grow although nothing can be written")
}

/// Readings of the generator in the table.
async fn stored(stack: &Stack, conn: &mut Conn) -> Result<u64> {
    let name = &stack.schema.name;
    let sql = format!("SELECT COUNT(*) FROM {name}.sensor_readings WHERE id2 <> 'probe'");
    let count: Option<u64> = conn.query_first(sql).await?;
    count.context("no count of the table")
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
    let mut conn = stack.schema.connect().await?;
    conn.query_drop(begin).await?;
    let end = "SET GLOBAL read_only = 0";
    nothing_flows(stack, generator, &mut conn, lasts, end)
        .await
        .context("read-only")
}

async fn locked(stack: &Stack, generator: &mut Generator, lasts: Duration) -> Result<()> {
    let mut conn = stack.schema.connect().await?;
    conn.query_drop("LOCK TABLES sensor_readings WRITE").await?;
    nothing_flows(stack, generator, &mut conn, lasts, "UNLOCK TABLES")
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
    let end = format!("SET GLOBAL max_connections = {}", most.unwrap_or(151));
    nothing_flows(stack, generator, &mut admin, lasts, &end)
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

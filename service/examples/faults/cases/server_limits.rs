//! A server that speaks German, with a limit that no batch fits into, a table that takes no readings for a while, and
//! readings that it alone finds fault with. Everything goes on by itself, and nothing is in quarantine that is good.

use std::time::Duration;

use anyhow::Result;
use sluicegate::embedded_db::Engine;
use sluicegate_proto::{producer::Producer, v1::SensorReading};
use tokio::time::sleep;

use crate::{
    database::{Schema, Server, small_logs},
    lab::Lab,
    outcome::Outcome,
    process::until,
    stack::{Stack, service_options},
    verdict::hold,
};

const LOAD: &str = "--rate 20000 --connections 2 --series 1000";
const BINARY_LOG: [&str; 4] = [
    "--log-bin=log",
    "--server-id=1",
    "--binlog-format=ROW",
    "--sync-binlog=1",
];
/// A few hundred rows.
const SMALL_CACHE: u64 = 65_536;
const LARGE_CACHE: u64 = 1 << 40;
/// Readings that only the database refuses.
const POISON: u64 = 3_000;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let rounds = lab.scale.times(5, 1);
    let lasts = Duration::from_secs(lab.scale.seconds(20, 2));
    let arguments = [&BINARY_LOG[..], small_logs(lab.engine)].concat();
    let folder = lab.folder.join("logged");
    let mut server = Server::start(&lab.binary, &folder, &arguments).await?;
    let admin = server.admin();
    admin.run("SET GLOBAL lc_messages = 'de_DE'").await?;
    let schema = server.schema().await?;
    let url = schema.service_url(schema.port);
    let mut stack = Stack::start_on(schema, service_options(lab, url, &[])).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    generator.progress().await?;
    let mut refused = 0;
    for round in 0..rounds {
        cache_of_the_log(&admin, &stack.schema, SMALL_CACHE).await?;
        generator.progress().await?;
        sleep(lasts).await;
        generator.progress().await?;
        cache_of_the_log(&admin, &stack.schema, LARGE_CACHE).await?;

        let before = rejections(&stack.schema).await?;
        let retries = stack.service.readiness().await?.books.retries;
        take_readings(&stack.schema, lab.engine, false).await?;
        until("loads are refused", async || {
            Ok(stack.service.readiness().await?.books.retries > retries + 2)
        })
        .await?;
        sleep(lasts).await;
        hold!(
            rejections(&stack.schema).await? == before,
            "the table took nothing, and readings went into quarantine"
        );
        take_readings(&stack.schema, lab.engine, true).await?;
        generator.progress().await?;

        refused += poison(&stack, round).await?;
        generator.progress().await?;
    }
    let rejected = rejections(&stack.schema).await?;
    hold!(
        rejected == refused,
        "{refused} readings were bad, and {rejected} lie in quarantine"
    );
    stack.service.still_runs()?;
    let judged = stack.judge(lab, vec![generator]).await?;
    server.stop().await?;
    Ok(Outcome::of(3 * rounds, judged).figure("readings_refused_by_the_database", refused as f64))
}

/// For the service's connections, which begin anew.
async fn cache_of_the_log(admin: &Schema, schema: &Schema, bytes: u64) -> Result<()> {
    admin
        .run(&format!("SET GLOBAL max_binlog_cache_size = {bytes}"))
        .await?;
    schema.kill_connections().await.map(drop)
}

/// A column without a default, or its end. MySQL fills in a zero, which a trigger takes away.
async fn take_readings(schema: &Schema, engine: Engine, again: bool) -> Result<()> {
    const ADD: &str = "ALTER TABLE sensor_readings ADD COLUMN site INT NOT NULL";
    const EMPTIED: &str =
        "CREATE TRIGGER emptied BEFORE INSERT ON sensor_readings FOR EACH ROW SET NEW.site = NULL";
    const DROP: &str = "ALTER TABLE sensor_readings DROP COLUMN site";
    let statements: &[&str] = match (engine, again) {
        (Engine::MariaDb, false) => &[ADD],
        (Engine::MySql, false) => &[ADD, EMPTIED],
        (Engine::MariaDb, true) => &[DROP],
        (Engine::MySql, true) => &["DROP TRIGGER emptied", DROP],
    };
    for statement in statements {
        schema.run(statement).await?;
    }
    Ok(())
}

async fn rejections(schema: &Schema) -> Result<u64> {
    schema
        .number("SELECT COUNT(*) FROM rejected_readings")
        .await
}

/// A producer of which everything is refused, by the database alone.
async fn poison(stack: &Stack, round: u32) -> Result<u64> {
    let trigger = "CREATE TRIGGER poison BEFORE INSERT ON sensor_readings FOR EACH ROW \
                   IF NEW.id2 = 'poison' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'poison'; END IF";
    stack.schema.run(trigger).await?;
    let mut producer = Producer::builder(stack.front.url())
        .stream_id(format!("poison-{round}"))
        .connect()
        .await?;
    for n in 0..POISON {
        let reading = SensorReading {
            sensor_value: Some(n as f64),
            sensor_type: "poison".to_owned(),
            id1: 1,
            id2: "poison".to_owned(),
            timestamp_us: Some(1_767_225_600_000_000 + n as i64),
        };
        producer.send(reading).await?;
    }
    let summary = producer.close().await?;
    hold!(
        (summary.committed, summary.rejected) == (0, POISON),
        "all of {POISON} readings are refused: {summary:?}"
    );
    stack.schema.run("DROP TRIGGER poison").await?;
    Ok(POISON)
}

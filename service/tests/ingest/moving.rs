//! Readings are moved into another layout while others come in, whatever is killed meanwhile: each is there once, at any time.

use std::time::Duration;

use sluicegate_proto::v1::sensor_service_client::SensorServiceClient;
use tokio_util::sync::CancellationToken;

use crate::common::{
    database::Database,
    on_each_engine,
    program::{Ended, Program, command, end_of},
    readings::{assert_same, assert_stored, readings, resume, rows},
    service::AckedCall,
    until,
};

on_each_engine! {
    readings_come_in_while_others_are_moved_and_the_mover_is_killed,
    readings_that_would_arrive_changed_are_not_moved,
    names_that_differ_by_a_blank_stay_two,
    what_cannot_be_moved_is_refused_before_anything_else,
    a_move_is_tried_out_on_copies,
    one_move_at_a_time,
    a_move_that_was_only_prepared_changes_nothing,
    what_would_be_lost_with_a_reading_that_leaves_is_refused,
}

fn migrate(database: &Database, arguments: &[&str]) -> tokio::process::Command {
    let url = database.url();
    command(&[&["migrate", "--database-url", &url], arguments].concat())
}

async fn migrated(database: &Database, arguments: &[&str]) -> Ended {
    end_of(migrate(database, arguments)).await
}

/// Makes the tables of a layout, with readings in them.
async fn filled(database: &Database, layout: &str, count: u64) {
    let ended = migrated(database, &["--layout", layout]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let program = Program::start(&database.url(), &[]).await;
    send(program.grpc, 1..count + 1).await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

/// Sends numbered readings over one stream, from where it stands.
async fn send(grpc: std::net::SocketAddr, numbers: std::ops::Range<u64>) {
    let mut client = crate::common::service::connect(grpc).await;
    let at = crate::common::service::open(&mut client, "numbered").await;
    assert_eq!(at.committed_seq + 1, numbers.start);
    let mut call = AckedCall::resume(&mut client, "numbered", &at).await;
    call.send(rows(readings(numbers.clone()))).await;
    call.until_acked(numbers.end - 1).await;
    call.finish().await;
}

/// Sends numbered readings until it is told to stop, through every end of the service, and returns the last number.
async fn produce(grpc: std::net::SocketAddr, stop: CancellationToken) -> u64 {
    let mut last = 0;
    while !stop.is_cancelled() {
        // Whatever goes wrong is met again, or not.
        if let Ok(Some(acked)) = tokio::time::timeout(Duration::from_secs(5), some(grpc)).await {
            last = acked;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What was stored without an answer.
    loop {
        if let Some(acked) = some(grpc).await {
            return acked.max(last);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The next readings; None when the service is away.
async fn some(grpc: std::net::SocketAddr) -> Option<u64> {
    let mut client = SensorServiceClient::connect(format!("http://{grpc}"))
        .await
        .ok()?;
    let request = sluicegate_proto::v1::OpenStreamRequest {
        stream_id: "numbered".to_owned(),
        resume: None,
    };
    let at = client.open_stream(request).await.ok()?.into_inner();
    let (messages, waiting) = tokio::sync::mpsc::channel(4);
    let first = at.committed_seq + 1;
    messages.send(resume("numbered", &at)).await.ok()?;
    messages
        .send(rows(readings(first..first + 300)))
        .await
        .ok()?;
    let call = client.stream_readings_acked(tokio_stream::wrappers::ReceiverStream::new(waiting));
    let mut acks = call.await.ok()?.into_inner();
    loop {
        let ack = acks.message().await.ok()??;
        if ack.committed_seq >= first + 299 {
            return Some(ack.committed_seq);
        }
    }
}

async fn readings_come_in_while_others_are_moved_and_the_mover_is_killed(database: Database) {
    const BEFORE: u64 = 6_000;
    filled(&database, "hashed", BEFORE).await;
    let mut program = Program::spawn(&database.url(), &[]).await;
    let stop = CancellationToken::new();
    let producing = tokio::spawn(produce(program.grpc, stop.clone()));
    for (to, layout) in [("series", "series"), ("partitioned", "partitioned")] {
        let slow = ["--to", to, "--step-readings", "150", "--max-rate", "3000"];
        for _ in 0..3 {
            let mut mover = migrate(&database, &slow).spawn().expect("it runs");
            tokio::time::sleep(Duration::from_millis(1_300)).await;
            let _ = mover.kill().await;
        }
        let ended = migrated(&database, &["--to", to]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        until("the service has started anew", async || {
            let answer = crate::common::http::get(program.rest, "/readyz").await;
            answer.is_ok_and(|(code, body)| code == 200 && body["storage"]["layout"] == layout)
        })
        .await;
        assert!(!program.has_ended(), "the process is the same one");
    }
    stop.cancel();
    let last = producing.await.expect("no panic");
    assert!(last > BEFORE);
    until("all is stored", async || {
        database.count("sensor_readings").await == last
    })
    .await;
    assert_stored(&database, 1..last + 1).await;
    database.assert_ledger_balances().await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn readings_that_would_arrive_changed_are_not_moved(database: Database) {
    filled(&database, "partitioned", 500).await;
    let prepared = migrated(&database, &["--to", "series", "--prepare-only"]).await;
    assert_eq!(prepared.code, Some(0), "{prepared:?}");
    let mut conn = database.connect().await;
    let trigger = "CREATE TRIGGER spoilt BEFORE INSERT ON readings FOR EACH ROW \
                   SET NEW.sensor_value = IF(NEW.sensor_value = 77, 78, NEW.sensor_value)";
    mysql_async::prelude::Queryable::query_drop(&mut conn, trigger)
        .await
        .expect("made");
    let step = ["--to", "series", "--step-readings", "50"];
    let ended = migrated(&database, &step).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("none of them was moved"), "{ended:?}");
    assert_eq!(database.count("readings").await, 50);
    assert_eq!(database.count("sensor_readings_moving").await, 450);
    // Nobody misses one meanwhile.
    assert_stored(&database, 1..501).await;
    mysql_async::prelude::Queryable::query_drop(&mut conn, "DROP TRIGGER spoilt")
        .await
        .expect("dropped");
    let ended = migrated(&database, &step).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_stored(&database, 1..501).await;
}

async fn names_that_differ_by_a_blank_stay_two(database: Database) {
    for (layout, to) in [("hashed", "series"), ("series", "partitioned")] {
        let database = database.server.schema().await;
        let ended = migrated(&database, &["--layout", layout]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let program = Program::start(&database.url(), &[]).await;
        let mut sent = readings(1..31);
        for (one, sensor_type) in sent
            .iter_mut()
            .zip(["a", "a ", "A", "\u{7f}", "ä", "a\u{308}"].iter().cycle())
        {
            one.sensor_type = (*sensor_type).to_owned();
        }
        let mut client = crate::common::service::connect(program.grpc).await;
        let at = crate::common::service::open(&mut client, "names").await;
        let mut call = AckedCall::resume(&mut client, "names", &at).await;
        call.send(rows(sent.clone())).await;
        assert_eq!(call.until_acked(30).await.rejected, 0);
        call.finish().await;
        program.terminate();
        assert_eq!(program.ended().await.code, Some(0));
        let ended = migrated(&database, &["--to", to]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let stored: Vec<_> = database
            .stored()
            .await
            .into_iter()
            .map(|row| row.reading)
            .collect();
        assert_same(&stored, &sent);
    }
}

async fn what_cannot_be_moved_is_refused_before_anything_else(database: Database) {
    filled(&database, "partitioned", 10).await;
    let mut conn = database.connect().await;
    for (change, undo, said) in [
        (
            "ALTER TABLE sensor_readings ADD COLUMN note VARCHAR(10) NULL",
            "ALTER TABLE sensor_readings DROP COLUMN note",
            "sensor_readings has the column note",
        ),
        (
            "CREATE TABLE readings (mine INT PRIMARY KEY) SELECT 1 AS mine",
            "DROP TABLE readings",
            "readings is there already, and is not what the move needs",
        ),
        (
            "CREATE TRIGGER gone AFTER DELETE ON sensor_readings FOR EACH ROW SET @gone = 1",
            "DROP TRIGGER gone",
            "has the trigger gone",
        ),
        (
            "CREATE TABLE moved_readings (mine INT)",
            "DROP TABLE moved_readings",
            "moved_readings is there already",
        ),
        (
            "CREATE VIEW sensor_readings_none AS SELECT 1 AS mine",
            "DROP VIEW sensor_readings_none",
            "sensor_readings_none is there already",
        ),
        (
            "CREATE TABLE series (title VARCHAR(9))",
            "DROP TABLE series",
            "series is there already",
        ),
        (
            "ALTER TABLE sensor_readings MODIFY sensor_value FLOAT NOT NULL",
            "ALTER TABLE sensor_readings MODIFY sensor_value DOUBLE NOT NULL",
            "sensor_readings.sensor_value is float",
        ),
    ] {
        mysql_async::prelude::Queryable::query_drop(&mut conn, change)
            .await
            .expect("changed");
        let ended = migrated(&database, &["--to", "series"]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
        mysql_async::prelude::Queryable::query_drop(&mut conn, undo)
            .await
            .expect("undone");
    }
    for to in ["hashed", "seed"] {
        let ended = migrated(&database, &["--to", to]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("series"), "{ended:?}");
    }
    let ended = migrated(&database, &["--to", "series"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_stored(&database, 1..11).await;
    // Readings without a name have none to be moved with.
    database
        .tries("INSERT INTO readings (ts, id, series_id, sensor_value) VALUES ('2026-01-01', 99, 4000, 1)")
        .await;
    let ended = migrated(&database, &["--to", "partitioned"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("1 readings have the numbers of 1 series"),
        "{ended:?}"
    );
}

async fn a_move_is_tried_out_on_copies(database: Database) {
    filled(&database, "partitioned", 2_000).await;
    let mut command = migrate(&database, &["--to", "series", "--dry-run"]);
    command.stdout(std::process::Stdio::piped());
    let output = command.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for part in [
        "readings in ",
        "in the layout series about ",
        " to move them",
        "tried with 2000 of them",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Nothing is left of it.
    let tables =
        "information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE '%mov%'";
    assert_eq!(database.count(tables).await, 0);
    assert_stored(&database, 1..2_001).await;
}

async fn one_move_at_a_time(database: Database) {
    filled(&database, "partitioned", 2_000).await;
    let slow = [
        "--to",
        "series",
        "--step-readings",
        "10",
        "--max-rate",
        "20",
    ];
    let mut first = migrate(&database, &slow).spawn().expect("it runs");
    until("the first has begun", async || {
        database.tries("SELECT 1 FROM moved_readings LIMIT 1").await
            && database.count("readings").await > 0
    })
    .await;
    let second = migrated(&database, &["--to", "series"]).await;
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.stderr.contains("is at work"), "{second:?}");
    first.kill().await.expect("killed");
    let back = migrated(&database, &["--to", "partitioned"]).await;
    assert_eq!(back.code, Some(2), "{back:?}");
    assert!(
        back.stderr
            .contains("still being moved from partitioned to series"),
        "{back:?}"
    );
    let third = migrated(&database, &["--to", "series"]).await;
    assert_eq!(third.code, Some(0), "{third:?}");
    assert_stored(&database, 1..2_001).await;
}

async fn a_move_that_was_only_prepared_changes_nothing(database: Database) {
    filled(&database, "partitioned", 100).await;
    for to in ["series", "series"] {
        let prepared = migrated(&database, &["--to", to, "--prepare-only"]).await;
        assert_eq!(prepared.code, Some(0), "{prepared:?}");
    }
    let program = Program::start(&database.url(), &[]).await;
    send(program.grpc, 101..151).await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
    assert_stored(&database, 1..151).await;
    let all = migrated(&database, &["--to", "series"]).await;
    assert_eq!(all.code, Some(0), "{all:?}");
    assert_stored(&database, 1..151).await;
}

async fn what_would_be_lost_with_a_reading_that_leaves_is_refused(database: Database) {
    let ended = migrated(&database, &["--layout", "seed"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut conn = database.connect().await;
    for statement in [
        "INSERT INTO sensor_readings (sensor_value, sensor_type, id1, id2, ts) VALUES (1, 't', 1, 'a', '2026-01-01'), (2, 't', 1, 'a ', '2037-12-31')",
        "CREATE TABLE notes (n INT PRIMARY KEY, reading BIGINT, FOREIGN KEY (reading) REFERENCES sensor_readings (id) ON DELETE CASCADE) ENGINE = InnoDB",
        "INSERT INTO notes VALUES (1, 1), (2, 2)",
    ] {
        mysql_async::prelude::Queryable::query_drop(&mut conn, statement)
            .await
            .expect("done");
    }
    for arguments in [&["--to", "series", "--dry-run"][..], &["--to", "series"]] {
        let ended = migrated(&database, arguments).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended.stderr.contains("is part of the foreign key notes."),
            "{ended:?}"
        );
    }
    assert_eq!(database.count("notes").await, 2);
    for statement in [
        "DROP TABLE notes",
        "SET SESSION sql_mode = ''",
        "INSERT INTO sensor_readings (sensor_value, sensor_type, id1, id2, ts) VALUES (1, 't', 1, 'a', '0000-00-00 00:00:00')",
    ] {
        mysql_async::prelude::Queryable::query_drop(&mut conn, statement)
            .await
            .expect("done");
    }
    let ended = migrated(&database, &["--to", "series"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("has a reading (id 3) without a time"),
        "{ended:?}"
    );
    let delete = "DELETE FROM sensor_readings WHERE id = 3";
    mysql_async::prelude::Queryable::query_drop(&mut conn, delete)
        .await
        .expect("done");
    let ended = migrated(&database, &["--to", "series"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(database.count("sensor_readings").await, 2);
}

//! What the service finds in its database at start: it refuses with one sentence that says what to change.

use tonic::Code;

use crate::common::{
    database::Database,
    engines::has_numbers,
    http, on_each_engine,
    program::{Program, command, end_of},
    readings::reading,
    service::{Service, connect},
    until,
};

on_each_engine! {
    a_user_who_may_not_write_is_refused,
    a_column_that_takes_different_ids_for_equal_is_refused,
    a_key_that_readings_may_share_is_refused,
    a_missing_table_is_refused,
    a_database_that_does_not_exist_is_refused,
    a_database_that_does_not_answer_is_given_up,
    a_second_start_changes_nothing,
    a_database_with_the_longest_of_names_is_used,
    of_two_services_with_one_name_the_newer_waits,
    a_silent_holder_of_the_name_is_taken_over_and_ends,
    the_ready_file_goes_when_the_service_does,
}

/// The sentence with which the service refuses to start on tables that are there already.
async fn refusal(database: &Database, url: Option<String>) -> String {
    let started = Service::try_start(database, |settings| {
        settings.migrate = Some(false);
        if url.is_some() {
            settings.database_url = url;
        }
    })
    .await;
    match started {
        Err(sentence) => sentence,
        Ok(_) => panic!("the service starts"),
    }
}

async fn a_user_who_may_not_write_is_refused(database: Database) {
    Service::start(&database).await.close().await;
    let user = format!("user_of_{}", database.name());
    let schema = database.name();
    database.run(&format!("CREATE USER {user}@localhost")).await;
    for (granted, missing) in [
        // The engines differ in what they check first.
        ("SELECT", ["INSERT", "UPDATE", "locking"].as_slice()),
        ("INSERT, UPDATE", &["DELETE"]),
    ] {
        let grant = format!("GRANT {granted} ON {schema}.* TO {user}@localhost");
        database.run(&grant).await;
        let sentence = refusal(&database, Some(database.url_of(&user))).await;
        assert!(sentence.contains("account may not"), "{sentence}");
        assert!(
            missing.iter().any(|privilege| sentence.contains(privilege)),
            "{sentence}"
        );
    }
    let grant = format!("GRANT DELETE ON {schema}.* TO {user}@localhost");
    database.run(&grant).await;
    let url = database.url_of(&user);
    let service = Service::start_with(&database, |settings| {
        settings.migrate = Some(false);
        settings.database_url = Some(url);
    })
    .await;
    let reply = service.client().await.send_sensor_reading(reading(1)).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    service.close().await;
}

async fn a_column_that_takes_different_ids_for_equal_is_refused(database: Database) {
    Service::start(&database).await.close().await;
    for column in ["id2", "sensor_type"] {
        let with = |collation: &str| {
            format!(
                "ALTER TABLE sensor_readings MODIFY {column} VARCHAR(50) CHARACTER SET utf8mb4 \
                 COLLATE {collation} NOT NULL"
            )
        };
        database.run(&with("utf8mb4_general_ci")).await;
        let sentence = refusal(&database, None).await;
        assert!(sentence.contains(column), "{sentence}");
        assert!(sentence.contains("utf8mb4_bin"), "{sentence}");
        database.run(&with("utf8mb4_bin")).await;
    }
    Service::start(&database).await.close().await;
}

async fn a_key_that_readings_may_share_is_refused(database: Database) {
    Service::start(&database).await.close().await;
    let table = "ALTER TABLE sensor_readings";
    // With subpartitions by the id the database refuses such keys by itself.
    let whole = "PARTITION BY RANGE COLUMNS (ts) (PARTITION p_rest VALUES LESS THAN (MAXVALUE))";
    database.run(&format!("{table} {whole}")).await;
    let names = match has_numbers() {
        true => "series_id",
        false => "id1,id2,sensor_type",
    };
    let natural = format!("ADD UNIQUE KEY natural_key ({names},ts)");
    let primary = format!("DROP PRIMARY KEY, ADD PRIMARY KEY (ts,{names})");
    for (alter, undo, named) in [
        (
            natural.as_str(),
            "DROP INDEX natural_key",
            "unique index natural_key",
        ),
        (
            primary.as_str(),
            "DROP PRIMARY KEY, ADD PRIMARY KEY (ts, id)",
            "no primary key with id",
        ),
    ] {
        database.run(&format!("{table} {alter}")).await;
        let sentence = refusal(&database, None).await;
        assert!(sentence.contains(named), "{sentence}");
        database.run(&format!("{table} {undo}")).await;
    }
    Service::start(&database).await.close().await;
}

async fn a_missing_table_is_refused(database: Database) {
    let sentence = refusal(&database, None).await;
    assert!(sentence.contains("sluicegate migrate"), "{sentence}");
}

async fn a_database_that_does_not_exist_is_refused(database: Database) {
    let url = database.url().replace(database.name(), "no_such_schema");
    let sentence = refusal(&database, Some(url)).await;
    assert!(sentence.contains("no_such_schema"), "{sentence}");
}

async fn a_database_that_does_not_answer_is_given_up(database: Database) {
    let url = "mysql://root@127.0.0.1:1/nowhere".to_owned();
    let started = Service::try_start(&database, |settings| {
        settings.database_url = Some(url);
        settings.connect_deadline_s = Some(1);
    });
    let sentence = started.await.err().expect("refused");
    assert!(sentence.starts_with("gave up after 1 s"), "{sentence}");
}

async fn a_second_start_changes_nothing(database: Database) {
    for n in 1..=3 {
        let service = Service::start(&database).await;
        let reply = service.client().await.send_sensor_reading(reading(n)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
        service.close().await;
    }
    assert_eq!(database.count("sensor_readings").await, 3);
    assert_eq!(database.count("schema_migrations").await, 8);
}

async fn a_database_with_the_longest_of_names_is_used(database: Database) {
    let name = format!("{:x<64}", database.name());
    database.run(&format!("CREATE DATABASE {name}")).await;
    let url = database
        .url()
        .replace(&format!("/{}?", database.name()), &format!("/{name}?"));
    let service =
        Service::start_with(&database, |settings| settings.database_url = Some(url)).await;
    let reply = service.client().await.send_sensor_reading(reading(1)).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    service.shutdown.draining.cancel();
    service.stopped().await.expect("ends well");
    assert_eq!(database.count(&format!("{name}.sensor_readings")).await, 1);
}

/// What a program that waits for the instance name says of itself.
async fn held_reason(rest: std::net::SocketAddr) -> Option<String> {
    let (status, readiness) = http::get(rest, "/readyz").await.ok()?;
    let reasons = readiness["reasons"].to_string();
    (status == 503 && reasons.contains("the instance name is in use")).then_some(reasons)
}

async fn of_two_services_with_one_name_the_newer_waits(database: Database) {
    let older = Program::start(&database.url(), &["--instance", "twin"]).await;
    let newer = Program::spawn(&database.url(), &["--instance", "twin"]).await;
    until("it says whom it waits for", async || {
        held_reason(newer.rest).await.is_some()
    })
    .await;
    let reason = held_reason(newer.rest).await.expect("said");
    assert!(
        reason.contains("lane:twin/0") && reason.contains("--instance"),
        "{reason}"
    );
    let mut waiting = connect(newer.grpc).await;
    let refused = waiting.send_sensor_reading(reading(1)).await;
    assert_eq!(refused.expect_err("not yet").code(), Code::Unavailable);
    // Longer than a silent one would have its name: the older one rests, and is heard.
    tokio::time::sleep(std::time::Duration::from_secs(14)).await;
    assert!(held_reason(newer.rest).await.is_some());
    let reply = connect(older.grpc)
        .await
        .send_sensor_reading(reading(2))
        .await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    older.kill().await;
    until("it serves", async || {
        matches!(http::get(newer.rest, "/readyz").await, Ok((200, _)))
    })
    .await;
    let reply = waiting.send_sensor_reading(reading(3)).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    assert_eq!(database.count("sensor_readings").await, 2);
    newer.kill().await;
}

async fn a_silent_holder_of_the_name_is_taken_over_and_ends(database: Database) {
    let older = Program::start(&database.url(), &["--instance", "twin"]).await;
    let reply = connect(older.grpc)
        .await
        .send_sensor_reading(reading(1))
        .await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    older.pause().await;
    // Comes up once the database has heard nothing of the older one for 10 s.
    let newer = Program::start(&database.url(), &["--instance", "twin"]).await;
    older.resume();
    let ended = older.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.contains("taken over by another process"),
        "{}",
        ended.stderr
    );
    let reply = connect(newer.grpc)
        .await
        .send_sensor_reading(reading(2))
        .await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    assert_eq!(database.count("sensor_readings").await, 2);
    newer.kill().await;
}

async fn the_ready_file_goes_when_the_service_does(database: Database) {
    let program = Program::start(&database.url(), &[]).await;
    let ready_file = program.ready_file();
    assert!(ready_file.exists());
    program.terminate();
    let (ended, dir) = program.ended_in().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(dir.path().exists() && !ready_file.exists());
}

#[tokio::test]
async fn a_ready_file_of_an_earlier_process_is_gone_whatever_the_start_fails_at() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let ready_file = dir.path().join("ready.json");
    let in_file = dir.path().join("sluicegate.yaml");
    let setting = format!("ready_file: {}\n", ready_file.display());
    std::fs::write(&in_file, setting).expect("written");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let by_flag = ["--ready-file".to_owned(), path(&ready_file)];
    let by_file = ["--config".to_owned(), path(&in_file)];
    let nobody = "mysql://root@127.0.0.1:1/x";
    let any = ["--grpc-addr=127.0.0.1:0", "--rest-addr=127.0.0.1:0"];
    let unreachable = ["--connect-deadline-s=0", any[0], any[1]];
    for (named, arguments, code) in [
        (&by_flag, &unreachable[..], 1),
        (&by_file, &unreachable, 1),
        (&by_flag, &["--ingest-lanes=65"], 2),
    ] {
        std::fs::write(&ready_file, "{}").expect("written");
        let mut serve = command(&["serve", "--database-url", nobody]);
        serve.args(named).args(arguments);
        let ended = end_of(serve).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(!ready_file.exists(), "{named:?} {arguments:?}");
    }
}

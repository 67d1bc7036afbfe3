//! The accounts of `sql/grants.sql`, made from the file itself: each does its work with what it has, and one sentence says
//! which privilege is missing and for what.

use std::fmt::Write as _;

use mysql_async::prelude::Queryable as _;
use reqwest::Method;
use sluicegate::{config::Settings, embedded_db::Engine};

use crate::common::{
    database::Database,
    http, on_each_engine,
    program::{Program, command, end_of},
    readings::reading,
    service::Service,
    until, web,
};

const GRANTS: &str = include_str!("../../../sql/grants.sql");

on_each_engine! {
    each_account_does_its_work_with_what_it_has,
    a_privilege_that_ingestion_lacks_is_named_at_the_start,
    a_question_that_management_may_not_ask_is_named_at_the_start,
    a_change_that_management_may_not_make_is_named_and_the_rest_goes_on,
    partitions_that_may_not_be_made_are_named_and_readings_go_on,
    an_account_that_may_make_no_tables_says_so,
    each_account_does_its_work_while_readings_are_moved,
}

/// What is run before the tables are there, after, and on the layout series; then what it takes to move readings.
fn parts() -> [&'static str; 6] {
    let places = (2..=6).map(|part| {
        let found = GRANTS.find(&format!("-- PART {part}"));
        found.expect("a part")
    });
    let mut rest = GRANTS;
    let mut parts = [""; 6];
    for (index, place) in places.collect::<Vec<_>>().into_iter().enumerate().rev() {
        (rest, parts[index + 1]) = rest.split_at(place);
    }
    parts[0] = rest;
    parts
}

/// The three accounts, with the tables that the second one made.
struct Accounts(Database);

impl Accounts {
    async fn create(database: &Database) -> Self {
        Self::create_for(database, "partitioned").await
    }

    async fn create_for(database: &Database, layout: &str) -> Self {
        let accounts = Self(database.clone());
        let [before, after, of_series, ..] = parts();
        accounts.run(before).await;
        let url = accounts.url("migrate");
        let migrate = ["migrate", "--layout", layout, "--database-url", &url];
        let migrated = end_of(command(&migrate)).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        // What is there stays.
        accounts.run(before).await;
        for _twice in 0..2 {
            accounts.run(after).await;
            if layout == "series" {
                accounts.run(of_series).await;
            }
        }
        accounts
    }

    /// Runs a part of the file, for this schema.
    async fn run(&self, part: &str) {
        let lines = part.lines().filter(|line| !line.starts_with("--"));
        let mut script = String::new();
        for line in lines {
            let _ = writeln!(script, "{line}");
        }
        let script = script
            .replace("`sensors`", self.0.name())
            .replace("'sluicegate_", &format!("'{}_", self.0.name()));
        let mut conn = self.0.connect().await;
        for statement in script.split(";\n").map(str::trim) {
            if !statement.is_empty() {
                let done = conn.query_drop(statement).await;
                done.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
    }

    fn url(&self, account: &str) -> String {
        let user = format!("{}_{account}:change-me", self.0.name());
        self.0.url_of(&user)
    }

    async fn privilege(&self, action: &str, privileges: &str, table: &str, account: &str) {
        let to = if action == "GRANT" { "TO" } else { "FROM" };
        let schema = self.0.name();
        let sql =
            format!("{action} {privileges} ON {schema}.{table} {to} '{schema}_{account}'@'%'");
        self.0.run(&sql).await;
    }

    fn settings(&self) -> impl FnOnce(&mut Settings) + use<> {
        let (ingest, manage) = (self.url("ingest"), self.url("manage"));
        move |settings| {
            settings.database_url = Some(ingest);
            settings.manage_database_url = Some(manage);
        }
    }

    async fn program(&self, arguments: &[&str]) -> Program {
        let manage = self.url("manage");
        let arguments = [&["--manage-database-url", &manage], arguments].concat();
        Program::start(&self.url("ingest"), &arguments).await
    }
}

async fn store(service: &Service) {
    let mut client = service.client().await;
    for n in 1..=6 {
        let reply = client.send_sensor_reading(reading(n)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
    }
}

/// A request to REST about the readings of one pair; its status and what it says.
async fn ask(rest: std::net::SocketAddr, method: Method, path: &str) -> (u16, String) {
    let url = format!("http://{rest}/sensor/{path}?id1=-2&id2=gate-1");
    let mut request = web::client().request(method.clone(), url);
    if method == Method::PUT {
        let change = r#"{"sensor_value": 5.5, "sensor_type": "gauge"}"#;
        request = request
            .header("content-type", "application/json")
            .body(change);
    }
    let answer = request.send().await.expect("answers");
    (
        answer.status().as_u16(),
        answer.text().await.expect("a text"),
    )
}

async fn each_account_does_its_work_with_what_it_has(database: Database) {
    for layout in ["partitioned", "series"] {
        let database = database.server.schema().await;
        assert_it_does_its_work(&database, layout).await;
    }
}

async fn assert_it_does_its_work(database: &Database, layout: &str) {
    let accounts = Accounts::create_for(database, layout).await;
    let service = Service::start_with(database, accounts.settings()).await;
    store(&service).await;
    // A reading that is rejected, and a stream.
    let mut bad = reading(7);
    bad.sensor_value = Some(f64::NAN);
    let refused = service.client().await.send_sensor_reading(bad).await;
    assert!(refused.is_err() || refused.is_ok_and(|it| it.into_inner().committed == 0));
    service.open("stream").await;
    let (status, page) = ask(service.rest, Method::GET, "ids").await;
    assert!(status == 200 && page.contains("gate-1"), "{status} {page}");
    let (status, changed) = ask(service.rest, Method::PUT, "update/ids").await;
    assert_eq!(status, 200, "{changed}");
    let (_, page) = ask(service.rest, Method::GET, "ids").await;
    assert!(page.contains("5.5"), "{page}");
    let (status, deleted) = ask(service.rest, Method::DELETE, "delete/ids").await;
    assert_eq!(status, 200, "{deleted}");
    assert_eq!(database.count("sensor_readings").await, 5);
    for path in ["streams", "rejections", "sensor/latest?id1=0&id2=gate-3"] {
        let answer = http::get(service.rest, &format!("/{path}")).await;
        assert_eq!(answer.expect("answers").0, 200, "{path}");
    }
    service.close_after_deletes().await;
    // Not a privilege more than that.
    let of_series: &[(&str, &str)] = match layout {
        "series" => &[
            ("ingest", "UPDATE series SET id1 = 0"),
            ("ingest", "DELETE FROM series"),
            ("manage", "UPDATE series SET sensor_type = 'x'"),
            ("manage", "INSERT INTO series (series_id) VALUES (1)"),
            ("migrate", "DROP TABLE series"),
        ],
        _ => &[],
    };
    let of_all = [
        ("ingest", "UPDATE sensor_readings SET sensor_value = 0"),
        ("ingest", "CREATE TABLE other (id INT)"),
        ("ingest", "DROP TABLE ingest_streams"),
        ("manage", "DELETE FROM ingest_streams"),
        ("manage", "DELETE FROM rejected_readings"),
        (
            "manage",
            "INSERT INTO sensor_readings SELECT * FROM sensor_readings",
        ),
        ("manage", "UPDATE sensor_readings SET id1 = 0"),
        ("migrate", "DELETE FROM sensor_readings"),
        ("migrate", "DROP TABLE ingest_streams"),
    ];
    for (account, statement) in of_series.iter().copied().chain(of_all) {
        let opts = mysql_async::Opts::from_url(&accounts.url(account)).expect("a url");
        let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
        let error = conn.query_drop(statement).await.expect_err(statement);
        let error = error.to_string();
        // A view over two tables refuses some of it by itself.
        let refusals = ["denied", "lack rights", "not updatable"];
        let is_refused = refusals.iter().any(|refusal| error.contains(refusal));
        assert!(is_refused, "{statement}: {error}");
    }
}

async fn each_account_does_its_work_while_readings_are_moved(database: Database) {
    let [_, _, of_series, to_move, to_series, to_partitioned] = parts();
    let accounts = Accounts::create(&database).await;
    let program = accounts.program(&[]).await;
    let mut client = crate::common::service::connect(program.grpc).await;
    for n in 1..=300 {
        let reply = client.send_sensor_reading(reading(n)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
    }
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
    accounts.run(to_move).await;
    let url = accounts.url("migrate");
    for (to, rights) in [
        ("series", vec![of_series, to_series]),
        ("partitioned", vec![to_partitioned]),
    ] {
        let migrate = ["migrate", "--database-url", &url, "--to", to];
        let prepared = end_of(command(&[&migrate[..], &["--prepare-only"]].concat())).await;
        assert_eq!(prepared.code, Some(0), "{prepared:?}");
        for part in rights {
            accounts.run(part).await;
        }
        let slowly = ["--step-readings", "50", "--max-rate", "50"];
        let mut mover = command(&[&migrate[..], &slowly].concat())
            .spawn()
            .expect("runs");
        let old = if to == "series" {
            "sensor_readings_moving"
        } else {
            "readings_moving"
        };
        until("some are moved", async || {
            let left = database.count_if_there(old).await;
            left.is_some_and(|left| (1..300).contains(&left))
        })
        .await;
        mover.kill().await.expect("killed");
        let service = Service::start_with(&database, accounts.settings()).await;
        assert_eq!(service.readiness().await["storage"]["layout"], to);
        let (status, page) = ask(service.rest, Method::GET, "ids").await;
        assert!(status == 200 && page.contains("gate-1"), "{status} {page}");
        let (status, changed) = ask(service.rest, Method::PUT, "update/ids").await;
        assert_eq!(status, 200, "{changed}");
        assert!(changed.contains(r#""updated_count":43"#), "{changed}");
        let mut client = service.client().await;
        let reply = client.send_sensor_reading(reading(1)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
        let moved = end_of(command(&migrate)).await;
        assert_eq!(moved.code, Some(0), "{moved:?}");
        let (status, deleted) = ask(service.rest, Method::DELETE, "delete/ids").await;
        assert_eq!(status, 200, "{deleted}");
        assert!(deleted.contains(r#""deleted_count":44"#), "{deleted}");
        if to == "series" {
            // The same again on the way back.
            for n in (1..=300).filter(|n| n % 7 == 1) {
                let reply = client.send_sensor_reading(reading(n)).await;
                assert_eq!(reply.expect("stored").into_inner().committed, 1);
            }
        }
        service.close_after_deletes().await;
    }
}

async fn refused(database: &Database, accounts: &Accounts, expected: &[&str]) {
    let started = Service::try_start(database, accounts.settings()).await;
    let sentence = started.err().expect("refused");
    for part in expected {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    assert!(sentence.contains("sql/grants.sql"), "{sentence}");
}

async fn a_privilege_that_ingestion_lacks_is_named_at_the_start(database: Database) {
    let accounts = Accounts::create(&database).await;
    for (privilege, table, what) in [
        (
            "SELECT",
            "schema_migrations",
            "see the table schema_migrations",
        ),
        ("SELECT", "sensor_readings", "see the table sensor_readings"),
        ("INSERT", "sensor_readings", "load readings"),
        ("DELETE", "sensor_readings", "load readings"),
        ("INSERT", "ingest_streams", "open streams"),
        ("UPDATE", "ingest_streams", "ledger"),
        ("DELETE", "ingest_streams", "lanes that are gone"),
        ("UPDATE", "id_blocks", "take ids"),
        ("INSERT", "rejected_readings", "into the quarantine"),
        ("DELETE", "rejected_readings", "let rejected readings go"),
        ("INSERT", "long_names", "keep names"),
        ("INSERT", "retention_clock", "remember the time"),
        ("UPDATE", "retention_clock", "remember the time"),
        ("INSERT", "reading_changes", "count changes of readings"),
        ("UPDATE", "reading_changes", "count changes of readings"),
    ] {
        accounts
            .privilege("REVOKE", privilege, table, "ingest")
            .await;
        // MySQL wants one of three for a look that locks, and names none of them.
        let privilege_or_look = match (privilege, table, database.engine()) {
            ("DELETE", "sensor_readings", Engine::MySql) => "SELECT with locking clause",
            _ => privilege,
        };
        refused(&database, &accounts, &[what, privilege_or_look, table]).await;
        accounts
            .privilege("GRANT", privilege, table, "ingest")
            .await;
    }
    let service = Service::start_with(&database, accounts.settings()).await;
    store(&service).await;
    service.close().await;
}

async fn a_question_that_management_may_not_ask_is_named_at_the_start(database: Database) {
    let accounts = Accounts::create(&database).await;
    for (table, what) in [
        ("ingest_streams", "show streams"),
        ("rejected_readings", "show rejected readings"),
    ] {
        accounts
            .privilege("REVOKE", "SELECT", table, "manage")
            .await;
        refused(&database, &accounts, &[what, "SELECT", table]).await;
        accounts.privilege("GRANT", "SELECT", table, "manage").await;
    }
    accounts
        .privilege("REVOKE", "SELECT", "sensor_readings", "manage")
        .await;
    refused(&database, &accounts, &["show readings", "SELECT"]).await;
}

async fn a_change_that_management_may_not_make_is_named_and_the_rest_goes_on(database: Database) {
    let accounts = Accounts::create(&database).await;
    let columns = "UPDATE (sensor_value, sensor_type, ts)";
    accounts
        .privilege("REVOKE", columns, "sensor_readings", "manage")
        .await;
    accounts
        .privilege("REVOKE", "DELETE", "sensor_readings", "manage")
        .await;
    let program = accounts.program(&[]).await;
    let mut client = crate::common::service::connect(program.grpc).await;
    let reply = client.send_sensor_reading(reading(1)).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    assert_eq!(ask(program.rest, Method::GET, "ids").await.0, 200);
    let (status, said) = ask(program.rest, Method::DELETE, "delete/ids").await;
    assert_eq!(status, 500, "{said}");
    // Whose account may what is none of a client's business.
    assert!(
        !said.contains("denied") && !said.contains("manage"),
        "{said}"
    );
    program.terminate();
    let ended = program.ended().await;
    for part in [
        "may not change readings over REST: UPDATE",
        "may not delete readings over REST: DELETE",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    assert_eq!(database.count("sensor_readings").await, 1);
}

async fn partitions_that_may_not_be_made_are_named_and_readings_go_on(database: Database) {
    let accounts = Accounts::create(&database).await;
    accounts
        .privilege("REVOKE", "ALTER, DROP", "sensor_readings", "ingest")
        .await;
    let what = "may not make and drop partitions (partitions.enabled): ALTER";
    for (arguments, is_said) in [
        (
            ["--partitions-enabled", "true", "--partitions-width", "1h"].as_slice(),
            true,
        ),
        (&["--partitions-enabled", "false"], false),
    ] {
        let program = accounts.program(arguments).await;
        let mut client = crate::common::service::connect(program.grpc).await;
        let reply = client.send_sensor_reading(reading(1)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
        program.terminate();
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stderr.contains(what), is_said, "{ended:?}");
    }
}

async fn an_account_that_may_make_no_tables_says_so(database: Database) {
    let accounts = Accounts(database.clone());
    let [before, ..] = parts();
    accounts.run(before).await;
    let schema = database.name();
    let sql = format!("REVOKE CREATE ON {schema}.* FROM '{schema}_migrate'@'%'");
    database.run(&sql).await;
    let url = accounts.url("migrate");
    let migrated = end_of(command(&["migrate", "--database-url", &url])).await;
    assert_eq!(migrated.code, Some(2), "{migrated:?}");
    for part in ["may not make the tables", "CREATE", "sql/grants.sql"] {
        assert!(migrated.stderr.contains(part), "{migrated:?}");
    }
}

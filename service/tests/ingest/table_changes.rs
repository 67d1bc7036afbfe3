//! Somebody changes the table while the service runs. What no reading could be stored in is not the readings' fault:
//! nothing goes into quarantine, the lane waits, and goes on by itself once it is mended.

use mysql_async::prelude::Queryable as _;
use sluicegate::embedded_db::Engine;

use crate::common::{
    database::Database,
    engines::has_numbers,
    on_each_engine,
    readings::{assert_stored, column_batch, columns, reading, readings},
    service::{AckedCall, Service},
    until,
};

on_each_engine! {
    a_column_without_a_default_puts_nothing_into_quarantine,
    a_table_that_is_changed_before_the_first_reading_puts_nothing_into_quarantine,
    whatever_takes_the_table_away_is_waited_for,
    a_column_that_has_shrunk_puts_nothing_into_quarantine,
    a_column_that_would_hold_something_else_is_noticed_before_anything_is_acknowledged,
    a_column_that_holds_more_is_no_reason_to_wait,
    a_privilege_that_is_taken_away_is_waited_for,
    a_batch_of_which_all_is_refused_is_of_its_readings,
    an_engine_without_transactions_is_refused,
}

const ADD: &str = "ALTER TABLE sensor_readings ADD COLUMN site INT NOT NULL";
const DROP: &str = "ALTER TABLE sensor_readings DROP COLUMN site";

/// What breaks the table, and what mends it.
type Change = (&'static [&'static str], &'static [&'static str]);

/// A column without a default. MySQL fills in a zero, unless something takes it away.
fn column(engine: Engine) -> Change {
    const EMPTIED: &str =
        "CREATE TRIGGER emptied BEFORE INSERT ON sensor_readings FOR EACH ROW SET NEW.site = NULL";
    match engine {
        Engine::MariaDb => (&[ADD], &[DROP]),
        Engine::MySql => (&[ADD, EMPTIED], &["DROP TRIGGER emptied", DROP]),
    }
}

/// Breaks, sends, sees that nothing happens to the readings, mends, and sees them stored.
async fn waits(
    service: &Service,
    database: &Database,
    call: &mut AckedCall,
    first: u64,
    (broken, mended): (&[&str], &[&str]),
) {
    for statement in broken {
        database.run(statement).await;
    }
    let retries = service.figure("retries").await;
    call.send(columns(column_batch(first..first + 500))).await;
    until("it is tried again", || async {
        service.figure("retries").await > retries + 1
    })
    .await;
    assert_eq!(database.count("rejected_readings").await, 0, "{broken:?}");
    for statement in mended {
        database.run(statement).await;
    }
    let ack = call.until_acked(first + 499).await;
    assert_eq!(
        (ack.rejected, ack.committed),
        (0, first + 499),
        "{broken:?}"
    );
}

async fn a_column_without_a_default_puts_nothing_into_quarantine(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("changed").await;
    let mut call = AckedCall::resume(&mut service.client().await, "changed", &at).await;
    call.send(columns(column_batch(1..101))).await;
    call.until_acked(100).await;
    waits(
        &service,
        &database,
        &mut call,
        101,
        column(database.engine()),
    )
    .await;
    assert_stored(&database, 1..601).await;
    call.finish().await;
    service.close().await;
}

async fn a_table_that_is_changed_before_the_first_reading_puts_nothing_into_quarantine(
    database: Database,
) {
    let service = Service::start(&database).await;
    let at = service.open("changed").await;
    let mut call = AckedCall::resume(&mut service.client().await, "changed", &at).await;
    waits(&service, &database, &mut call, 1, column(database.engine())).await;
    assert_stored(&database, 1..501).await;
    call.finish().await;
    service.close().await;
}

async fn whatever_takes_the_table_away_is_waited_for(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("changed").await;
    let mut call = AckedCall::resume(&mut service.client().await, "changed", &at).await;
    call.send(columns(column_batch(1..501))).await;
    call.until_acked(500).await;
    let cases: [Change; 3] = [
        (
            &["RENAME TABLE sensor_readings TO elsewhere"],
            &["RENAME TABLE elsewhere TO sensor_readings"],
        ),
        (
            &["ALTER TABLE sensor_readings RENAME COLUMN sensor_value TO amount"],
            &["ALTER TABLE sensor_readings RENAME COLUMN amount TO sensor_value"],
        ),
        (
            &[
                "CREATE TRIGGER closed BEFORE INSERT ON sensor_readings FOR EACH ROW \
               SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closed'",
            ],
            &["DROP TRIGGER closed"],
        ),
    ];
    let mut first = 501;
    for case in cases {
        waits(&service, &database, &mut call, first, case).await;
        first += 500;
    }
    assert_stored(&database, 1..first).await;
    call.finish().await;
    service.close().await;
}

async fn a_column_that_has_shrunk_puts_nothing_into_quarantine(database: Database) {
    const TYPE: &str = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL";
    let service = Service::start(&database).await;
    let at = service.open("changed").await;
    let mut call = AckedCall::resume(&mut service.client().await, "changed", &at).await;
    let shrunk = format!("ALTER TABLE sensor_readings MODIFY id2 VARCHAR(3) {TYPE}");
    let mended = format!("ALTER TABLE sensor_readings MODIFY id2 VARCHAR(50) {TYPE}");
    waits(&service, &database, &mut call, 1, (&[&shrunk], &[&mended])).await;
    assert_stored(&database, 1..501).await;
    call.finish().await;
    service.close().await;
}

/// None of these gives so much as a warning when a reading is stored in it.
async fn a_column_that_would_hold_something_else_is_noticed_before_anything_is_acknowledged(
    database: Database,
) {
    let service = Service::start(&database).await;
    let at = service.open("altered").await;
    let mut call = AckedCall::resume(&mut service.client().await, "altered", &at).await;
    call.send(columns(column_batch(1..501))).await;
    call.until_acked(500).await;
    let mut first = 501;
    for (altered, mended) in [
        ("sensor_value FLOAT", "sensor_value DOUBLE"),
        ("sensor_value INT", "sensor_value DOUBLE"),
        ("ts DATETIME(3)", "ts DATETIME(6)"),
    ] {
        let alter = |column| format!("ALTER TABLE sensor_readings MODIFY {column} NOT NULL");
        let (altered, mended) = (alter(altered), alter(mended));
        // What is there already would be changed by the ALTER itself.
        let broken = [
            "CREATE TABLE kept AS SELECT * FROM sensor_readings",
            "DELETE FROM sensor_readings",
            &altered,
        ];
        let mended = [
            mended.as_str(),
            "INSERT INTO sensor_readings SELECT * FROM kept",
            "DROP TABLE kept",
        ];
        waits(&service, &database, &mut call, first, (&broken, &mended)).await;
        assert_stored(&database, 1..first + 500).await;
        first += 500;
    }
    call.finish().await;
    service.close().await;
}

async fn a_column_that_holds_more_is_no_reason_to_wait(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("wider").await;
    let mut call = AckedCall::resume(&mut service.client().await, "wider", &at).await;
    call.send(columns(column_batch(1..501))).await;
    call.until_acked(500).await;
    database
        .run(
            "ALTER TABLE sensor_readings MODIFY id2 VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
             ADD COLUMN site INT",
        )
        .await;
    call.send(columns(column_batch(501..1_001))).await;
    call.until_acked(1_000).await;
    assert_stored(&database, 1..1_001).await;
    assert_eq!(service.figure("retries").await, 0);
    call.finish().await;
    service.close().await;
}

async fn a_privilege_that_is_taken_away_is_waited_for(database: Database) {
    Service::start(&database).await.close().await;
    let user = format!("user_of_{}", database.name());
    let schema = database.name().to_owned();
    database.run(&format!("CREATE USER {user}@localhost")).await;
    let of =
        |table: &str, what: &str| format!("GRANT {what} ON {schema}.{table} TO {user}@localhost");
    database.run(&of("*", "SELECT, UPDATE, DELETE")).await;
    let of_numbers: &[&str] = match has_numbers() {
        true => &["series", "series_generation", "rollup_batches"],
        false => &[],
    };
    for table in [
        "ingest_streams",
        "rejected_readings",
        "id_blocks",
        "retention_clock",
        "reading_changes",
        "long_names",
    ]
    .iter()
    .chain(of_numbers)
    {
        database.run(&of(table, "INSERT")).await;
    }
    // What is granted for a table holds from the next statement on.
    let table = match has_numbers() {
        true => "readings",
        false => "sensor_readings",
    };
    let grant = of(table, "INSERT");
    let revoke = format!("REVOKE INSERT ON {schema}.{table} FROM {user}@localhost");
    database.run(&grant).await;
    let url = database.url_of(&user);
    let service = Service::start_with(&database, |settings| {
        settings.migrate = Some(false);
        settings.database_url = Some(url);
    })
    .await;
    let at = service.open("changed").await;
    let mut call = AckedCall::resume(&mut service.client().await, "changed", &at).await;
    waits(&service, &database, &mut call, 1, (&[&revoke], &[&grant])).await;
    assert_stored(&database, 1..501).await;
    call.finish().await;
    service.close().await;
}

async fn a_batch_of_which_all_is_refused_is_of_its_readings(database: Database) {
    let service = Service::start(&database).await;
    database
        .run("ALTER TABLE sensor_readings ADD CONSTRAINT sane CHECK (id1 <> 3)")
        .await;
    let mut client = service.client().await;
    // Before the first reading, and after it: what it is held against is another each time.
    for n in 1..=2 {
        let bad: Vec<_> = readings(1..1_000)
            .into_iter()
            .filter(|one| one.id1 == 3)
            .collect();
        let count = bad.len() as u64;
        let batch = sluicegate_proto::v1::SensorBatch {
            readings: bad[..20].to_vec(),
            position: None,
        };
        let reply = client
            .send_sensor_batch(batch)
            .await
            .expect("answered")
            .into_inner();
        assert_eq!((reply.committed, reply.rejected), (0, 20), "of {count}");
        let reply = client.send_sensor_reading(reading(n)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
    }
    assert_stored(&database, 1..3).await;
    service.close().await;
}

async fn an_engine_without_transactions_is_refused(database: Database) {
    let seed = |settings: &mut sluicegate::config::Settings| {
        settings.layout = Some(sluicegate::repository::mysql::Layout::Seed);
    };
    Service::start_with(&database, seed).await.close().await;
    let mut conn = database.connect().await;
    let changed = conn.query_drop("ALTER TABLE sensor_readings ENGINE = MyISAM");
    changed.await.expect("altered");
    let refused = Service::try_start(&database, seed).await;
    let sentence = refused.err().expect("refused");
    assert!(sentence.contains("transaction"), "{sentence}");
    assert!(sentence.contains("InnoDB"), "{sentence}");
    assert_eq!(
        database.count("sensor_readings").await,
        0,
        "it leaves nothing behind"
    );
    let changed = conn.query_drop("ALTER TABLE sensor_readings ENGINE = InnoDB");
    changed.await.expect("altered");
    Service::start_with(&database, seed).await.close().await;
}

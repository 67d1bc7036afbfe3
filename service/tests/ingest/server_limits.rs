//! A batch that is above a limit of the server goes in smaller ones, and a reading is judged by counts, not by what the
//! server says in words.

use mysql_async::prelude::Queryable as _;
use sluicegate::embedded_db::Engine;

use crate::common::{
    database::Database,
    logged_on_each_engine,
    readings::{assert_stored, column_batch, columns, header, reading, rows},
    service::{AckedCall, Service},
};

logged_on_each_engine! {
    a_batch_above_the_cache_of_the_binary_log_is_stored_in_halves,
    a_reading_that_is_too_big_by_itself_waits,
    a_limit_of_time_for_statements_does_not_hold_for_loads,
    a_server_that_speaks_german_stores_what_is_sent,
    a_connection_outlives_its_transactions,
}

/// For connections that begin from now on.
async fn cache_of_the_log(database: &Database, bytes: u64) {
    let set = format!("SET GLOBAL max_binlog_cache_size = {bytes}");
    database.run(&set).await;
}

/// More than what one transaction may write is one message of one stream, and so one part of one batch.
async fn a_batch_above_the_cache_of_the_binary_log_is_stored_in_halves(database: Database) {
    Service::start(&database).await.close().await;
    cache_of_the_log(&database, 65_536).await;
    let service = Service::start(&database).await;
    let at = service.open("big").await;
    let mut client = service.client().await;
    let mut call = AckedCall::resume(&mut client, "big", &at).await;
    let mut batch = column_batch(1..20_001);
    batch.sensor_value[9_999] = f64::NAN;
    call.send(columns(batch)).await;
    call.send(columns(column_batch(20_001..25_001))).await;
    let ack = call.until_acked(25_000).await;
    assert_eq!((ack.committed, ack.rejected), (24_999, 1));
    assert_eq!(database.quarantined().await[0].seq, 10_000);
    call.finish().await;
    let batches = service.figure("batches").await;
    assert!(batches > 8, "{batches}");

    // Sent again they are known, down to the last one.
    let mut again = AckedCall::begin(&mut client, header("big", at.epoch, 1)).await;
    again.send(columns(column_batch(1..25_001))).await;
    let ack = again.until_acked(25_000).await;
    assert_eq!(ack.duplicate, 25_000);
    again.finish().await;
    let stored = database.stored().await;
    assert_eq!(stored.len(), 24_999);
    service.close().await;
    cache_of_the_log(&database, 1 << 40).await;
}

async fn a_reading_that_is_too_big_by_itself_waits(database: Database) {
    Service::start(&database).await.close().await;
    let service = Service::start(&database).await;
    let at = service.open("waits").await;
    let mut call = AckedCall::resume(&mut service.client().await, "waits", &at).await;
    // Each row drags others along that the service does not know of, in an event each.
    for statement in [
        "CREATE TABLE ballast (text LONGTEXT)",
        "CREATE TRIGGER heavy BEFORE INSERT ON sensor_readings FOR EACH ROW INSERT INTO ballast \
         WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 40) SELECT REPEAT('x', 20000) FROM n",
    ] {
        database.run(statement).await;
    }
    cache_of_the_log(&database, 65_536).await;
    database.end_connections().await;
    call.send(rows(vec![reading(1), reading(2)])).await;
    crate::common::until("it is tried again", || async {
        service.figure("retries").await > 3
    })
    .await;
    assert_eq!(database.count("rejected_readings").await, 0);
    assert_eq!(database.count("sensor_readings").await, 0);
    cache_of_the_log(&database, 1 << 40).await;
    call.until_acked(2).await;
    assert_eq!(database.count("sensor_readings").await, 2);
    call.finish().await;
    service.close().await;
}

async fn a_limit_of_time_for_statements_does_not_hold_for_loads(database: Database) {
    Service::start(&database).await.close().await;
    database
        .run(
            "CREATE TRIGGER slow BEFORE INSERT ON sensor_readings FOR EACH ROW \
             SET @slept = IF(NEW.sensor_value = 25000, SLEEP(2), 0)",
        )
        .await;
    let limit = match database.engine() {
        Engine::MariaDb => "SET GLOBAL max_statement_time = 1",
        Engine::MySql => "SET GLOBAL max_execution_time = 1000",
    };
    database.run(limit).await;
    let service = Service::start_with(&database, |settings| settings.migrate = Some(false)).await;
    let mut client = service.client().await;
    let sent = [columns(column_batch(1..50_001))];
    let reply = client.stream_readings(tokio_stream::iter(sent)).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 50_000);
    assert_eq!(service.figure("retries").await, 0);
    assert_eq!(service.figure("batches").await, 1);
    service.close().await;
    database
        .run("SET GLOBAL /*M! max_statement_time = 0 */ /*!50708 max_execution_time = 0 */")
        .await;
}

async fn a_server_that_speaks_german_stores_what_is_sent(database: Database) {
    database.run("SET GLOBAL lc_messages = 'de_DE'").await;
    let error = database.connect().await.query_drop("SELECT nothing").await;
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("Unbekannte"), "{error}");
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let sent = [columns(column_batch(1..1_001))];
    let reply = client.stream_readings(tokio_stream::iter(sent)).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1_000);
    assert_stored(&database, 1..1_001).await;
    assert_eq!(service.figure("retries").await, 0);
    service.close().await;
    database.run("SET GLOBAL lc_messages = 'en_US'").await;
}

async fn a_connection_outlives_its_transactions(database: Database) {
    database.run("SET GLOBAL completion_type = 'RELEASE'").await;
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    for n in 1..=5 {
        let reply = client.send_sensor_reading(reading(n)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
    }
    assert_eq!(service.figure("retries").await, 0);
    service.close().await;
    database
        .run("SET GLOBAL completion_type = 'NO_CHAIN'")
        .await;
}

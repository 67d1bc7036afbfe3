//! A ledger that was emptied, restored or changed under a running service: the log says so, and blames nobody else.

use crate::common::{
    database::Database, on_each_engine, program::Program, readings::reading, service::connect,
};

on_each_engine! {
    a_lane_whose_ledger_row_is_gone_says_so,
    a_lane_whose_ledger_row_is_of_an_older_day_says_so,
    a_lane_whose_ledger_row_counts_too_much_says_so,
    a_lane_that_was_taken_over_says_so,
}

/// What the service says at its end, after its ledger was changed in this way.
async fn said_after(database: &Database, change: &str) -> String {
    let program = Program::start(&database.url(), &["--ingest-lanes", "1"]).await;
    let mut client = connect(program.grpc).await;
    let stored = client.send_sensor_reading(reading(1)).await;
    assert_eq!(stored.expect("stored").into_inner().committed, 1);
    database.run(change).await;
    client
        .send_sensor_reading(reading(2))
        .await
        .expect_err("is not stored");
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(database.count("sensor_readings").await, 1);
    ended.stderr
}

fn assert_forgotten(said: &str, found: &str) {
    assert!(said.contains("has forgotten the lane"), "{said}");
    assert!(said.contains(found), "{said}");
    assert!(!said.contains("taken over"), "{said}");
}

async fn a_lane_whose_ledger_row_is_gone_says_so(database: Database) {
    let said = said_after(&database, "DELETE FROM ingest_streams").await;
    assert_forgotten(&said, "its row is gone");
}

async fn a_lane_whose_ledger_row_is_of_an_older_day_says_so(database: Database) {
    let said = said_after(&database, "UPDATE ingest_streams SET epoch = epoch - 1").await;
    assert_forgotten(&said, "its row has the epoch 0, and had 1");
}

async fn a_lane_whose_ledger_row_counts_too_much_says_so(database: Database) {
    let change = "UPDATE ingest_streams SET committed_seq = committed_seq + 1";
    let said = said_after(&database, change).await;
    assert_forgotten(&said, "its row counts batch 2, which is not committed yet");
}

async fn a_lane_that_was_taken_over_says_so(database: Database) {
    let said = said_after(&database, "UPDATE ingest_streams SET epoch = epoch + 1").await;
    assert!(said.contains("was taken over by another process"), "{said}");
}

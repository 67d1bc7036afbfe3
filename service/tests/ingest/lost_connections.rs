//! The connection to the database is lost at the worst moments: everything is stored once and whole all the same
//! (P2, P3).

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use sluicegate_proto::v1::SensorBatch;
use tonic::Code;

use crate::common::{
    database::Database,
    engines::has_numbers,
    on_each_engine,
    program::Program,
    proxy::{Fault, Proxy},
    readings::{assert_stored, position, readings},
    service::{Service, connect, open},
    until,
};

const ROWS: u64 = 2_000;

on_each_engine! {
    a_commit_whose_reply_is_lost_is_stored_once,
    a_lane_that_finds_its_commit_made_holds_no_locks,
    a_commit_that_is_lost_is_stored_once,
    a_connection_whose_end_the_database_does_not_notice_holds_nothing_up,
    a_network_that_swallows_everything_holds_nothing_up,
    a_batch_that_waits_for_a_lock_is_left_to_wait,
    an_anonymous_commit_whose_reply_is_lost_is_stored_once,
    a_load_that_is_cut_anywhere_leaves_whole_batches_only,
    an_instance_that_is_paused_in_mid_transaction_loses_its_streams,
    a_commit_that_fails_for_no_known_reason_is_tried_in_parts,
}

async fn service_behind(database: &Database, proxy: &Proxy) -> Service {
    let url = database.tcp_url(proxy.port);
    Service::start_with(database, |settings| {
        settings.database_url = Some(url);
        settings.ingest.lanes = Some(1);
    })
    .await
}

/// Sends batches one after the other, each with a fault on its way.
async fn stores_each_batch_once(database: &Database, named: bool, faults: &[Fault]) {
    let proxy = Proxy::start(database.tcp_port()).await;
    let service = service_behind(database, &proxy).await;
    let mut client = service.client().await;
    let at = service.open("cut").await;
    let mut next = 1;
    for &fault in faults {
        let batch = SensorBatch {
            readings: readings(next..next + ROWS),
            position: named.then(|| position("cut", at.epoch, next)),
        };
        let cuts = proxy.cuts();
        proxy.arm(fault);
        let sending = client.send_sensor_batch(batch);
        tokio::pin!(sending);
        let reply = loop {
            tokio::select! {
                reply = &mut sending => break reply.expect("stored").into_inner(),
                rows = database.count("sensor_readings") => {
                    assert_eq!(rows % ROWS, 0, "whole batches only, with {fault:?}");
                }
            }
        };
        assert_eq!((reply.committed, reply.duplicate), (ROWS, 0), "{fault:?}");
        assert_eq!(proxy.cuts(), cuts + 1, "{fault:?} happened");
        next += ROWS;
    }
    assert_stored(database, 1..next).await;
    service.close().await;
}

async fn a_commit_whose_reply_is_lost_is_stored_once(database: Database) {
    stores_each_batch_once(&database, true, &[Fault::AfterCommit; 3]).await;
}

async fn a_lane_that_finds_its_commit_made_holds_no_locks(database: Database) {
    let proxy = Proxy::start(database.tcp_port()).await;
    let service = service_behind(&database, &proxy).await;
    let mut client = service.client().await;
    let at = service.open("let-go").await;
    let batch = SensorBatch {
        readings: readings(1..11),
        position: Some(position("let-go", at.epoch, 1)),
    };
    proxy.arm(Fault::AfterCommit);
    let reply = client.send_sensor_batch(batch).await.expect("stored");
    assert_eq!((reply.into_inner().committed, proxy.cuts()), (10, 1));
    let lock = "SELECT stream_id FROM ingest_streams FOR UPDATE NOWAIT";
    let rows: Result<Vec<String>, _> = database.connect().await.query(lock).await;
    assert_eq!(
        rows.expect("no row is locked").len(),
        3,
        "the stream, its lane, and the one for small calls"
    );
    service.close().await;
}

async fn a_commit_that_is_lost_is_stored_once(database: Database) {
    stores_each_batch_once(&database, true, &[Fault::BeforeCommit; 3]).await;
}

async fn a_connection_whose_end_the_database_does_not_notice_holds_nothing_up(database: Database) {
    stores_each_batch_once(&database, true, &[Fault::BeforeCommitUnheard; 2]).await;
}

async fn a_network_that_swallows_everything_holds_nothing_up(database: Database) {
    let faults = [Fault::SilenceBeforeCommit, Fault::SilenceAfterCommit];
    stores_each_batch_once(&database, true, &faults).await;
}

async fn a_batch_that_waits_for_a_lock_is_left_to_wait(database: Database) {
    let service = Service::start(&database).await;
    let mut other = database.connect().await;
    let lock = "LOCK TABLES sensor_readings WRITE";
    other.query_drop(lock).await.expect("locked");
    let mut client = service.client().await;
    let batch = SensorBatch {
        readings: readings(1..11),
        position: None,
    };
    let sending = tokio::spawn(async move { client.send_sensor_batch(batch).await });
    // Longer than it takes until the database is asked about the connection.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(service.figure("in_flight").await, 10);
    assert_eq!(service.figure("retries").await, 0);
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    let stored = sending.await.expect("no panic").expect("stored");
    assert_eq!(stored.into_inner().committed, 10);
    assert_eq!(service.figure("retries").await, 0);
    service.close().await;
}

async fn an_anonymous_commit_whose_reply_is_lost_is_stored_once(database: Database) {
    let faults = [Fault::AfterCommit, Fault::BeforeCommit, Fault::AfterCommit];
    stores_each_batch_once(&database, false, &faults).await;
}

async fn a_load_that_is_cut_anywhere_leaves_whole_batches_only(database: Database) {
    // From the header of the first packet to the statements after the rows.
    let late = match has_numbers() {
        true => [80_000, 85_000],
        false => [100_000, 120_000],
    };
    let bytes = [0, 1, 3, 4, 5, 100, 9_999, 65_536].into_iter().chain(late);
    let faults: Vec<_> = bytes.map(Fault::InsideLoad).collect();
    stores_each_batch_once(&database, true, &faults).await;
}

async fn an_instance_that_is_paused_in_mid_transaction_loses_its_streams(database: Database) {
    let program = Program::start(&database.url(), &[]).await;
    let mut client = connect(program.grpc).await;
    let at = open(&mut client, "paused").await;
    // Its transaction holds the stream and waits at the quarantine.
    let mut other = database.connect().await;
    let lock = "LOCK TABLES rejected_readings WRITE";
    other.query_drop(lock).await.expect("locked");
    let mut with_a_bad_one = readings(1..101);
    with_a_bad_one[50].sensor_value = Some(f64::NAN);
    let batch = SensorBatch {
        readings: with_a_bad_one,
        position: Some(position("paused", at.epoch, 1)),
    };
    let sending = tokio::spawn(async move { client.send_sensor_batch(batch).await });
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
         WHERE DB = '{}' AND INFO LIKE 'INSERT INTO rejected_readings%'",
        database.name()
    );
    until("the transaction waits", async || {
        let mut conn = database.connect().await;
        conn.query_first(&waiting).await.expect("asks") == Some(1_u64)
    })
    .await;
    program.pause().await;
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");

    let service = Service::start(&database).await;
    let taken = service.open("paused").await;
    assert_eq!(taken.committed_seq, 0, "its transaction was rolled back");
    let batch = SensorBatch {
        readings: readings(1..101),
        position: Some(position("paused", taken.epoch, 1)),
    };
    let stored = service.client().await.send_sensor_batch(batch).await;
    assert_eq!(stored.expect("stored").into_inner().committed, 100);
    program.resume();
    let fenced = sending.await.expect("no panic").expect_err("fenced");
    assert_eq!(fenced.code(), Code::Aborted);
    assert_stored(&database, 1..101).await;
    service.close().await;
    program.kill().await;
}

/// Such as a limit of a server that is in no table.
async fn a_commit_that_fails_for_no_known_reason_is_tried_in_parts(database: Database) {
    let proxy = Proxy::start(database.tcp_port()).await;
    let service = service_behind(&database, &proxy).await;
    let at = service.open("parts").await;
    proxy.arm(Fault::CommitRefusedAbove(30_000));
    let batch = SensorBatch {
        readings: readings(1..ROWS + 1),
        position: Some(position("parts", at.epoch, 1)),
    };
    let reply = service.client().await.send_sensor_batch(batch).await;
    assert_eq!(reply.expect("stored").into_inner().committed, ROWS);
    assert!(proxy.cuts() > 3, "it was refused");
    assert_stored(&database, 1..ROWS + 1).await;
    assert!(service.figure("batches").await > 1);
    assert_eq!(database.count("rejected_readings").await, 0);
    service.close().await;
}

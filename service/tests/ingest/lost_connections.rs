//! The connection to the database is lost at the worst moments: everything is stored once and whole all the same
//! (P2, P3).

use sluicegate_proto::v1::SensorBatch;

use crate::common::{
    database::Database,
    on_each_engine,
    proxy::{Fault, Proxy},
    readings::{assert_stored, position, readings},
    service::Service,
};

const ROWS: u64 = 2_000;

on_each_engine! {
    a_commit_whose_reply_is_lost_is_stored_once,
    a_commit_that_is_lost_is_stored_once,
    a_connection_whose_end_the_database_does_not_notice_holds_nothing_up,
    an_anonymous_commit_whose_reply_is_lost_is_stored_once,
    a_load_that_is_cut_anywhere_leaves_whole_batches_only,
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

async fn a_commit_that_is_lost_is_stored_once(database: Database) {
    stores_each_batch_once(&database, true, &[Fault::BeforeCommit; 3]).await;
}

async fn a_connection_whose_end_the_database_does_not_notice_holds_nothing_up(database: Database) {
    stores_each_batch_once(&database, true, &[Fault::BeforeCommitUnheard; 2]).await;
}

async fn an_anonymous_commit_whose_reply_is_lost_is_stored_once(database: Database) {
    let faults = [Fault::AfterCommit, Fault::BeforeCommit, Fault::AfterCommit];
    stores_each_batch_once(&database, false, &faults).await;
}

async fn a_load_that_is_cut_anywhere_leaves_whole_batches_only(database: Database) {
    // From the header of the first packet to the statements after the rows.
    let bytes = [0, 1, 3, 4, 5, 100, 9_999, 65_536, 100_000, 120_000];
    stores_each_batch_once(&database, true, &bytes.map(Fault::InsideLoad)).await;
}

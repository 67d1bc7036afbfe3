//! Instances of the service that share the partitions of a topic.

use std::time::Duration;

use crate::{
    common::database::Database,
    fetching::{service, stored, until_stored_once},
    topics::{QUICK, Records, kafka, source},
};

on_mariadb! {
    instances_share_partitions_cooperatively,
    instances_share_partitions_all_at_once,
    instances_share_partitions_by_the_new_protocol,
}

const PARTITIONS: i32 = 4;
const ROUNDS: u64 = 12;
const RECORDS: u64 = 250;

/// One instance joins another while records come, then leaves, and each record is stored once.
async fn share(database: Database, protocol: &str) {
    let Some(kafka) = kafka().await else {
        return;
    };
    kafka.create_topic("readings", PARTITIONS as u32, &[]).await;
    let first = service(&database, source(&kafka, protocol)).await;
    let records = Records::to(&kafka);
    let mut next = 0;
    let mut second = None;
    for round in 0..ROUNDS {
        for partition in 0..PARTITIONS {
            records
                .send("readings", partition, next..next + RECORDS)
                .await;
            next += RECORDS;
        }
        match round {
            3 => second = Some(service(&database, source(&kafka, protocol)).await),
            8 => {
                if let Some(second) = second.take() {
                    second.shutdown.draining.cancel();
                    second.stopped().await.expect("ends well");
                }
            }
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
    until_stored_once(&database, next).await;
    first.close().await;
    assert_eq!(stored(&database).await, (next, next));
}

mod steps {
    use super::*;

    pub(super) async fn instances_share_partitions_cooperatively(database: Database) {
        share(database, QUICK).await;
    }

    pub(super) async fn instances_share_partitions_all_at_once(database: Database) {
        share(database, &format!("assignor: range, {QUICK}")).await;
    }

    pub(super) async fn instances_share_partitions_by_the_new_protocol(database: Database) {
        share(database, "group_protocol: consumer").await;
    }
}

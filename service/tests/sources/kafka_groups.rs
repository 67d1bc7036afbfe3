//! Instances of the service that share the partitions of a topic.

use std::time::Duration;

use crate::{
    common::{database::Database, program::Program, until},
    fetching::{service, stored, until_stored_once},
    topics::{QUICK, Records, kafka, source},
};

on_mariadb! {
    instances_share_partitions_cooperatively,
    instances_share_partitions_all_at_once,
    instances_share_partitions_by_the_new_protocol,
    an_instance_that_stood_still_stores_nothing_twice,
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

    /// It stands still in the middle of its work, until another has its partitions and has read on; then it goes on with
    /// what it holds.
    pub(super) async fn an_instance_that_stood_still_stores_nothing_twice(database: Database) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", PARTITIONS as u32, &[]).await;
        let records = Records::to(&kafka);
        let mut next = 0;
        let mut send = async |numbers: u64| {
            for partition in 0..PARTITIONS {
                records
                    .send("readings", partition, next..next + numbers)
                    .await;
                next += numbers;
            }
            next
        };
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("sources.yaml");
        let sources = serde_json::json!({"sources": [source(&kafka, QUICK)]});
        let text = serde_norway::to_string(&sources).expect("YAML");
        std::fs::write(&config, text).expect("written");
        let config = config.display().to_string();
        let first = Program::start(&database.url(), &["--config", &config]).await;
        let sent = send(RECORDS).await;
        until_stored_once(&database, sent).await;
        let sent = send(40 * RECORDS).await;
        until("it is in the middle", || async {
            let (readings, _) = stored(&database).await;
            readings > PARTITIONS as u64 * RECORDS
        })
        .await;
        first.pause().await;
        let (before, _) = stored(&database).await;
        assert!(
            before < sent,
            "it had stored all {sent} before it stood still"
        );
        let second = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, sent).await;
        let sent = send(RECORDS).await;
        until_stored_once(&database, sent).await;
        first.resume();
        let sent = send(RECORDS).await;
        until_stored_once(&database, sent).await;
        // Whatever it still had in hand has been refused by now.
        let sent = send(RECORDS).await;
        until_stored_once(&database, sent).await;
        first.terminate();
        let ended = first.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(stored(&database).await, (sent, sent));
        second.close().await;
    }
}

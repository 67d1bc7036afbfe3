//! Logs of Kafka with gaps, and logs that are no longer what they were.

use std::time::Duration;

use serde_json::Value;

use crate::{
    common::{
        brokers::kafka::{Kafka, Options},
        database::Database,
        http,
        service::Service,
        until,
    },
    fetching::{service, stored, until_state, until_stored_once},
    topics::{QUICK, Records, all_records, kafka, source, transaction},
};

on_mariadb! {
    aborted_transactions_leave_gaps_and_no_readings,
    compaction_leaves_gaps,
    a_log_that_was_cut_off_is_told_and_gone_on_with_only_if_that_is_wanted,
    a_topic_that_was_made_again_larger_is_told,
    a_topic_that_was_made_again_smaller_is_told,
    a_topic_that_is_made_again_while_it_is_read_is_told,
    records_that_a_leader_lost_are_told,
}

const CONTINUE: &str = "on_data_loss: continue";

/// The source has stopped, the service is not ready, and both say why.
async fn assert_stopped(service: &Service, word: &str) {
    let stopped = until_state(service, "stopped").await;
    let reason = stopped["reason"].as_str().expect("a reason");
    assert!(reason.contains(word), "{reason}");
    assert!(reason.contains("on_data_loss"), "{reason}");
    let (status, readiness) = http::get(service.rest, "/readyz").await.expect("answers");
    assert_eq!(status, 503);
    let told: &Value = &readiness["reasons"][0];
    assert!(
        told.as_str().is_some_and(|told| told.contains(word)),
        "{readiness}"
    );
}

/// A service that does not become ready, for its source has stopped.
async fn stopped_service(database: &Database, kafka: &Kafka, word: &str) {
    let mut of_source = source(kafka, QUICK);
    // It is to start: what the others do without it is not the matter here.
    of_source.optional = true;
    let service = service(database, of_source).await;
    let stopped = until_state(&service, "stopped").await;
    let reason = stopped["reason"].as_str().expect("a reason");
    assert!(reason.contains(word), "{reason}");
    service.close().await;
}

mod steps {
    use super::*;

    pub(super) async fn aborted_transactions_leave_gaps_and_no_readings(database: Database) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 1, &[]).await;
        transaction(&kafka, "readings", 0..10, true).await;
        transaction(&kafka, "readings", 100..110, false).await;
        let first = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 10).await;
        first.close().await;
        transaction(&kafka, "readings", 110..120, false).await;
        transaction(&kafka, "readings", 10..20, true).await;
        let second = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 20).await;
        second.close().await;
    }

    pub(super) async fn compaction_leaves_gaps(database: Database) {
        let Some(kafka) = kafka().await else {
            return;
        };
        let soon = [
            "cleanup.policy=compact",
            "segment.ms=100",
            "min.cleanable.dirty.ratio=0.01",
            "max.compaction.lag.ms=500",
        ];
        kafka.create_topic("readings", 1, &soon).await;
        let records = Records::to(&kafka);
        for n in 1_000..1_020 {
            records.send_keyed("readings", "k", n).await;
        }
        // A segment is closed when it is old, and something follows.
        for n in 0..11 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            records.send_keyed("readings", &n.to_string(), n).await;
        }
        until("what was written over is gone", || async {
            all_records(&kafka, "readings").await == 12
        })
        .await;
        let service = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 12).await;
        service.close().await;
    }

    pub(super) async fn a_log_that_was_cut_off_is_told_and_gone_on_with_only_if_that_is_wanted(
        database: Database,
    ) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 1, &[]).await;
        let records = Records::to(&kafka);
        records.send("readings", 0, 0..100).await;
        let first = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 100).await;
        first.close().await;
        records.send("readings", 0, 1_000..1_050).await;
        records.send("readings", 0, 100..110).await;
        kafka.delete_records("readings", &[(0, 150)]).await;
        stopped_service(&database, &kafka, "50 records are gone").await;
        assert_eq!(stored(&database).await, (100, 100));
        let quick = format!("{CONTINUE}, {QUICK}");
        let second = service(&database, source(&kafka, &quick)).await;
        until_stored_once(&database, 110).await;
        second.close().await;
    }

    pub(super) async fn a_topic_that_was_made_again_larger_is_told(database: Database) {
        made_again(database, 200).await;
    }

    pub(super) async fn a_topic_that_was_made_again_smaller_is_told(database: Database) {
        made_again(database, 20).await;
    }

    async fn made_again(database: Database, records_then: u64) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 1, &[]).await;
        Records::to(&kafka).send("readings", 0, 0..100).await;
        let first = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 100).await;
        first.close().await;
        kafka.delete_topic("readings").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        kafka.create_topic("readings", 1, &[]).await;
        Records::to(&kafka)
            .send("readings", 0, 100..100 + records_then)
            .await;
        stopped_service(&database, &kafka, "made again").await;
        assert_eq!(stored(&database).await, (100, 100));
        let quick = format!("{CONTINUE}, {QUICK}");
        let second = service(&database, source(&kafka, &quick)).await;
        until_stored_once(&database, 100 + records_then).await;
        second.close().await;
    }

    pub(super) async fn a_topic_that_is_made_again_while_it_is_read_is_told(database: Database) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 1, &[]).await;
        Records::to(&kafka).send("readings", 0, 0..100).await;
        let service = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 100).await;
        kafka.delete_topic("readings").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        kafka.create_topic("readings", 1, &[]).await;
        Records::to(&kafka).send("readings", 0, 100..120).await;
        assert_stopped(&service, "made again").await;
        assert_eq!(stored(&database).await, (100, 100));
        service.close().await;
    }

    /// A leader that has not all that was acknowledged by the one before takes over, as that is allowed.
    pub(super) async fn records_that_a_leader_lost_are_told(database: Database) {
        let three = Options {
            are_three: true,
            settings: &["min.insync.replicas=1"],
            ..Options::default()
        };
        let Some(mut kafka) = Kafka::start(three).await else {
            return;
        };
        let topic = [
            "unclean.leader.election.enable=true",
            "min.insync.replicas=1",
        ];
        kafka.create_replicated("readings", &[1, 2], &topic).await;
        Records::to(&kafka).send("readings", 0, 0..100).await;
        let first = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 100).await;
        // The follower is left behind, and the leader goes on alone.
        kafka.kill(2);
        until("the leader goes on alone", || async {
            kafka.in_sync("readings").await == [1]
        })
        .await;
        Records::to(&kafka).send("readings", 0, 100..200).await;
        until_stored_once(&database, 200).await;
        first.close().await;
        kafka.kill(1);
        kafka.start_again(2).await;
        until("the one that was left behind leads", || async {
            kafka.leader("readings").await == Some(2)
        })
        .await;
        // More than were lost: offsets alone would show nothing.
        Records::to(&kafka).send("readings", 0, 1_000..1_150).await;
        stopped_service(&database, &kafka, "cut off").await;
        assert_eq!(stored(&database).await, (200, 200));
    }
}

//! Kafka as a source: what is read, what becomes of it, and how it is steered.

use mysql_async::prelude::Queryable as _;
use prost::Message as _;
use reqwest::Method;
use sluicegate_proto::v1::{ColumnBatch, Series};

use crate::{
    common::{database::Database, http, on_each_engine, until, web},
    fetching::{service, service_with, standing, stored, until_state, until_stored_once},
    topics::{QUICK, Records, kafka, source},
};

on_each_engine! {
    readings_are_stored_once_and_go_on_where_they_stood,
}

on_mariadb! {
    what_cannot_be_read_is_in_quarantine_and_hurts_no_other,
    batches_of_the_contract_are_read,
    little_memory_makes_messages_smaller,
    it_is_paused_and_resumed,
    a_broker_that_is_killed_is_waited_for,
    a_topic_that_is_not_there_is_waited_for_and_new_partitions_are_found,
}

async fn readings_are_stored_once_and_go_on_where_they_stood(database: Database) {
    let Some(kafka) = kafka().await else {
        return;
    };
    kafka.create_topic("readings", 2, &[]).await;
    let records = Records::to(&kafka);
    records.send("readings", 0, 0..1_000).await;
    records.send("readings", 1, 1_000..2_000).await;
    let first = service(&database, source(&kafka, "")).await;
    until_stored_once(&database, 2_000).await;
    assert_eq!(standing(&first).await["state"], "running");
    let (_, streams) = http::get(first.rest, "/streams").await.expect("answers");
    let streams = streams["streams"].as_array().expect("a list");
    let of_kafka = |name: &str| name.starts_with("kafka:") && name.ends_with("/readings/1");
    let is_there =
        |stream: &&serde_json::Value| of_kafka(stream["stream_id"].as_str().unwrap_or_default());
    let stream = streams.iter().find(is_there);
    let stream = stream.unwrap_or_else(|| panic!("no stream of the partition: {streams:?}"));
    assert_eq!(stream["committed_seq"], 1_000, "{streams:?}");
    first.close().await;
    let group = kafka.group("sluicegate").await;
    let of_readings = group.lines().filter(|line| line.contains("readings"));
    for line in of_readings {
        let lag = line.split_whitespace().nth(5);
        assert_eq!(lag, Some("0"), "{group}");
    }
    records.send("readings", 0, 2_000..2_500).await;
    let second = service(&database, source(&kafka, "")).await;
    until_stored_once(&database, 2_500).await;
    second.close().await;
}

mod steps {
    use super::*;

    pub(super) async fn what_cannot_be_read_is_in_quarantine_and_hurts_no_other(
        database: Database,
    ) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 1, &[]).await;
        let records = Records::to(&kafka);
        let payloads = [
            r#"{"n":0}"#,
            "no JSON",
            r#"[{"n":1},{"n":"hot"},{"n":2}]"#,
            "",
        ];
        let payloads = payloads.iter().map(|text| text.as_bytes().to_vec());
        records
            .send_payloads("readings", 0, payloads.collect())
            .await;
        records.send_tombstone("readings", 0).await;
        records.send("readings", 0, 3..4).await;
        let service = service(&database, source(&kafka, "")).await;
        until_stored_once(&database, 4).await;
        let sql = "SELECT origin, payload, reason FROM rejected_readings ORDER BY id";
        let mut conn = database.connect().await;
        let found: Vec<(String, Vec<u8>, String)> = conn.query(sql).await.expect("reads");
        let places: Vec<_> = found.iter().map(|(origin, ..)| &**origin).collect();
        assert_eq!(
            places,
            [
                "kafka readings/0 offset 1, line 1",
                "kafka readings/0 offset 2, record 2",
                "kafka readings/0 offset 3"
            ]
        );
        assert_eq!(found[0].1, b"no JSON");
        assert!(found[1].2.contains("hot"), "{:?}", found[1]);
        service.close().await;
    }

    pub(super) async fn batches_of_the_contract_are_read(database: Database) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 1, &[]).await;
        let batch = |from: u64, extend_dictionary| {
            let batch = ColumnBatch {
                series: vec![Series {
                    id1: 4,
                    id2: "LINE".to_owned(),
                    sensor_type: "count".to_owned(),
                }],
                extend_dictionary,
                series_index: vec![0; 100],
                sensor_value: (from..from + 100).map(|n| n as f64).collect(),
                base_timestamp_us: 1_769_860_800_000_000,
                timestamp_delta_us: vec![0; 100],
                series_tags: Vec::new(),
            };
            batch.encode_to_vec()
        };
        let records = Records::to(&kafka);
        let payloads = vec![
            batch(0, false),
            b"\xff\xff".to_vec(),
            batch(500, true),
            batch(100, false),
        ];
        records.send_payloads("readings", 0, payloads).await;
        let mut source = source(&kafka, "");
        source.mapping = None;
        source.protobuf = Some(sluicegate::config::Protobuf::ColumnBatch);
        let service = service(&database, source).await;
        until_stored_once(&database, 200).await;
        let refused = database.quarantined().await;
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert!(refused[1].reason.contains("extend_dictionary"));
        service.close().await;
    }

    pub(super) async fn little_memory_makes_messages_smaller(database: Database) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 2, &[]).await;
        let records = Records::to(&kafka);
        records.send("readings", 0, 0..5_000).await;
        // More readings than a quarter of the memory has room for.
        let large = format!("[{}]", vec![r#"{"n":-1}"#; 20_000].join(","));
        records
            .send_payloads("readings", 1, vec![large.into_bytes()])
            .await;
        records.send("readings", 1, 5_000..10_000).await;
        let least = |settings: &mut sluicegate::config::Settings| {
            settings.ingest.budget_bytes = Some(1 << 20);
        };
        let service = service_with(&database, source(&kafka, QUICK), least).await;
        until_stored_once(&database, 10_000).await;
        let refused = database.quarantined().await;
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(
            refused[0].reason.contains("ingest.budget_bytes"),
            "{refused:?}"
        );
        service.close().await;
    }

    pub(super) async fn it_is_paused_and_resumed(database: Database) {
        let Some(kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 1, &[]).await;
        let records = Records::to(&kafka);
        records.send("readings", 0, 0..10).await;
        let service = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 10).await;
        let client = web::builder().build().expect("a client");
        let steer = async |name: &str, what: &str| {
            let url = format!("http://{}/sources/{name}/{what}", service.rest);
            let answer = client.request(Method::PUT, url).send().await;
            answer.expect("answers").status().as_u16()
        };
        assert_eq!(steer("plant", "pause").await, 200);
        until_state(&service, "paused").await;
        records.send("readings", 0, 10..20).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(stored(&database).await, (10, 10));
        assert_eq!(steer("plant", "resume").await, 200);
        until_stored_once(&database, 20).await;
        assert_eq!(steer("plan", "resume").await, 404);
        service.close().await;
    }

    pub(super) async fn a_broker_that_is_killed_is_waited_for(database: Database) {
        let Some(mut kafka) = kafka().await else {
            return;
        };
        kafka.create_topic("readings", 1, &[]).await;
        let records = Records::to(&kafka);
        records.send("readings", 0, 0..1_000).await;
        let service = service(&database, source(&kafka, QUICK)).await;
        until_stored_once(&database, 1_000).await;
        kafka.kill(1);
        let waiting = until_state(&service, "waiting").await;
        assert!(waiting["reason"].is_string(), "{waiting}");
        kafka.start_again(1).await;
        records.send("readings", 0, 1_000..2_000).await;
        until_stored_once(&database, 2_000).await;
        until_state(&service, "running").await;
        service.close().await;
    }

    pub(super) async fn a_topic_that_is_not_there_is_waited_for_and_new_partitions_are_found(
        database: Database,
    ) {
        let Some(kafka) = kafka().await else {
            return;
        };
        let service = service(&database, source(&kafka, QUICK)).await;
        until("it says that it waits for the topic", || async {
            let standing = standing(&service).await;
            let reason = standing["reason"].as_str().unwrap_or_default();
            standing["state"] == "waiting" && reason.contains("not there yet")
        })
        .await;
        kafka.create_topic("readings", 1, &[]).await;
        let records = Records::to(&kafka);
        records.send("readings", 0, 0..100).await;
        until_stored_once(&database, 100).await;
        until_state(&service, "running").await;
        kafka.set_partitions("readings", 3).await;
        let records = Records::to(&kafka);
        records.send("readings", 2, 100..200).await;
        until_stored_once(&database, 200).await;
        service.close().await;
    }
}

//! Brokers of MQTT as sources: each message of QoS 1 is stored, and acknowledged after that.

use std::ops::Range;

use mysql_async::prelude::Queryable as _;
use sluicegate::config::SourceSettings;

use crate::{
    common::{
        brokers::{
            mosquitto::{Mosquitto, Options},
            senders::send_mqtt,
        },
        certs::Authority,
        database::Database,
        http, on_each_engine,
        service::Service,
        until,
    },
    fetching::{
        assert_stored_once_over_stops, message, service, source_of, standing, stored,
        until_all_stored, until_state, until_stored_once,
    },
};

on_each_engine! {
    messages_are_stored_also_those_that_came_while_nobody_was_there,
}

on_mariadb! {
    nothing_comes_twice_although_it_is_stopped_in_mid_work,
    a_topic_says_what_is_measured,
    what_cannot_be_read_is_in_quarantine_with_its_topic,
    a_broker_that_is_killed_is_waited_for,
    instances_share_a_subscription,
    it_is_read_over_tls_with_a_certificate,
    a_wrong_password_is_told,
}

/// All that comes is kept for who is away.
const KEEPS: Options<'static> = Options {
    data_within: None,
    settings: &["max_queued_messages 100000"],
    users: &[],
    authority: None,
    needs_certificate: false,
};

fn source(broker: &Mosquitto, more: &str) -> SourceSettings {
    let port = broker.port();
    source_of(&format!(
        "mqtt: {{broker: '127.0.0.1:{port}', topics: ['plant/#'], {more}}}"
    ))
}

/// Sends each number as a message.
async fn send(broker: &Mosquitto, topic: &str, numbers: Range<u64>) {
    send_mqtt(broker.port(), topic, numbers.map(message).collect()).await;
}

/// How many messages came that had come before.
async fn redelivered(service: &Service) -> u64 {
    let (_, metrics) = http::text(service.rest, "/metrics").await.expect("answers");
    let name = "sluicegate_source_redelivered_total{";
    let line = metrics.lines().find(|line| line.starts_with(name));
    let count = line.and_then(|line| line.rsplit(' ').next());
    count.and_then(|count| count.parse().ok()).expect("a count")
}

async fn messages_are_stored_also_those_that_came_while_nobody_was_there(database: Database) {
    let Some(broker) = Mosquitto::start(KEEPS).await else {
        return;
    };
    let first = service(&database, source(&broker, "receive_maximum: 50")).await;
    let running = until_state(&first, "running").await;
    assert_eq!(running["kind"], "mqtt");
    send(&broker, "plant/a", 0..2_000).await;
    until_stored_once(&database, 2_000).await;
    first.close().await;
    send(&broker, "plant/b", 2_000..2_500).await;
    let second = service(&database, source(&broker, "")).await;
    until_stored_once(&database, 2_500).await;
    assert_eq!(redelivered(&second).await, 0, "the first one told all");
    second.close().await;
}

mod steps {
    use super::*;

    pub(super) async fn nothing_comes_twice_although_it_is_stopped_in_mid_work(database: Database) {
        const MESSAGES: u64 = 20_000;
        let Some(broker) = Mosquitto::start(KEEPS).await else {
            return;
        };
        let subscribed = service(&database, source(&broker, "receive_maximum: 100")).await;
        until_state(&subscribed, "running").await;
        subscribed.close().await;
        send(&broker, "plant/a", 0..MESSAGES).await;
        assert_stored_once_over_stops(&database, MESSAGES, || {
            source(&broker, "receive_maximum: 100")
        })
        .await;
    }

    pub(super) async fn a_topic_says_what_is_measured(database: Database) {
        let Some(broker) = Mosquitto::start(KEEPS).await else {
            return;
        };
        let port = broker.port();
        let text = format!(
            "{{name: plant, \
              mapping: {{format: plain, topic: 'plant/{{id1}}/{{id2}}/{{sensor_type}}'}}, \
              mqtt: {{broker: '127.0.0.1:{port}', topics: ['plant/+/+/+']}}}}"
        );
        let source = serde_norway::from_str(&text).expect("a source");
        let service = service(&database, source).await;
        until_state(&service, "running").await;
        broker
            .publish("plant/7/OVEN/temperature", "181.5", &["-q", "1"])
            .await;
        until("it is stored", async || stored(&database).await.0 == 1).await;
        let sql = "SELECT sensor_value, sensor_type, id1, id2 FROM sensor_readings";
        let mut conn = database.connect().await;
        let row: Option<(f64, String, i32, String)> = conn.query_first(sql).await.expect("reads");
        let expected = (181.5, "temperature".to_owned(), 7, "OVEN".to_owned());
        assert_eq!(row, Some(expected));
        service.close().await;
    }

    pub(super) async fn what_cannot_be_read_is_in_quarantine_with_its_topic(database: Database) {
        let Some(broker) = Mosquitto::start(KEEPS).await else {
            return;
        };
        let service = service(&database, source(&broker, "")).await;
        until_state(&service, "running").await;
        broker.publish("plant/x", "no JSON", &["-q", "1"]).await;
        broker.publish("plant/x", r#"{"n":0}"#, &["-q", "0"]).await;
        until_stored_once(&database, 1).await;
        let (origin, payload) = database.first_origin().await;
        assert_eq!(origin, "mqtt plant/x, line 1");
        assert_eq!(payload, b"no JSON");
        service.close().await;
    }

    pub(super) async fn a_broker_that_is_killed_is_waited_for(database: Database) {
        let Some(mut broker) = Mosquitto::start(KEEPS).await else {
            return;
        };
        let service = service(&database, source(&broker, "")).await;
        until_state(&service, "running").await;
        send(&broker, "plant/a", 0..500).await;
        until_stored_once(&database, 500).await;
        broker.settle().await;
        broker.kill();
        let waiting = until_state(&service, "waiting").await;
        assert!(waiting["reason"].is_string(), "{waiting}");
        broker.start_again().await;
        until_state(&service, "running").await;
        send(&broker, "plant/a", 500..1_000).await;
        // What it had not written down as acknowledged came again.
        until_all_stored(&database, 1_000).await;
        let (rows, numbers) = stored(&database).await;
        let told = redelivered(&service).await;
        assert!(rows - numbers <= told, "{rows} of {numbers}, {told} told");
        service.close().await;
    }

    pub(super) async fn instances_share_a_subscription(database: Database) {
        let Some(broker) = Mosquitto::start(KEEPS).await else {
            return;
        };
        let first = service(&database, source(&broker, "group: plant, client_id: first")).await;
        let second = service(
            &database,
            source(&broker, "group: plant, client_id: second"),
        )
        .await;
        until_state(&first, "running").await;
        until_state(&second, "running").await;
        send(&broker, "plant/a", 0..1_000).await;
        until_stored_once(&database, 1_000).await;
        for service in [&first, &second] {
            assert_eq!(standing(service).await["state"], "running");
        }
        second.close().await;
        send(&broker, "plant/a", 1_000..1_100).await;
        until("what the first one gets is stored", async || {
            stored(&database).await.0 > 1_000
        })
        .await;
        first.close().await;
    }

    pub(super) async fn it_is_read_over_tls_with_a_certificate(database: Database) {
        let authority = Authority::new();
        authority.client("plant");
        let options = Options {
            authority: Some(&authority),
            needs_certificate: true,
            ..KEEPS
        };
        let Some(broker) = Mosquitto::start(options).await else {
            return;
        };
        let (port, ca) = (broker.port(), authority.path("ca.pem"));
        let over = |more: &str| {
            source_of(&format!(
                "mqtt: {{broker: 'localhost:{port}', topics: ['plant/#'], tls: {{ca: '{ca}'{more}}}}}"
            ))
        };
        let refused = service(&database, over("")).await;
        until_state(&refused, "waiting").await;
        refused.close().await;
        let (cert, key) = (authority.path("plant.pem"), authority.path("plant.key"));
        let shown = over(&format!(", cert: '{cert}', key: '{key}'"));
        let service = service(&database, shown).await;
        until_state(&service, "running").await;
        let shown = ["-q", "1", "--cert", &cert, "--key", &key];
        broker.publish("plant/x", r#"{"n":0}"#, &shown).await;
        until_stored_once(&database, 1).await;
        service.close().await;
    }

    pub(super) async fn a_wrong_password_is_told(database: Database) {
        let options = Options {
            users: &[("plant", "right")],
            ..KEEPS
        };
        let Some(broker) = Mosquitto::start(options).await else {
            return;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let with = |password: &str| {
            let path = folder.path().join(password);
            std::fs::write(&path, password).expect("written");
            let more = format!("username: plant, password: {{file: '{}'}}", path.display());
            source(&broker, &more)
        };
        // It may have stopped before anybody looks whether the service is ready.
        let wrong = SourceSettings {
            optional: true,
            ..with("wrong")
        };
        let wrong = service(&database, wrong).await;
        let stopped = until_state(&wrong, "stopped").await;
        let reason = stopped["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("NotAuthorized"), "{stopped}");
        assert!(!reason.contains("wrong"), "{stopped}");
        wrong.close().await;
        let right = service(&database, with("right")).await;
        until_state(&right, "running").await;
        right.close().await;
    }
}

//! Quorum and classic queues of RabbitMQ as sources: each message is stored, and acknowledged after that.

use lapin::types::AMQPValue;

use crate::{
    common::{brokers::rabbitmq::RabbitMq, database::Database, on_each_engine, until},
    fetching::{
        assert_stored_once_over_stops, service, standing, stored, until_state, until_stored_once,
    },
    queues::Messages,
};

on_each_engine! {
    what_is_stored_is_acknowledged,
}

on_mariadb! {
    nothing_comes_twice_although_it_is_stopped_in_mid_work,
    a_classic_queue_is_read_as_well,
    what_cannot_be_decoded_goes_to_dead_letters_if_wanted,
    a_queue_that_is_not_there_is_waited_for,
    a_stream_is_told_from_a_queue,
    messages_outlive_a_database_that_is_away,
}

async fn what_is_stored_is_acknowledged(database: Database) {
    read_and_acknowledged(database, "quorum").await;
}

async fn read_and_acknowledged(database: Database, kind: &str) {
    let Some(broker) = RabbitMq::shared().await else {
        return;
    };
    let messages = Messages::to(broker).await;
    messages.declare(kind).await;
    messages.send(0..3_000).await;
    let first = service(&database, messages.source("queue", "prefetch: 700")).await;
    until_stored_once(&database, 3_000).await;
    first.close().await;
    // What was not acknowledged is there again once its consumer is gone.
    assert_eq!(messages.left().await, 0);
    messages.send(3_000..3_100).await;
    let second = service(&database, messages.source("queue", "")).await;
    until_stored_once(&database, 3_100).await;
    second.close().await;
}

mod steps {
    use super::*;

    pub(super) async fn nothing_comes_twice_although_it_is_stopped_in_mid_work(database: Database) {
        const MESSAGES: u64 = 20_000;
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("quorum").await;
        let idle = service(&database, messages.source("queue", "")).await;
        idle.close().await;
        messages.send(0..MESSAGES).await;
        assert_stored_once_over_stops(&database, MESSAGES, || {
            messages.source("queue", "prefetch: 100")
        })
        .await;
    }

    pub(super) async fn a_classic_queue_is_read_as_well(database: Database) {
        read_and_acknowledged(database, "classic").await;
    }

    pub(super) async fn what_cannot_be_decoded_goes_to_dead_letters_if_wanted(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        let dead = format!("{}-dead", messages.queue);
        messages.sender.declare(&dead, "classic", &[]).await;
        let to_dead = [
            ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
            (
                "x-dead-letter-routing-key",
                AMQPValue::LongString(dead.as_str().into()),
            ),
        ];
        messages
            .sender
            .declare(&messages.queue, "classic", &to_dead)
            .await;
        let payloads = ["bad 1", r#"{"n":0}"#, "bad 2", r#"{"n":1}"#, "bad 3"];
        let payloads = payloads.iter().map(|text| text.as_bytes().to_vec());
        messages.send_payloads(payloads.collect()).await;
        let first = service(&database, messages.source("queue", "dead_letter: true")).await;
        until("three are dead letters", async || {
            messages.sender.waiting(&dead).await == 3
        })
        .await;
        until_stored_once(&database, 2).await;
        assert_eq!(broker.get(&dead).await.as_deref(), Some("bad 1"));
        assert_eq!(database.quarantined().await.len(), 3);
        // A channel that was closed over an acknowledgement of nothing would have begun anew.
        messages.send(2..10).await;
        until_stored_once(&database, 10).await;
        assert_eq!(standing(&first).await["state"], "running");
        first.close().await;
        assert_eq!(messages.left().await, 0);
    }

    pub(super) async fn a_queue_that_is_not_there_is_waited_for(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        let service = service(&database, messages.source("queue", "")).await;
        until("it says that it waits for the queue", || async {
            let standing = standing(&service).await;
            let reason = standing["reason"].as_str().unwrap_or_default();
            standing["state"] == "waiting" && reason.contains("not there yet")
        })
        .await;
        messages.declare("classic").await;
        messages.send(0..10).await;
        until_stored_once(&database, 10).await;
        service.close().await;
    }

    pub(super) async fn a_stream_is_told_from_a_queue(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("stream").await;
        let service = service(&database, messages.source("queue", "")).await;
        until_state(&service, "running").await;
        messages.send(0..1).await;
        let stopped = until_state(&service, "stopped").await;
        let reason = stopped["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("rabbitmq.stream"), "{stopped}");
        assert_eq!(stored(&database).await, (0, 0));
        service.close().await;
    }

    pub(super) async fn messages_outlive_a_database_that_is_away(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("quorum").await;
        let service = service(&database, messages.source("queue", "")).await;
        until_state(&service, "running").await;
        // A table that is not there takes nothing.
        database.run("RENAME TABLE sensor_readings TO kept").await;
        messages.send(0..2_000).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        database.run("RENAME TABLE kept TO sensor_readings").await;
        until_stored_once(&database, 2_000).await;
        assert!(database.quarantined().await.is_empty());
        service.close().await;
        assert_eq!(messages.left().await, 0);
    }
}

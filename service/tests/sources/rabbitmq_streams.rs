//! Streams of RabbitMQ as sources: each message is stored once.

use std::time::Duration;

use crate::{
    common::{
        brokers::rabbitmq::{Options, RabbitMq},
        certs::Authority,
        database::Database,
        http, on_each_engine, until,
    },
    fetching::{
        service, source_of, standing, stored, until_fetched_once, until_state, until_stored_once,
    },
    queues::Messages,
};

on_each_engine! {
    messages_are_stored_once_and_go_on_where_they_stood,
}

on_mariadb! {
    what_cannot_be_read_is_in_quarantine_with_its_offset,
    a_stream_that_was_made_again_is_noticed,
    a_stream_that_was_made_again_and_is_shorter_is_noticed,
    a_broker_that_is_killed_is_waited_for,
    a_stream_that_was_silent_is_read_on,
    one_instance_reads_and_the_other_stands_by,
    a_queue_that_is_no_stream_is_told,
    it_is_read_over_tls,
}

async fn messages_are_stored_once_and_go_on_where_they_stood(database: Database) {
    let Some(broker) = RabbitMq::shared().await else {
        return;
    };
    let messages = Messages::to(broker).await;
    messages.declare("stream").await;
    messages.send(0..3_000).await;
    let first = service(&database, messages.source("stream", "")).await;
    until_stored_once(&database, 3_000).await;
    assert_eq!(standing(&first).await["state"], "running");
    assert_eq!(standing(&first).await["kind"], "rabbitmq");
    messages.send(3_000..3_500).await;
    until_stored_once(&database, 3_500).await;
    let (_, streams) = http::get(first.rest, "/streams").await.expect("answers");
    let streams = streams["streams"].as_array().expect("a list");
    let of_it = |stream: &&serde_json::Value| {
        stream["stream_id"] == format!("rabbitmq:plant/{}", messages.queue)
    };
    let stream = streams.iter().find(of_it);
    let stream = stream.unwrap_or_else(|| panic!("no stream of it: {streams:?}"));
    assert_eq!(stream["committed_seq"], 3_500, "{streams:?}");
    first.close().await;
    messages.send(3_500..4_000).await;
    let second = service(&database, messages.source("stream", "")).await;
    until_stored_once(&database, 4_000).await;
    second.close().await;
}

mod steps {
    use super::*;

    pub(super) async fn what_cannot_be_read_is_in_quarantine_with_its_offset(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("stream").await;
        messages.send(0..2).await;
        let payloads = vec![b"no JSON".to_vec(), br#"{"n":2}"#.to_vec()];
        messages.send_payloads(payloads).await;
        let service = service(&database, messages.source("stream", "")).await;
        until_stored_once(&database, 3).await;
        let (origin, payload) = database.first_origin().await;
        assert_eq!(
            origin,
            format!("rabbitmq {} offset 2, line 1", messages.queue)
        );
        assert_eq!(payload, b"no JSON");
        service.close().await;
    }

    pub(super) async fn a_stream_that_was_made_again_is_noticed(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("stream").await;
        messages.send(0..100).await;
        let first = service(&database, messages.source("stream", "")).await;
        until_stored_once(&database, 100).await;
        first.close().await;
        messages.delete().await;
        messages.declare("stream").await;
        messages.send(100..300).await;
        let second = service(&database, messages.source("stream", "")).await;
        let stopped = until_state(&second, "stopped").await;
        let reason = stopped["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("made again"), "{stopped}");
        assert_eq!(stored(&database).await, (100, 100));
        second.close().await;
        let on = messages.source("stream", "on_data_loss: continue");
        let third = service(&database, on).await;
        until_stored_once(&database, 300).await;
        third.close().await;
    }

    pub(super) async fn a_stream_that_was_made_again_and_is_shorter_is_noticed(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("stream").await;
        messages.send(0..100).await;
        let first = service(&database, messages.source("stream", "")).await;
        until_stored_once(&database, 100).await;
        first.close().await;
        messages.delete().await;
        messages.declare("stream").await;
        messages.send(100..110).await;
        let on = messages.source("stream", "on_data_loss: continue");
        let second = service(&database, on).await;
        until("it says that the last message is not there", || async {
            let standing = standing(&second).await;
            let reason = standing["reason"].as_str().unwrap_or_default();
            reason.contains("message 99")
        })
        .await;
        // One that comes while it looks shows that the others are not what was read.
        let mut next = 110;
        while stored(&database).await.0 == 100 {
            messages.send(next..next + 1).await;
            next += 1;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        until_stored_once(&database, next).await;
        second.close().await;
    }

    pub(super) async fn a_broker_that_is_killed_is_waited_for(database: Database) {
        let Some(mut broker) = RabbitMq::start(Options::default()).await else {
            return;
        };
        let messages = Messages::to(&broker).await;
        messages.declare("stream").await;
        messages.send(0..1_000).await;
        broker.settle().await;
        let service = service(&database, messages.source("stream", "")).await;
        until_stored_once(&database, 1_000).await;
        broker.kill();
        let waiting = until_state(&service, "waiting").await;
        assert!(waiting["reason"].is_string(), "{waiting}");
        broker.start_again().await;
        let messages = messages.again(&broker).await;
        messages.send_after_crash(1_000..2_000).await;
        until_fetched_once(&service, &database, 2_000).await;
        until_state(&service, "running").await;
        service.close().await;
    }

    pub(super) async fn a_stream_that_was_silent_is_read_on(database: Database) {
        // It is read anew twice meanwhile.
        const SILENCE: Duration = Duration::from_secs(22);
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("stream").await;
        messages.send(0..100).await;
        let first = service(&database, messages.source("stream", "")).await;
        until_stored_once(&database, 100).await;
        first.close().await;
        let second = service(&database, messages.source("stream", "")).await;
        tokio::time::sleep(SILENCE).await;
        let standing = standing(&second).await;
        assert_eq!(standing["state"], "running");
        assert!(standing["for_s"].as_u64() > Some(15), "{standing}");
        messages.send(100..300).await;
        until_stored_once(&database, 300).await;
        second.close().await;
    }

    pub(super) async fn one_instance_reads_and_the_other_stands_by(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("stream").await;
        messages.send(0..100).await;
        let first = service(&database, messages.source("stream", "")).await;
        until_stored_once(&database, 100).await;
        let second = service(&database, messages.source("stream", "")).await;
        until("the second one stands by", || async {
            let standing = standing(&second).await;
            let reason = standing["reason"].as_str().unwrap_or_default();
            standing["state"] == "running" && reason.contains("another instance")
        })
        .await;
        messages.send(100..200).await;
        until_stored_once(&database, 200).await;
        first.close().await;
        messages.send(200..300).await;
        until_stored_once(&database, 300).await;
        assert!(standing(&second).await["reason"].is_null());
        second.close().await;
    }

    pub(super) async fn a_queue_that_is_no_stream_is_told(database: Database) {
        let Some(broker) = RabbitMq::shared().await else {
            return;
        };
        let messages = Messages::to(broker).await;
        messages.declare("quorum").await;
        messages.send(0..1).await;
        let service = service(&database, messages.source("stream", "")).await;
        let stopped = until_state(&service, "stopped").await;
        let reason = stopped["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("rabbitmq.queue"), "{stopped}");
        assert_eq!(stored(&database).await, (0, 0));
        service.close().await;
    }

    pub(super) async fn it_is_read_over_tls(database: Database) {
        let authority = Authority::new();
        let options = Options {
            authority: Some(&authority),
            ..Options::default()
        };
        let Some(broker) = RabbitMq::start(options).await else {
            return;
        };
        let messages = Messages::to(&broker).await;
        messages.declare("stream").await;
        messages.send(0..10).await;
        let over = |ca: &str| {
            let (port, stream) = (broker.tls_port(), &messages.queue);
            source_of(&format!(
                "rabbitmq: {{brokers: ['localhost:{port}'], stream: {stream}, tls: {{ca: '{ca}'}}}}"
            ))
        };
        let stranger = Authority::new();
        let refusing = service(&database, over(&stranger.path("ca.pem"))).await;
        let waiting = until_state(&refusing, "waiting").await;
        assert!(
            waiting["reason"]
                .as_str()
                .is_some_and(|it| it.contains("certificate")),
            "{waiting}"
        );
        refusing.close().await;
        let service = service(&database, over(&authority.path("ca.pem"))).await;
        until_stored_once(&database, 10).await;
        service.close().await;
    }
}

//! RabbitMQ for the tests.

use crate::common::{
    bounded,
    brokers::rabbitmq::{Options, RabbitMq},
    until,
};

/// Of a durable quorum queue `readings`.
const DECLARATION: &str = r#"rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"readings">>), true, false,
    [{<<"x-queue-type">>, longstr, <<"quorum">>}], none, <<"test">>)."#;
/// A quorum queue counts a message once it is written.
const READY: &str = r#"{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"readings">>)),
    {ok, Ready, _} = rabbit_quorum_queue:stat(Q), Ready."#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_starts_is_killed_and_comes_back_with_its_data() {
    let Some(mut broker) = RabbitMq::start(Options::default()).await else {
        return;
    };
    bounded(async {
        let port = broker.port();
        broker.eval(DECLARATION).await;
        broker.settle().await;
        for message in ["one", "two"] {
            broker.publish("readings", message).await;
        }
        until("both are written", async || {
            broker.eval(READY).await.trim() == "2"
        })
        .await;
        broker.kill();
        broker.start_again().await;
        assert_eq!(broker.port(), port);
        assert_eq!(broker.get("readings").await.as_deref(), Some("one"));
        assert_eq!(broker.get("readings").await.as_deref(), Some("two"));
        assert_eq!(broker.get("readings").await, None);
    })
    .await;
}

//! Apache Kafka for the tests.

use crate::common::{
    bounded,
    brokers::kafka::{Kafka, Options},
    certs::Authority,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_starts_is_killed_and_comes_back_with_its_data() {
    let Some(mut kafka) = Kafka::start(Options::default()).await else {
        return;
    };
    bounded(async {
        kafka.create_topic("readings", 1, &[]).await;
        kafka.produce("readings", "one\ntwo\n").await;
        let servers = kafka.servers();
        kafka.kill(1);
        kafka.start_again(1).await;
        assert_eq!(kafka.servers(), servers);
        assert_eq!(kafka.consume("readings", 2).await, ["one", "two"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_take_records_while_one_is_down() {
    let options = Options {
        are_three: true,
        ..Options::default()
    };
    let Some(mut kafka) = Kafka::start(options).await else {
        return;
    };
    bounded(async {
        kafka.create_topic("readings", 3, &[]).await;
        kafka.kill(3);
        kafka.produce("readings", "one\ntwo\n").await;
        kafka.start_again(3).await;
        let end_offsets = kafka.end_offsets("readings").await;
        assert_eq!(end_offsets.len(), 3, "{end_offsets:?}");
        let records: i64 = end_offsets.iter().map(|(_, offset)| offset).sum();
        assert_eq!(records, 2, "{end_offsets:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_door_shows_a_certificate_and_asks_for_a_password() {
    let authority = Authority::new();
    let options = Options {
        authority: Some(&authority),
        users: &[("sensor", "of the roof")],
        ..Options::default()
    };
    let Some(kafka) = Kafka::start(options).await else {
        return;
    };
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let client = format!(
        "security.protocol=SASL_SSL
        sasl.mechanism=SCRAM-SHA-512
        sasl.jaas.config={module} required username=\"sensor\" password=\"of the roof\";
        ssl.truststore.type=PEM
        ssl.truststore.location={}",
        authority.path("ca.pem")
    );
    bounded(async {
        kafka.create_topic("readings", 1, &[]).await;
        let class = "org.apache.kafka.tools.TopicCommand";
        let topics = kafka.secured_tool(class, &["--list"], &client).await;
        assert_eq!(topics, "readings\n");
    })
    .await;
}

//! Apache Kafka for the tests.

use crate::common::{bounded, brokers::kafka::Kafka};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_starts_is_killed_and_comes_back_with_its_data() {
    let Some(mut kafka) = Kafka::start(&[]).await else {
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
    let Some(mut kafka) = Kafka::start_three(&[]).await else {
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

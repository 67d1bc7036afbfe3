//! Records of Kafka for the tests.

use std::{ops::Range, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, FutureRecord, Producer as _},
};
use sluicegate::config::SourceSettings;

use crate::{
    common::brokers::{
        kafka::{Kafka, Options},
        senders::KafkaSender,
    },
    fetching::{message, source_of},
};

/// One node.
pub(crate) async fn kafka() -> Option<Kafka> {
    Kafka::start(Options::default()).await
}

/// A source of the topic `readings`, whose values are the numbers of records.
pub(crate) fn source(kafka: &Kafka, more: &str) -> SourceSettings {
    let servers = kafka.servers().replace(',', ", ");
    source_of(&format!(
        "kafka: {{brokers: [{servers}], topics: [readings], {more}}}"
    ))
}

/// A group that notices soon when a member is gone.
pub(crate) const QUICK: &str = "properties: {session.timeout.ms: '3000', heartbeat.interval.ms: '500', \
     topic.metadata.refresh.interval.ms: '1000'}";

pub(crate) struct Records(KafkaSender);

impl Records {
    pub(crate) fn to(kafka: &Kafka) -> Self {
        Self(KafkaSender::to(&kafka.servers()))
    }

    /// Each number as a record of its own.
    pub(crate) async fn send(&self, topic: &str, partition: i32, numbers: Range<u64>) {
        let payloads = numbers.map(message);
        self.send_payloads(topic, partition, payloads.collect())
            .await;
    }

    pub(crate) async fn send_payloads(&self, topic: &str, partition: i32, payloads: Vec<Vec<u8>>) {
        self.0.send(topic, partition, payloads).await;
    }

    /// A number as the value of a key.
    pub(crate) async fn send_keyed(&self, topic: &str, key: &str, n: u64) {
        let payload = format!(r#"{{"n":{n}}}"#);
        let record = FutureRecord::to(topic)
            .partition(0)
            .key(key)
            .payload(&payload);
        let sent = self.0.0.send(record, Duration::from_secs(30)).await;
        sent.expect("is taken");
    }

    /// One that says that its key is gone.
    pub(crate) async fn send_tombstone(&self, topic: &str, partition: i32) {
        let record = FutureRecord::<_, Vec<u8>>::to(topic)
            .partition(partition)
            .key("gone");
        let sent = self.0.0.send(record, Duration::from_secs(30)).await;
        sent.expect("is taken");
    }
}

/// The numbers in a transaction, which is committed or not.
pub(crate) async fn transaction(
    kafka: &Kafka,
    topic: &'static str,
    numbers: Range<u64>,
    is_committed: bool,
) {
    let mut config = KafkaSender::config(&kafka.servers());
    config.set("transactional.id", "of-the-test");
    let work = move || {
        let limit = Duration::from_secs(20);
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(limit).expect("begins");
        producer.begin_transaction().expect("begins");
        for n in numbers {
            let payload = format!(r#"{{"n":{n}}}"#);
            let record = BaseRecord::<(), _>::to(topic)
                .partition(0)
                .payload(&payload);
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("is taken");
        }
        producer.flush(limit).expect("is sent");
        match is_committed {
            true => producer.commit_transaction(limit),
            false => producer.abort_transaction(limit),
        }
        .expect("ends");
    };
    tokio::task::spawn_blocking(work).await.expect("no panic");
}

/// How many records the first partition has.
pub(crate) async fn all_records(kafka: &Kafka, topic: &'static str) -> usize {
    let mut config = KafkaSender::config(&kafka.servers());
    config
        .remove("enable.idempotence")
        .remove("linger.ms")
        .set("group.id", "counts")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true");
    let count = move || {
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut whole = TopicPartitionList::new();
        let begin = whole.add_partition_offset(topic, 0, Offset::Beginning);
        begin.expect("a partition");
        consumer.assign(&whole).expect("begins");
        let mut count = 0;
        loop {
            match consumer.poll(Duration::from_secs(10)) {
                Some(Ok(_)) => count += 1,
                Some(Err(KafkaError::PartitionEOF(_))) => return count,
                Some(Err(_)) => {}
                None => panic!("no end"),
            }
        }
    };
    tokio::task::spawn_blocking(count).await.expect("no panic")
}

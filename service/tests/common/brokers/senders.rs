//! Who sends to brokers, and knows what they have.

use std::{collections::HashSet, time::Duration};

use futures::{StreamExt as _, future::join_all};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use tokio::time::timeout;

/// So many messages are on their way to the broker.
const UNCONFIRMED: usize = 500;
/// How long a broker may take to confirm a message, its own restart included.
const CONFIRM_LIMIT: Duration = Duration::from_secs(120);
/// A stream that has brought nothing for so long has been read to its end.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// How long a record may take.
const SEND_LIMIT: Duration = Duration::from_secs(30);

/// To Kafka: each record once.
pub(crate) struct KafkaSender(pub(crate) FutureProducer);

impl KafkaSender {
    pub(crate) fn config(servers: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", servers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "2");
        config
    }

    pub(crate) fn to(servers: &str) -> Self {
        Self(Self::config(servers).create().expect("a producer"))
    }

    pub(crate) async fn send(&self, topic: &str, partition: i32, payloads: Vec<Vec<u8>>) {
        let sending = payloads.iter().map(|payload| {
            let record = FutureRecord::<(), _>::to(topic)
                .partition(partition)
                .payload(payload);
            self.0.send(record, SEND_LIMIT)
        });
        for sent in join_all(sending).await {
            sent.expect("is taken");
        }
    }
}

/// To queues of RabbitMQ.
pub(crate) struct RabbitMqSender {
    channel: Channel,
    _connection: Connection,
}

impl RabbitMqSender {
    pub(crate) async fn to(url: &str) -> Self {
        let connecting = Connection::connect(url, ConnectionProperties::default());
        let connection = connecting.await.expect("connects");
        let channel = connection.create_channel().await.expect("a channel");
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.expect("confirms");
        Self {
            channel,
            _connection: connection,
        }
    }

    /// Declares a queue of a kind: `stream`, `quorum` or `classic`.
    pub(crate) async fn declare(&self, queue: &str, kind: &str, more: &[(&str, AMQPValue)]) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        for (name, value) in more {
            arguments.insert((*name).into(), value.clone());
        }
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declared = self.channel.queue_declare(queue.into(), durable, arguments);
        declared.await.expect("is declared");
    }

    pub(crate) async fn delete(&self, queue: &str) {
        let options = QueueDeleteOptions::default();
        let deleted = self.channel.queue_delete(queue.into(), options);
        deleted.await.expect("is deleted");
    }

    pub(crate) async fn send(&self, queue: &str, payloads: Vec<Vec<u8>>) {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        for some in payloads.chunks(UNCONFIRMED) {
            let mut sent = Vec::new();
            for payload in some {
                let publishing = self.channel.basic_publish(
                    "".into(),
                    queue.into(),
                    BasicPublishOptions::default(),
                    payload,
                    persistent.clone(),
                );
                sent.push(publishing.await.expect("is sent"));
            }
            for confirm in sent {
                let confirmed = timeout(CONFIRM_LIMIT, confirm).await;
                confirmed.expect("in time").expect("is confirmed");
            }
        }
    }

    /// Those of the messages that a stream does not have. RabbitMQ 3.10 has been seen to confirm messages of streams and to have
    /// lost them after a crash, or never to confirm them.
    pub(crate) async fn missing(&self, stream: &str, payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-stream-offset".into(),
            AMQPValue::LongString("first".into()),
        );
        let bounded = self.channel.basic_qos(1_000, BasicQosOptions::default());
        bounded.await.expect("a bound");
        let options = BasicConsumeOptions::default();
        let consuming = self
            .channel
            .basic_consume(stream.into(), "".into(), options, arguments);
        let mut consumer = consuming.await.expect("a consumer");
        let mut missing: HashSet<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        while let Ok(next) = timeout(SILENCE_LIMIT, consumer.next()).await {
            let message = next.expect("goes on").expect("a message");
            missing.remove(message.data.as_slice());
            let taken = message.ack(BasicAckOptions::default());
            taken.await.expect("is taken");
        }
        let tag = consumer.tag();
        let ended = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        ended.await.expect("ends");
        missing.into_iter().map(<[u8]>::to_vec).collect()
    }

    /// How many messages wait in a queue, and are with no consumer.
    pub(crate) async fn waiting(&self, queue: &str) -> u32 {
        let asks = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = self
            .channel
            .queue_declare(queue.into(), asks, FieldTable::default());
        asked.await.expect("is there").message_count()
    }
}

/// To a topic of MQTT, with QoS 1. It waits until the broker has them all.
pub(crate) async fn send_mqtt(port: u16, topic: &str, payloads: Vec<Vec<u8>>) {
    let mut options = MqttOptions::new("sender", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = AsyncClient::new(options, 100);
    let mut left = payloads.len();
    let sending = async {
        for payload in payloads {
            let sent = client.publish(topic, QoS::AtLeastOnce, false, payload);
            sent.await.expect("is sent");
        }
    };
    let acknowledged = async {
        while left > 0 {
            if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.expect("goes on") {
                left -= 1;
            }
        }
    };
    tokio::join!(sending, acknowledged);
    client.disconnect().await.expect("ends");
    let _ = events.poll().await;
}

//! A broker of each kind, behind a network of ours.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;
use tokio::time::timeout;

use crate::{
    common::brokers::{
        kafka::{self, Kafka},
        mosquitto::{self, Mosquitto},
        rabbitmq::{self, RabbitMq},
        senders::{KafkaSender, RabbitMqSender, send_mqtt},
    },
    database::Schema,
    outcome::Skipped,
    wire::Wire,
};

/// The name of topic or queue.
const NAME: &str = "readings";
/// No reading either.
const PROBE: &[u8] = b"probe";
const CONFIRM_LIMIT: Duration = Duration::from_secs(3);
/// How long a broker may take to confirm all messages of a round.
const SEND_LIMIT: Duration = Duration::from_secs(60);

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kafka,
    Stream,
    Queue,
    Mqtt,
}

impl Kind {
    /// Whether its messages have positions.
    pub(super) fn is_exactly_once(self) -> bool {
        matches!(self, Self::Kafka | Self::Stream)
    }
}

enum Running {
    Kafka(Box<Kafka>),
    RabbitMq(Box<RabbitMq>),
    Mosquitto(Box<Mosquitto>),
}

pub(super) struct Broker {
    kind: Kind,
    running: Running,
    /// Between it and the service.
    wire: Wire,
}

impl Broker {
    pub(super) async fn start(kind: Kind, data_within: Option<&Path>) -> Result<Self> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let wire = Wire::start(nowhere).await?;
        let (running, port) = match kind {
            Kind::Kafka => {
                // Whoever was shown the way to a broker goes by the name that it has of itself.
                let name = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{}", wire.port);
                let options = kafka::Options {
                    settings: &[&name],
                    data_within,
                    ..kafka::Options::default()
                };
                let started = Kafka::start(options).await;
                let kafka = started.ok_or(Skipped("SLUICEGATE_TEST_KAFKA is not set"))?;
                let port = kafka.port(1);
                (Running::Kafka(Box::new(kafka)), port)
            }
            Kind::Stream | Kind::Queue => {
                let started = RabbitMq::start(rabbitmq::Options {
                    data_within,
                    ..rabbitmq::Options::default()
                })
                .await;
                let broker = started.ok_or(Skipped("SLUICEGATE_TEST_RABBITMQ is not set"))?;
                let port = broker.port();
                (Running::RabbitMq(Box::new(broker)), port)
            }
            Kind::Mqtt => {
                let options = mosquitto::Options {
                    settings: &["max_queued_messages 2000000", "max_inflight_messages 1000"],
                    data_within,
                    ..mosquitto::Options::default()
                };
                let started = Mosquitto::start(options).await;
                let broker = started.ok_or(Skipped("SLUICEGATE_TEST_MOSQUITTO is not set"))?;
                let port = broker.port();
                (Running::Mosquitto(Box::new(broker)), port)
            }
        };
        wire.point_to(SocketAddr::from(([127, 0, 0, 1], port)));
        let broker = Self {
            kind,
            running,
            wire,
        };
        broker.declare().await;
        Ok(broker)
    }

    async fn declare(&self) {
        match (&self.running, self.kind) {
            (Running::Kafka(kafka), _) => kafka.create_topic(NAME, 1, &[]).await,
            (Running::RabbitMq(broker), kind) => {
                let kind = match kind {
                    Kind::Stream => "stream",
                    _ => "quorum",
                };
                let sender = RabbitMqSender::to(&broker.url()).await;
                sender.declare(NAME, kind, &[]).await;
                broker.settle().await;
            }
            (Running::Mosquitto(_), _) => {}
        }
    }

    /// The settings of the service.
    pub(super) fn settings(&self) -> String {
        let address = format!("127.0.0.1:{}", self.wire.port);
        let broker = match self.kind {
            Kind::Kafka => format!(
                "kafka: {{brokers: ['{address}'], topics: [{NAME}], \
                 properties: {{session.timeout.ms: '6000', heartbeat.interval.ms: '500'}}}}"
            ),
            Kind::Stream => format!("rabbitmq: {{brokers: ['{address}'], stream: {NAME}}}"),
            Kind::Queue => format!("rabbitmq: {{brokers: ['{address}'], queue: {NAME}}}"),
            Kind::Mqtt => format!("mqtt: {{broker: '{address}', topics: [{NAME}]}}"),
        };
        format!(
            "sources:\n  - name: plant\n    mapping: {{format: json, value: {{pointer: /n}}, \
             sensor_type: {{constant: count}}, id1: {{constant: 4}}, id2: {{constant: LINE}}}}\n    {broker}\n"
        )
    }

    /// Returns once the broker has them.
    pub(super) async fn send(&self, messages: Vec<String>) {
        let payloads = messages.into_iter().map(String::into_bytes).collect();
        match &self.running {
            Running::Kafka(kafka) => {
                let sender = KafkaSender::to(&kafka.servers());
                sender.send(NAME, 0, payloads).await;
            }
            Running::RabbitMq(broker) => {
                let sender = taken_from(&broker.url()).await;
                let sending = sender.send(NAME, payloads);
                // What a stream never confirms is found missing.
                let sent = timeout(SEND_LIMIT, sending).await;
                assert!(sent.is_ok() || self.kind == Kind::Stream, "not confirmed");
            }
            Running::Mosquitto(broker) => send_mqtt(broker.port(), NAME, payloads).await,
        }
    }

    /// Sends again what the broker has lost although it had confirmed it; returns how much that was. What a stream has is what
    /// the source is held to.
    pub(super) async fn make_good(&self, messages: &[String]) -> usize {
        let (Running::RabbitMq(broker), Kind::Stream) = (&self.running, self.kind) else {
            return 0;
        };
        let payloads: Vec<_> = messages.iter().map(|it| it.as_bytes().to_vec()).collect();
        let sender = taken_from(&broker.url()).await;
        let missing = sender.missing(NAME, &payloads).await;
        let lost = missing.len();
        sender.send(NAME, missing).await;
        lost
    }

    /// SIGKILL, and the broker again with its data.
    pub(super) async fn crash(&mut self) {
        match &mut self.running {
            Running::Kafka(kafka) => {
                kafka.kill(1);
                kafka.start_again(1).await;
            }
            Running::RabbitMq(broker) => {
                broker.kill();
                broker.start_again().await;
            }
            Running::Mosquitto(broker) => {
                // It writes down what it has acknowledged twice an hour, and when it is told to.
                broker.settle().await;
                broker.kill();
                broker.start_again().await;
            }
        }
    }

    /// Resets every connection of the service.
    pub(super) fn cut(&self) {
        self.wire.reset();
    }

    /// What is in quarantine as it was sent.
    pub(super) async fn undecodable(&self, schema: &Schema) -> Result<u64> {
        let sql = "SELECT COUNT(*) FROM rejected_readings WHERE payload LIKE 'no reading %'";
        schema.number(sql).await
    }
}

/// A sender that the queue takes messages from. A broker opens its doors before its queues are led again, and what comes then
/// may never be confirmed: so it gets something that nobody counts.
async fn taken_from(url: &str) -> RabbitMqSender {
    loop {
        let sender = RabbitMqSender::to(url).await;
        let probing = sender.send(NAME, vec![PROBE.to_vec()]);
        if timeout(CONFIRM_LIMIT, probing).await.is_ok() {
            return sender;
        }
    }
}

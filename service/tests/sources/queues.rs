//! Messages of RabbitMQ for the tests.

use std::{
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use sluicegate::config::SourceSettings;

use crate::{
    common::brokers::rabbitmq::RabbitMq,
    fetching::{message, source_of},
};

/// So many messages are on their way to the broker.
const UNCONFIRMED: usize = 500;

/// A queue of the test's own, and a sender who knows what the broker has.
pub(crate) struct Messages {
    pub(crate) queue: String,
    port: u16,
    channel: Channel,
    _connection: Connection,
}

impl Messages {
    pub(crate) async fn to(broker: &RabbitMq) -> Self {
        let connection = Connection::connect(&broker.url(), ConnectionProperties::default())
            .await
            .expect("connects");
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms");
        static QUEUES: AtomicU32 = AtomicU32::new(1);
        let number = QUEUES.fetch_add(1, Ordering::Relaxed);
        Self {
            queue: format!("readings-{number}"),
            port: broker.port(),
            channel,
            _connection: connection,
        }
    }

    /// Another sender to the same queue.
    pub(crate) async fn again(self, broker: &RabbitMq) -> Self {
        Self {
            queue: self.queue,
            ..Self::to(broker).await
        }
    }

    /// A source of the queue, which is a `stream` or a `queue`.
    pub(crate) fn source(&self, kind: &str, more: &str) -> SourceSettings {
        let Self { queue, port, .. } = self;
        source_of(&format!(
            "rabbitmq: {{brokers: ['127.0.0.1:{port}'], {kind}: {queue}, {more}}}"
        ))
    }

    /// Declares it, of a kind: `stream`, `quorum` or `classic`.
    pub(crate) async fn declare(&self, kind: &str) {
        self.declare_queue(&self.queue, kind, &[]).await;
    }

    pub(crate) async fn declare_queue(&self, queue: &str, kind: &str, more: &[(&str, AMQPValue)]) {
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

    pub(crate) async fn delete(&self) {
        let deleted = self
            .channel
            .queue_delete(self.queue.as_str().into(), QueueDeleteOptions::default());
        deleted.await.expect("is deleted");
    }

    /// Each number as a message of its own.
    pub(crate) async fn send(&self, numbers: Range<u64>) {
        self.send_payloads(numbers.map(message).collect()).await;
    }

    pub(crate) async fn send_payloads(&self, payloads: Vec<Vec<u8>>) {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        for some in payloads.chunks(UNCONFIRMED) {
            let mut sent = Vec::new();
            for payload in some {
                let publishing = self.channel.basic_publish(
                    "".into(),
                    self.queue.as_str().into(),
                    BasicPublishOptions::default(),
                    payload,
                    persistent.clone(),
                );
                sent.push(publishing.await.expect("is sent"));
            }
            for confirm in sent {
                confirm.await.expect("is confirmed");
            }
        }
    }

    /// How many messages wait in it, and are with no consumer.
    pub(crate) async fn left(&self) -> u32 {
        self.waiting(&self.queue).await
    }

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

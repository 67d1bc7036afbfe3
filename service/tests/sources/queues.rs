//! Queues of RabbitMQ for the tests.

use std::{
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sluicegate::config::SourceSettings;
use tokio::time::timeout;

use crate::{
    common::brokers::{rabbitmq::RabbitMq, senders::RabbitMqSender},
    fetching::{message, source_of},
};

/// How long a broker may take to confirm what is sent after a crash.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// A queue of the test's own, and a sender who knows what the broker has.
pub(crate) struct Messages {
    pub(crate) queue: String,
    pub(crate) sender: RabbitMqSender,
    port: u16,
}

impl Messages {
    pub(crate) async fn to(broker: &RabbitMq) -> Self {
        static QUEUES: AtomicU32 = AtomicU32::new(1);
        let number = QUEUES.fetch_add(1, Ordering::Relaxed);
        Self {
            queue: format!("readings-{number}"),
            sender: RabbitMqSender::to(&broker.url()).await,
            port: broker.port(),
        }
    }

    /// Another sender to the same queue.
    pub(crate) async fn again(self, broker: &RabbitMq) -> Self {
        Self {
            sender: RabbitMqSender::to(&broker.url()).await,
            ..self
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
        self.sender.declare(&self.queue, kind, &[]).await;
    }

    pub(crate) async fn delete(&self) {
        self.sender.delete(&self.queue).await;
    }

    /// Each number as a message of its own.
    pub(crate) async fn send(&self, numbers: Range<u64>) {
        self.send_payloads(numbers.map(message).collect()).await;
    }

    /// As `send`, to a stream whose broker has just crashed: what it does not confirm, or does not have then, is sent again.
    pub(crate) async fn send_after_crash(&self, numbers: Range<u64>) {
        let _ = timeout(SEND_LIMIT, self.send(numbers.clone())).await;
        let payloads: Vec<_> = numbers.map(message).collect();
        let missing = self.sender.missing(&self.queue, &payloads).await;
        self.send_payloads(missing).await;
    }

    pub(crate) async fn send_payloads(&self, payloads: Vec<Vec<u8>>) {
        self.sender.send(&self.queue, payloads).await;
    }

    /// How many messages wait in it, and are with no consumer.
    pub(crate) async fn left(&self) -> u32 {
        self.sender.waiting(&self.queue).await
    }
}

//! Quorum and classic queues: a message is acknowledged once all of its readings are committed, or in quarantine.

use std::time::Duration;

use lapin::{
    Channel, Connection, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    RabbitMq,
    client::{is_missing, trouble},
    feed::{Faulty, Kind, QueueFeed},
    position::Delivered,
};
use crate::{
    source::{pouring::pour, trouble::Trouble},
    usecase::sources::SourceState,
};

/// How often the broker is asked what is left.
const LAG_PERIOD: Duration = Duration::from_secs(5);

impl RabbitMq {
    pub(super) async fn follow_queue(
        &self,
        connection: &Connection,
        queue: &str,
        stop: CancellationToken,
    ) -> Result<(), Trouble> {
        let channel = self.channel(connection).await?;
        length(&channel, queue).await?;
        let consumer = consume(&channel, queue, FieldTable::default()).await;
        let consumer = consumer.map_err(|error| trouble(&error))?;
        self.hub.source.stands(SourceState::Running, None);
        let faulty = Faulty::default();
        let feed = QueueFeed {
            hub: self.hub.clone(),
            consumer,
            name: queue.to_owned(),
            kind: Kind::Queue {
                faulty: faulty.clone(),
            },
            headers: self.hub.plan.headers(),
        };
        let (sender, settled) = watch::channel(None);
        let mut acknowledging = Acknowledging {
            channel: &channel,
            faulty: self.settings.dead_letter.then_some(faulty),
            told_tag: 0,
        };
        let pouring = async {
            tokio::join!(
                pour(&self.hub, feed, None, sender, stop),
                acknowledging.follow(settled)
            )
        };
        tokio::select! {
            (poured, ()) = pouring => poured,
            () = self.tell_lag(connection, queue) => Ok(()),
        }
    }

    /// A channel with a bound for what the broker may send.
    pub(super) async fn channel(&self, connection: &Connection) -> Result<Channel, Trouble> {
        let opened = connection.create_channel().await;
        let channel = opened.map_err(|error| trouble(&error))?;
        channel
            .basic_qos(self.settings.prefetch, BasicQosOptions::default())
            .await
            .map_err(|error| trouble(&error))?;
        Ok(channel)
    }

    /// On a channel of its own: the broker closes it when it does not like a question.
    async fn tell_lag(&self, connection: &Connection, queue: &str) {
        loop {
            if let Ok(channel) = connection.create_channel().await
                && let Ok(messages) = length(&channel, queue).await
            {
                self.hub.metrics.lag.set(i64::from(messages));
                let _ = channel.close(super::REPLY_SUCCESS, "".into()).await;
            }
            tokio::time::sleep(LAG_PERIOD).await;
        }
    }
}

/// How many messages wait in a queue.
pub(super) async fn length(channel: &Channel, queue: &str) -> Result<u32, Trouble> {
    let asks = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    match channel
        .queue_declare(queue.into(), asks, FieldTable::default())
        .await
    {
        Ok(found) => Ok(found.message_count()),
        Err(error) if is_missing(&error) => Err(Trouble::passing(format!(
            "the queue {queue} is not there yet"
        ))),
        Err(error) => Err(trouble(&error)),
    }
}

pub(super) async fn consume(
    channel: &Channel,
    queue: &str,
    arguments: FieldTable,
) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions::default();
    channel
        .basic_consume(queue.into(), "".into(), options, arguments)
        .await
}

/// Tells the broker what is settled.
struct Acknowledging<'a> {
    channel: &'a Channel,
    /// What is rejected instead, if that is wanted.
    faulty: Option<Faulty>,
    /// Up to here all is told.
    told_tag: u64,
}

impl Acknowledging<'_> {
    /// Until nothing more is settled, or the channel is gone; its consumer hears of that, too.
    async fn follow(&mut self, mut settled: watch::Receiver<Option<Delivered>>) {
        while settled.changed().await.is_ok() {
            let last = *settled.borrow_and_update();
            let Some(last) = last else {
                continue;
            };
            if let Err(error) = self.tell(last.tag).await {
                tracing::debug!(%error, "what is settled was not told");
                return;
            }
        }
    }

    async fn tell(&mut self, last_tag: u64) -> lapin::Result<()> {
        let rejected = self.faulty.as_ref().map(|all| all.take_until(last_tag));
        let rejected = rejected.unwrap_or_default();
        for &tag in &rejected {
            let to_dead_letters = BasicRejectOptions { requeue: false };
            self.channel.basic_reject(tag, to_dead_letters).await?;
        }
        // Those that are told stand for themselves: a broker does not take an acknowledgement of nothing.
        let acknowledged = (self.told_tag + 1..=last_tag).rev();
        let last = acknowledged.into_iter().find(|tag| !rejected.contains(tag));
        if let Some(tag) = last {
            let up_to_it = BasicAckOptions { multiple: true };
            self.channel.basic_ack(tag, up_to_it).await?;
        }
        self.told_tag = last_tag;
        Ok(())
    }
}

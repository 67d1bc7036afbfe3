//! A source that is RabbitMQ. A stream keeps its messages under offsets, and the ledger says where it goes on: each is stored once.
//! Queues forget what was acknowledged, and send again what was not: each message is stored at least once.

mod client;
mod feed;
mod position;
mod queue;
mod stream;

use std::time::Duration;

use lapin::Connection;
use tokio_util::sync::CancellationToken;

use super::{Hub, Pull, trouble::Trouble};
use crate::config::RabbitMqSettings;

/// How long saying goodbye may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);
/// What AMQP calls an end that was wished for.
const REPLY_SUCCESS: u16 = 200;
/// The prefetched messages of a service with little memory: one for so many bytes of it.
const BUDGET_OF_MESSAGE_BYTES: u32 = 8 << 10;

pub(super) struct RabbitMq {
    settings: RabbitMqSettings,
    hub: Hub,
}

impl RabbitMq {
    pub(super) fn new(settings: RabbitMqSettings, hub: Hub) -> Self {
        let most = hub.ingest.admission().budget_bytes() / BUDGET_OF_MESSAGE_BYTES;
        let most = u16::try_from(most).unwrap_or(u16::MAX).max(1);
        Self {
            settings: RabbitMqSettings {
                prefetch: settings.prefetch.min(most),
                ..settings
            },
            hub,
        }
    }

    async fn follow(
        &self,
        connection: &Connection,
        stop: CancellationToken,
    ) -> Result<(), Trouble> {
        match (&self.settings.stream, &self.settings.queue) {
            (Some(stream), _) => self.follow_stream(connection, stream, stop).await,
            (None, Some(queue)) => self.follow_queue(connection, queue, stop).await,
            // Refused with the settings.
            (None, None) => Ok(()),
        }
    }
}

impl Pull for RabbitMq {
    async fn pull(&self, stop: CancellationToken) -> Result<(), Trouble> {
        let connecting = client::connect(&self.settings, self.hub.source.name());
        let connection = tokio::select! {
            connection = connecting => connection?,
            () = stop.cancelled() => return Ok(()),
        };
        let ended = self.follow(&connection, stop).await;
        let goodbye = connection.close(REPLY_SUCCESS, "".into());
        let _ = tokio::time::timeout(GOODBYE_LIMIT, goodbye).await;
        ended
    }
}

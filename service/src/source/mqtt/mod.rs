//! A source that is a broker of MQTT 5. It keeps a session for us, and sends again what was not acknowledged: each message of QoS 1
//! is stored at least once.

mod client;
mod driving;
mod feed;

use std::time::Duration;

use rumqttc::v5::AsyncClient;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::{
    driving::Driving,
    feed::{Received, TopicFeed, Unacknowledged},
};
use super::{Hub, Pull, pouring::pour, trouble::Trouble};
use crate::config::MqttSettings;

/// How long telling what is settled, and saying goodbye, may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);
/// The messages on their way to a service with little memory: one for so many bytes of it.
const BUDGET_OF_MESSAGE_BYTES: u32 = 8 << 10;

pub(super) struct Mqtt {
    settings: MqttSettings,
    hub: Hub,
}

impl Mqtt {
    pub(super) fn new(settings: MqttSettings, hub: Hub) -> Self {
        let most = hub.ingest.admission().budget_bytes() / BUDGET_OF_MESSAGE_BYTES;
        let most = u16::try_from(most).unwrap_or(u16::MAX).max(1);
        Self {
            settings: MqttSettings {
                receive_maximum: settings.receive_maximum.min(most),
                ..settings
            },
            hub,
        }
    }
}

impl Pull for Mqtt {
    async fn pull(&self, stop: CancellationToken) -> Result<(), Trouble> {
        let options = client::options(&self.settings, self.hub.source.name()).await?;
        let place = usize::from(self.settings.receive_maximum);
        let (client, events) = AsyncClient::new(options, place);
        let (sender, messages) = mpsc::channel(place);
        let unacknowledged = Unacknowledged::default();
        let feed = TopicFeed::new(&self.hub, messages, unacknowledged.clone());
        let (settling, settled) = watch::channel(None);
        let (done, gone) = (CancellationToken::new(), CancellationToken::new());
        let working = async {
            let is_read = CancellationToken::new();
            let pouring = async {
                let poured = pour(&self.hub, feed, None, settling, stop.clone()).await;
                is_read.cancel();
                poured
            };
            let long_after = async {
                is_read.cancelled().await;
                tokio::time::sleep(GOODBYE_LIMIT).await;
            };
            let telling = async {
                tokio::select! {
                    () = tell(&client, settled, &unacknowledged) => {}
                    () = long_after => {}
                }
            };
            let (poured, ()) = tokio::join!(pouring, telling);
            let goodbye = async {
                let _ = client.disconnect().await;
                gone.cancelled().await;
            };
            let _ = tokio::time::timeout(GOODBYE_LIMIT, goodbye).await;
            done.cancel();
            poured
        };
        let driving = Driving {
            settings: &self.settings,
            hub: &self.hub,
            client: &client,
            events,
            messages: sender,
        };
        let driving = async {
            let driven = driving.drive(&stop, &done).await;
            gone.cancel();
            driven
        };
        let (poured, driven) = tokio::join!(working, driving);
        // Whoever loses the broker ends the feed, too; why stands there.
        match stop.is_cancelled() {
            true => Ok(()),
            false => driven.and(poured),
        }
    }
}

/// Acknowledges what is settled, until nothing more is: in the order in which it came, as the protocol has it.
async fn tell(
    client: &AsyncClient,
    mut settled: watch::Receiver<Option<Received>>,
    unacknowledged: &Unacknowledged,
) {
    while settled.changed().await.is_ok() {
        let last = *settled.borrow_and_update();
        let Some(last) = last else {
            continue;
        };
        while let Some(publish) = unacknowledged.take_until(last) {
            // A connection that is gone has its messages sent again.
            if client.ack(&publish).await.is_err() {
                return;
            }
        }
    }
}

//! Keeps the connection going: what comes is handed on, what is acknowledged is sent.

use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, Event, EventLoop,
        mqttbytes::{
            QoS,
            v5::{Filter, Packet, Publish, SubAck, SubscribeReasonCode},
        },
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::client::trouble;
use crate::{
    config::MqttSettings,
    source::{Hub, trouble::Trouble},
    usecase::sources::SourceState,
};

pub(super) struct Driving<'a> {
    pub(super) settings: &'a MqttSettings,
    pub(super) hub: &'a Hub,
    pub(super) client: &'a AsyncClient,
    pub(super) events: EventLoop,
    /// Ends the feed when it is dropped.
    pub(super) messages: mpsc::Sender<Publish>,
}

impl Driving<'_> {
    /// Until it is closed, `done` or lost. It ends at once when it is to `stop` before it stands.
    pub(super) async fn drive(
        mut self,
        stop: &CancellationToken,
        done: &CancellationToken,
    ) -> Result<(), Trouble> {
        let mut is_connected = false;
        let mut is_leaving = false;
        loop {
            let event = tokio::select! {
                event = self.events.poll() => event,
                () = done.cancelled() => return Ok(()),
                () = stop.cancelled(), if !is_connected => return Ok(()),
            };
            if is_leaving {
                match event {
                    Ok(_) => continue,
                    Err(_) => return Ok(()),
                }
            }
            match event.map_err(|error| trouble(self.settings, &error))? {
                Event::Incoming(Packet::ConnAck(_)) => {
                    is_connected = true;
                    self.subscribe().await?;
                }
                Event::Incoming(Packet::SubAck(answer)) => {
                    self.check(&answer)?;
                    self.hub.source.stands(SourceState::Running, None);
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    tokio::select! {
                        // When nobody reads any more it is sent again.
                        _ = self.messages.send(publish) => {}
                        () = done.cancelled() => return Ok(()),
                    }
                }
                // The broker is the one who closes. If we did, what it sends for the acknowledgements it has read would be
                // answered with a reset, and it would not read the others.
                Event::Outgoing(Outgoing::Disconnect) => is_leaving = true,
                _ => {}
            }
        }
    }

    /// Also where the session knows of it: the filters may be others now.
    async fn subscribe(&mut self) -> Result<(), Trouble> {
        let group = self.settings.group.as_deref();
        let filters = self.settings.topics.iter().map(|topic| {
            let path = match group {
                None => topic.clone(),
                Some(group) => format!("$share/{group}/{topic}"),
            };
            Filter::new(path, QoS::AtLeastOnce)
        });
        let asked = self
            .client
            .subscribe_many(filters.collect::<Vec<_>>())
            .await;
        asked.map_err(|error| Trouble::passing(error.to_string()))
    }

    fn check(&self, answer: &SubAck) -> Result<(), Trouble> {
        let answers = self.settings.topics.iter().zip(&answer.return_codes);
        for (topic, code) in answers {
            match code {
                SubscribeReasonCode::Success(_) => {}
                code => {
                    let reason = format!("mqtt.topics: the broker refuses {topic}: {code:?}");
                    return Err(Trouble::to_mend(reason));
                }
            }
        }
        Ok(())
    }
}

//! The messages of a session.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::Utc;
use rumqttc::v5::mqttbytes::{QoS, v5::Publish};
use tokio::sync::mpsc;

use crate::{
    model::SourcePosition,
    source::{
        Hub,
        payload::{Feed, Payload},
        trouble::Trouble,
    },
};

/// A message, counted from 1 for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Received(u64);

/// Messages that the broker wants to hear of, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Unacknowledged(Arc<Mutex<VecDeque<(Received, Publish)>>>);

impl Unacknowledged {
    fn all(&self) -> MutexGuard<'_, VecDeque<(Received, Publish)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, received: Received, publish: &Publish) {
        // Its contents are not kept for that.
        let publish = Publish {
            pkid: publish.pkid,
            qos: publish.qos,
            ..Publish::default()
        };
        self.all().push_back((received, publish));
    }

    /// Takes the first one out, if it is not behind `last`.
    pub(super) fn take_until(&self, last: Received) -> Option<Publish> {
        let mut all = self.all();
        let (received, _) = all.front()?;
        match *received <= last {
            true => all.pop_front().map(|(_, publish)| publish),
            false => None,
        }
    }
}

pub(super) struct TopicFeed {
    hub: Hub,
    messages: mpsc::Receiver<Publish>,
    unacknowledged: Unacknowledged,
    received: Received,
    /// User properties that the mapping asks for.
    headers: Vec<String>,
}

impl TopicFeed {
    pub(super) fn new(
        hub: &Hub,
        messages: mpsc::Receiver<Publish>,
        unacknowledged: Unacknowledged,
    ) -> Self {
        Self {
            headers: hub.plan.headers(),
            hub: hub.clone(),
            messages,
            unacknowledged,
            received: Received(0),
        }
    }

    fn take(&mut self, publish: Option<Publish>) -> Result<Payload<Received>, Trouble> {
        let Some(publish) = publish else {
            return Err(Trouble::passing("the connection to the broker was lost"));
        };
        self.received = Received(self.received.0 + 1);
        if publish.qos != QoS::AtMostOnce {
            self.unacknowledged.push(self.received, &publish);
        }
        if publish.dup {
            self.hub.metrics.redelivered.inc();
        }
        let properties = publish.properties.map(|all| all.user_properties);
        let is_wanted = |name: &str| {
            let mut wanted = self.headers.iter();
            wanted.any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let headers = properties.unwrap_or_default().into_iter();
        Ok(Payload {
            bytes: Some(publish.payload),
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            headers: headers.filter(|(name, _)| is_wanted(name)).collect(),
            arrival_us: Utc::now().timestamp_micros(),
            mark: self.received,
        })
    }
}

impl Feed for TopicFeed {
    type Mark = Received;

    async fn next(&mut self) -> Result<Payload<Received>, Trouble> {
        let publish = self.messages.recv().await;
        self.take(publish)
    }

    fn next_now(&mut self) -> Option<Result<Payload<Received>, Trouble>> {
        let publish = match self.messages.try_recv() {
            Ok(publish) => Some(publish),
            Err(mpsc::error::TryRecvError::Empty) => return None,
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        };
        Some(self.take(publish))
    }

    fn place(&self, payload: &Payload<Received>) -> String {
        format!("mqtt {}", payload.topic)
    }

    fn position(&self, _: Received) -> Option<SourcePosition> {
        None
    }
}

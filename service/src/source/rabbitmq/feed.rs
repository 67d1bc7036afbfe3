//! The messages of one queue.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::Utc;
use futures::{FutureExt as _, StreamExt as _};
use lapin::{Consumer, message::Delivery, types::AMQPValue};
use tokio::sync::watch;

use super::{
    client::{no_stream, trouble},
    position::{Delivered, Print, StreamPosition},
};
use crate::{
    model::SourcePosition,
    source::{
        Hub,
        payload::{Feed, Payload},
        trouble::Trouble,
    },
};

/// What a stream says of each message.
const OFFSET_HEADER: &str = "x-stream-offset";

/// Messages that could not be decoded, by their tags, until they are settled.
#[derive(Clone, Debug, Default)]
pub(super) struct Faulty(Arc<Mutex<BTreeSet<u64>>>);

impl Faulty {
    fn all(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, tag: u64) {
        self.all().insert(tag);
    }

    /// Takes those up to here out.
    pub(super) fn take_until(&self, tag: u64) -> BTreeSet<u64> {
        let mut all = self.all();
        let later = all.split_off(&(tag + 1));
        std::mem::replace(&mut *all, later)
    }
}

/// What is read.
pub(super) enum Kind {
    /// Takes each message as read when it is taken, which has the broker send another. What counts is in the ledger.
    Stream {
        taken: watch::Sender<Option<u64>>,
        /// After so long without a message the feed ends.
        silence_limit: Duration,
    },
    Queue {
        faulty: Faulty,
    },
}

pub(super) struct QueueFeed {
    pub(super) hub: Hub,
    pub(super) consumer: Consumer,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Headers that the mapping asks for.
    pub(super) headers: Vec<String>,
}

impl QueueFeed {
    fn take(
        &self,
        delivery: Option<lapin::Result<Delivery>>,
    ) -> Result<Payload<Delivered>, Trouble> {
        let name = &self.name;
        let delivery = match delivery {
            Some(delivery) => delivery.map_err(|error| trouble(&error))?,
            None => {
                let reason = format!(
                    "the broker sends nothing more of {name}: it was deleted, or has no leader"
                );
                return Err(Trouble::passing(reason));
            }
        };
        let offset = offset_of(&delivery);
        match (&self.kind, offset) {
            (Kind::Stream { .. }, None) => {
                return Err(no_stream(name));
            }
            (Kind::Queue { .. }, Some(_)) => {
                let reason = format!("{name} is a stream: name it as rabbitmq.stream");
                return Err(Trouble::to_mend(reason));
            }
            (Kind::Stream { taken, .. }, Some(_)) => {
                taken.send_replace(Some(delivery.delivery_tag));
            }
            (Kind::Queue { .. }, None) if delivery.redelivered => {
                self.hub.metrics.redelivered.inc();
            }
            (Kind::Queue { .. }, None) => {}
        }
        Ok(self.payload(delivery, offset.unwrap_or_default()))
    }

    fn payload(&self, delivery: Delivery, offset: u64) -> Payload<Delivered> {
        let mut headers = Vec::new();
        if let Some(all) = delivery.properties.headers().as_ref() {
            for wanted in &self.headers {
                let found = all
                    .inner()
                    .iter()
                    .find(|(name, _)| name.as_str().eq_ignore_ascii_case(wanted));
                if let Some(text) = found.and_then(|(_, value)| text_of(value)) {
                    headers.push((wanted.clone(), text));
                }
            }
        }
        // Seconds since 1970, if the sender says it.
        let written_s = delivery
            .properties
            .timestamp()
            .and_then(|at| i64::try_from(at).ok());
        let written_us = written_s.and_then(|at| at.checked_mul(1_000_000));
        Payload {
            mark: Delivered {
                tag: delivery.delivery_tag,
                offset,
                print: Print::of(&delivery.data),
            },
            topic: delivery.routing_key.to_string(),
            headers,
            arrival_us: written_us.unwrap_or_else(|| Utc::now().timestamp_micros()),
            bytes: Some(Bytes::from(delivery.data)),
        }
    }
}

/// Where a message stands in its stream.
pub(super) fn offset_of(delivery: &Delivery) -> Option<u64> {
    let headers = delivery.properties.headers().as_ref()?;
    match headers.inner().get(OFFSET_HEADER)? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        AMQPValue::LongInt(offset) => u64::try_from(*offset).ok(),
        _ => None,
    }
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::Boolean(value) => Some(value.to_string()),
        AMQPValue::ShortShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortInt(value) => Some(value.to_string()),
        AMQPValue::LongInt(value) => Some(value.to_string()),
        AMQPValue::LongLongInt(value) => Some(value.to_string()),
        _ => None,
    }
}

impl Feed for QueueFeed {
    type Mark = Delivered;

    async fn next(&mut self) -> Result<Payload<Delivered>, Trouble> {
        let next = self.consumer.next();
        let delivery = match self.kind {
            Kind::Queue { .. } => next.await,
            Kind::Stream { silence_limit, .. } => {
                let next = tokio::time::timeout(silence_limit, next).await;
                next.map_err(|_| Trouble::Silence)?
            }
        };
        self.take(delivery)
    }

    fn next_now(&mut self) -> Option<Result<Payload<Delivered>, Trouble>> {
        let delivery = self.consumer.next().now_or_never()?;
        Some(self.take(delivery))
    }

    fn place(&self, payload: &Payload<Delivered>) -> String {
        match self.kind {
            Kind::Stream { .. } => format!("rabbitmq {} offset {}", self.name, payload.mark.offset),
            Kind::Queue { .. } => format!("rabbitmq {}", self.name),
        }
    }

    fn position(&self, mark: Delivered) -> Option<SourcePosition> {
        match self.kind {
            Kind::Queue { .. } => None,
            Kind::Stream { .. } => StreamPosition {
                offset: mark.offset + 1,
                print: mark.print,
            }
            .to_source_position(),
        }
    }

    fn is_faulty(&mut self, mark: Delivered) {
        if let Kind::Queue { faulty } = &self.kind {
            faulty.insert(mark.tag);
        }
    }
}

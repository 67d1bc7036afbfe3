//! The records of one partition.

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use futures::FutureExt as _;
use rdkafka::{
    Message as _,
    consumer::stream_consumer::StreamPartitionQueue,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers as _},
};

use super::{
    Shared,
    client::{Member, Partition},
    native,
    position::KafkaPosition,
};
use crate::{
    model::SourcePosition,
    source::{
        payload::{Feed, Payload},
        trouble::Trouble,
    },
};

/// A record of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: i64,
    leader_epoch: i32,
}

pub(super) struct PartitionFeed {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: StreamPartitionQueue<Member>,
    pub(super) partition: Partition,
    pub(super) topic_id: String,
    /// Headers that the mapping asks for.
    pub(super) headers: Vec<String>,
}

impl PartitionFeed {
    /// None for what passes by itself.
    fn take(
        &self,
        message: KafkaResult<BorrowedMessage<'_>>,
    ) -> Option<Result<Payload<Record>, Trouble>> {
        match message {
            Ok(message) => Some(Ok(self.payload(&message))),
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)) => {
                // Where both of its ends still fit, something between them is no longer what it was.
                self.shared.diverged().insert(self.partition.clone());
                let reason = format!(
                    "{}: the log no longer has what is to be read next",
                    self.partition
                );
                Some(Err(Trouble::passing(reason)))
            }
            Err(KafkaError::MessageConsumptionFatal(code)) => {
                let reason = format!("{}: {code}", self.partition);
                Some(Err(Trouble::passing(reason)))
            }
            Err(error) => {
                tracing::debug!(partition = %self.partition, %error, "Kafka");
                None
            }
        }
    }

    fn payload(&self, message: &BorrowedMessage<'_>) -> Payload<Record> {
        let mut headers = Vec::new();
        if let Some(all) = message.headers().filter(|_| !self.headers.is_empty()) {
            for header in all.iter() {
                let is_wanted = |name: &String| name.eq_ignore_ascii_case(header.key);
                let text = header.value.and_then(|value| str::from_utf8(value).ok());
                if let Some(text) = text.filter(|_| self.headers.iter().any(is_wanted)) {
                    headers.push((header.key.to_owned(), text.to_owned()));
                }
            }
        }
        let written_ms = message.timestamp().to_millis();
        Payload {
            bytes: message.payload().map(Bytes::copy_from_slice),
            topic: self.partition.topic.clone(),
            headers,
            // When it is read again, it is of the same time.
            arrival_us: written_ms.map_or_else(
                || Utc::now().timestamp_micros(),
                |written_ms| written_ms.saturating_mul(1_000),
            ),
            mark: Record {
                offset: message.offset(),
                leader_epoch: native::leader_epoch(message),
            },
        }
    }
}

impl Feed for PartitionFeed {
    type Mark = Record;

    async fn next(&mut self) -> Result<Payload<Record>, Trouble> {
        loop {
            let message = self.queue.recv().await;
            if let Some(taken) = self.take(message) {
                return taken;
            }
        }
    }

    fn next_now(&mut self) -> Option<Result<Payload<Record>, Trouble>> {
        loop {
            let message = self.queue.recv().now_or_never()?;
            if let Some(taken) = self.take(message) {
                return Some(taken);
            }
        }
    }

    fn place(&self, payload: &Payload<Record>) -> String {
        format!("kafka {} offset {}", self.partition, payload.mark.offset)
    }

    fn position(&self, mark: Record) -> Option<SourcePosition> {
        let position = KafkaPosition {
            topic_id: self.topic_id.clone(),
            offset: mark.offset + 1,
            leader_epoch: mark.leader_epoch,
        };
        position.to_source_position()
    }
}

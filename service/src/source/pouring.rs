//! A feed as the messages of a conversation.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Hub,
    deliveries::Deliveries,
    payload::{Feed, Payload},
    reader::Reader,
    trouble::Trouble,
};
use crate::{
    model::{Seq, StreamHeader},
    usecase::ingest::{
        Caller, EntryDoor,
        admission::{Arrival, Room},
        arrivals::Arrivals,
        conversation::{Acknowledgement, Audience, Bounds, Conversation, Manner, Message, Sent},
    },
};

/// Payloads that make a message: so many, of so many bytes together, are enough.
const MAX_PAYLOADS: usize = 4_096;
const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// A source may have nothing to say for as long as it likes.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Stores what a feed hands out, until `stop` and then what came. `header` is the place of its readings in a stream; without it
/// they belong to none. `settled` hears of the payloads all of whose readings are committed or in quarantine.
pub(super) async fn pour<F: Feed>(
    hub: &Hub,
    feed: F,
    header: Option<StreamHeader>,
    settled: watch::Sender<Option<F::Mark>>,
    stop: CancellationToken,
) -> Result<(), Trouble> {
    let first_seq = header.as_ref().map_or(Seq(1), |header| header.first_seq);
    let deliveries = Deliveries::new(first_seq.before(), settled);
    let payloads = Payloads {
        hub,
        feed,
        header,
        reader: Reader::new(&hub.plan, &hub.ingest),
        waiting: VecDeque::new(),
        next_seq: first_seq,
        deliveries: deliveries.clone(),
    };
    let bounds = Bounds {
        idle_limit: NEVER,
        message_deadline: NEVER,
        draining: stop,
    };
    let manner = Manner::streaming(EntryDoor::Source);
    let conversation = Conversation::new(&hub.ingest, Caller::anybody(), payloads, bounds, manner);
    conversation.store_and_tell(&mut Listener(deliveries)).await
}

struct Listener<M>(Deliveries<M>);

impl<M: Copy + Send + Sync> Audience for Listener<M> {
    async fn listens(&mut self) -> bool {
        true
    }

    async fn tell(&mut self, acknowledgement: Acknowledgement) {
        self.0.settle(acknowledgement.progress.committed_seq);
    }
}

struct Payloads<'a, F: Feed> {
    hub: &'a Hub,
    feed: F,
    /// Told first.
    header: Option<StreamHeader>,
    reader: Reader,
    /// What is read next. It is here, and counted as memory of the source.
    waiting: VecDeque<Payload<F::Mark>>,
    next_seq: Seq,
    deliveries: Deliveries<F::Mark>,
}

impl<F: Feed> Payloads<'_, F> {
    /// Takes what is there, as much as a message should have.
    fn gather(&mut self) -> Result<(), Trouble> {
        if self.reader.reads_one_at_a_time() {
            return Ok(());
        }
        let mut bytes: usize = self.waiting.iter().map(Payload::len).sum();
        while self.waiting.len() < MAX_PAYLOADS
            && bytes < MAX_PAYLOAD_BYTES
            && let Some(next) = self.feed.next_now()
        {
            let next = next?;
            bytes += next.len();
            self.waiting.push_back(next);
        }
        Ok(())
    }
}

impl<F: Feed> Arrivals for Payloads<'_, F> {
    type Message = Message;
    type Error = Trouble;

    async fn announced(&mut self) -> Result<Option<usize>, Trouble> {
        if self.header.is_none() {
            if self.waiting.is_empty() {
                let next = self.feed.next().await?;
                self.waiting.push_back(next);
            }
            self.gather()?;
        }
        Ok(Some(0))
    }

    async fn arrived(&mut self, _: &Arrival) -> Result<usize, Trouble> {
        if self.header.is_some() {
            return Ok(size_of::<StreamHeader>());
        }
        let Self {
            reader, waiting, ..
        } = self;
        Ok(waiting
            .iter()
            .map(|payload| reader.room_bytes(payload))
            .sum())
    }

    fn read(&mut self, _: &Room) -> Result<Message, Trouble> {
        if let Some(header) = self.header.take() {
            return Ok(Message::Header(header));
        }
        let bytes: usize = self.waiting.iter().map(Payload::len).sum();
        let read = self.reader.read(&mut self.waiting, &self.feed);
        let left: usize = self.waiting.iter().map(Payload::len).sum();
        let mut last = None;
        for &(readings, mark) in &read.payloads {
            self.next_seq = self.next_seq.plus(readings);
            self.deliveries.push(self.next_seq.before(), mark);
            last = Some(mark);
        }
        let metrics = &self.hub.metrics;
        metrics.read(
            read.payloads.len(),
            bytes - left,
            read.faults,
            read.left_out,
        );
        self.hub.ingest.long_names().keep(read.long_names);
        Ok(Message::Readings(Sent {
            readings: read.readings,
            source_position: last.and_then(|mark| self.feed.position(mark)),
        }))
    }
}

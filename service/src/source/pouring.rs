//! A feed as the messages of a conversation.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Hub,
    deliveries::Deliveries,
    payload::{Feed, Payload},
    reader::{Reader, Weighed},
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
/// A message of more than one payload takes at most one part in so many of the memory for readings.
const MESSAGE_SHARE: u32 = 16;
/// A source may have nothing to say for as long as it likes.
pub(super) const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

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
    let share_bytes = (hub.ingest.admission().budget_bytes() / MESSAGE_SHARE) as usize;
    let payloads = Payloads {
        max_bytes: MAX_PAYLOAD_BYTES.min(share_bytes),
        max_room_bytes: share_bytes,
        hub,
        feed,
        header,
        reader: Reader::new(&hub.plan, hub.source.name(), &hub.ingest),
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
    /// What is read next.
    waiting: VecDeque<Weighed<F::Mark>>,
    /// As much as is gathered, bytes: of payloads, and of what they take once they are read.
    max_bytes: usize,
    max_room_bytes: usize,
    next_seq: Seq,
    deliveries: Deliveries<F::Mark>,
}

impl<F: Feed> Payloads<'_, F> {
    /// The next one. Silence counts once all is settled: to begin anew before would take what waits for its commit out of
    /// the queue, and put it at the end again.
    async fn next(&mut self) -> Result<Payload<F::Mark>, Trouble> {
        loop {
            match self.feed.next().await {
                Err(Trouble::Silence) if !self.deliveries.are_settled() => {}
                next => return next,
            }
        }
    }

    /// Takes what is there, as much as a message should have. Returns what all takes, bytes.
    fn gather(&mut self) -> Result<usize, Trouble> {
        let mut bytes: usize = self.waiting.iter().map(Weighed::len).sum();
        let mut room_bytes = self.waiting.iter().map(|it| it.room_bytes).sum();
        if self.reader.reads_one_at_a_time() {
            return Ok(room_bytes);
        }
        while self.waiting.len() < MAX_PAYLOADS
            && bytes < self.max_bytes
            && room_bytes < self.max_room_bytes
            && let Some(next) = self.feed.next_now()
        {
            let next = self.reader.weigh(next?);
            bytes += next.len();
            room_bytes += next.room_bytes;
            self.waiting.push_back(next);
        }
        Ok(room_bytes)
    }
}

impl<F: Feed> Arrivals for Payloads<'_, F> {
    type Message = Message;
    type Error = Trouble;

    /// Waits for one payload. Its brothers are gathered where there is place for them.
    async fn announced(&mut self) -> Result<Option<usize>, Trouble> {
        if self.header.is_some() {
            return Ok(Some(0));
        }
        // A broker with a backlog always has something, and its client knows nothing of the runtime's turns: without this the
        // other tasks, and whatever comes from the network, would wait for seconds.
        tokio::task::yield_now().await;
        if self.waiting.is_empty() {
            let next = self.next().await?;
            self.waiting.push_back(self.reader.weigh(next));
        }
        Ok(Some(self.max_bytes))
    }

    async fn arrived(&mut self, _: &Arrival) -> Result<usize, Trouble> {
        match self.header {
            Some(_) => Ok(size_of::<StreamHeader>()),
            None => self.gather(),
        }
    }

    fn read(&mut self, _: &Room) -> Result<Message, Trouble> {
        if let Some(header) = self.header.take() {
            return Ok(Message::Header(header));
        }
        let bytes: usize = self.waiting.iter().map(Weighed::len).sum();
        let read = self.reader.read(&mut self.waiting, &self.feed);
        let left: usize = self.waiting.iter().map(Weighed::len).sum();
        let mut last = None;
        for taken in &read.payloads {
            if taken.is_faulty {
                self.feed.is_faulty(taken.mark);
            }
            self.next_seq = self.next_seq.plus(taken.outcomes);
            self.deliveries.push(self.next_seq.before(), taken.mark);
            last = Some(taken.mark);
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

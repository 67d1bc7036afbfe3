//! The conversation with a producer that streams: a header may come first, then messages as long as there is room for
//! them (P4), while what became of them is told. Every door that streams holds it, and only parses and maps.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Caller, EntryDoor, Inflow, Ingest, IngestError, Progress, Readings, RejectionNote, Summary,
    admission::{Patience, Room},
    arrivals::{Arrivals, receive},
    quotas::Brought,
};
use crate::model::{SourcePosition, StreamHeader};

/// What a producer sends in a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Names the stream; only the first message can be one.
    Header(StreamHeader),
    Readings(Sent),
}

/// Readings, and where their producer stands in its source behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub readings: Readings,
    pub source_position: Option<SourcePosition>,
}

/// Whoever is told what has become of the readings.
pub trait Audience: Send {
    /// Waits until something can be told. False when nobody listens any more.
    fn listens(&mut self) -> impl Future<Output = bool> + Send;

    /// Tells it. After [`listens`](Self::listens) this does not wait.
    fn tell(&mut self, acknowledgement: Acknowledgement) -> impl Future<Output = ()> + Send;
}

/// A cumulative acknowledgement: what it counts is committed (P1).
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    pub progress: Progress,
    /// Those that were not told before.
    pub rejections: Vec<RejectionNote>,
    /// No more readings are taken on this call, which the producer did not end.
    pub draining: bool,
}

/// How a door holds conversations.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub door: EntryDoor,
    /// What the producer does when there is no room for its first readings, or it brings more than it may. For what
    /// follows it waits.
    pub first: Patience,
    /// How long the commit of what came may take, once the producer has ended; None for as long as the producer waits.
    pub commit_deadline: Option<Duration>,
}

impl Manner {
    /// Of a call that streams.
    #[must_use]
    pub fn streaming(door: EntryDoor) -> Self {
        Self {
            door,
            first: Patience::Waits,
            commit_deadline: None,
        }
    }
}

/// What ends a conversation that its producer does not end.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Longest wait for a message to begin.
    pub idle_limit: Duration,
    /// Longest time that a message may take from then on, once there is room for it.
    pub message_deadline: Duration,
    /// Cancelled when the service is shutting down.
    pub draining: CancellationToken,
}

/// Why no more messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The producer is done, or has cancelled: the two cannot be told apart.
    Finished,
    /// The service is shutting down.
    Draining,
    /// The stream brought nothing for too long.
    Idle,
    /// Its producer may bring nothing more.
    Ended,
}

enum Next {
    /// A message, and the room that it is kept in.
    Message(Message, Room),
    End(End),
}

/// One call, as long as messages come.
pub struct Conversation<'a, M> {
    ingest: &'a Ingest,
    caller: Caller,
    messages: M,
    bounds: Bounds,
    manner: Manner,
    /// What came last: the next message is not read before that is within the caller's quota.
    brought: Brought,
}

impl<'a, M: Arrivals<Message = Message>> Conversation<'a, M> {
    #[must_use]
    pub fn new(
        ingest: &'a Ingest,
        caller: Caller,
        messages: M,
        bounds: Bounds,
        manner: Manner,
    ) -> Self {
        Self {
            ingest,
            caller,
            messages,
            bounds,
            manner,
            brought: Brought::default(),
        }
    }

    /// Stores a whole stream and says so at its end. If the producer cancels, what came is committed all the same, and
    /// nobody is told.
    ///
    /// # Errors
    /// When a message cannot be read or taken, and when it was not the producer who ended the stream: it must not take
    /// the summary for all of it.
    pub async fn store(mut self) -> Result<Summary, M::Error> {
        let (header, first, end) = self.begin().await?;
        let mut inflow = self.open(header).await?;
        let end = match end {
            Some(end) => end,
            None => {
                let progress = inflow.progress();
                tokio::select! {
                    end = self.pour(first, &mut inflow) => end?,
                    failure = failure(progress) => return Err(failure.into()),
                }
            }
        };
        let summary = self.settle(inflow, end).await?;
        match end {
            End::Finished => Ok(summary),
            End::Draining => Err(IngestError::Draining.into()),
            End::Ended => Err(IngestError::Ended.into()),
            End::Idle => {
                let limit = self.bounds.idle_limit;
                Err(IngestError::Idle { limit }.into())
            }
        }
    }

    /// Stores a stream while cumulative acknowledgements are told.
    ///
    /// # Errors
    /// When a message cannot be read or taken; what was told before stays so.
    pub async fn store_and_tell(mut self, audience: &mut impl Audience) -> Result<(), M::Error> {
        let (header, first, end) = self.begin().await?;
        let mut inflow = self.open(header).await?;
        let mut progress = inflow.progress();
        let rejections = inflow.rejections();
        let tell = |progress: &watch::Receiver<Progress>, rejections, draining| Acknowledgement {
            progress: progress.borrow().clone(),
            rejections,
            draining,
        };
        // The position is told at once: the producer sees that the call is alive.
        let mut untold = true;
        let end = match end {
            Some(end) => end,
            None => {
                let pouring = self.pour(first, &mut inflow);
                tokio::pin!(pouring);
                loop {
                    tokio::select! {
                        end = &mut pouring => break end?,
                        changed = progress.changed() => {
                            changed.map_err(|_| IngestError::Draining)?;
                            if let Some(failure) = &progress.borrow_and_update().failure {
                                return Err(failure.clone().into());
                            }
                            untold = true;
                        }
                        // Acknowledgements are cumulative: a producer that is slow to read them gets fewer, and its
                        // readings are taken all the while.
                        listens = audience.listens(), if untold => {
                            // A producer that is gone brings no more; what came is committed.
                            if !listens {
                                return Ok(());
                            }
                            audience.tell(tell(&progress, rejections.take(), false)).await;
                            untold = false;
                        }
                    }
                }
            }
        };
        let summary = self.settle(inflow, end).await?;
        let ended_by_us = end != End::Finished;
        let last = tell(&progress, summary.rejections, ended_by_us);
        audience.tell(last).await;
        match end {
            // Nothing is to be sent again under this token.
            End::Ended => Err(IngestError::Ended.into()),
            _ => Ok(()),
        }
    }

    async fn next(&mut self) -> Result<Next, M::Error> {
        let idle_limit = self.bounds.idle_limit;
        let brought = std::mem::take(&mut self.brought);
        let message = async {
            self.ingest.quotas.settle(&self.caller, brought).await;
            match tokio::time::timeout(idle_limit, self.messages.announced()).await {
                Err(_) => Ok(Next::End(End::Idle)),
                Ok(Err(error)) => Err(error),
                Ok(Ok(None)) => Ok(Next::End(End::Finished)),
                Ok(Ok(Some(missing_bytes))) => {
                    // An exhausted budget leaves the message in the producer (P4).
                    let (message, room) = receive(
                        &mut self.messages,
                        missing_bytes,
                        self.ingest.admission(),
                        self.manner.first,
                        self.bounds.message_deadline,
                    )
                    .await?;
                    if let Message::Readings(sent) = &message {
                        let brought = Brought {
                            rows: sent.readings.len(),
                            bytes: room.bytes(),
                        };
                        match std::mem::replace(&mut self.manner.first, Patience::Waits) {
                            Patience::Waits => self.brought = brought,
                            Patience::ComesBack => {
                                self.ingest.quotas.take(&self.caller, brought)?
                            }
                        }
                    }
                    Ok(Next::Message(message, room))
                }
            }
        };
        tokio::select! {
            () = self.bounds.draining.cancelled() => Ok(Next::End(End::Draining)),
            () = self.caller.ended() => Ok(Next::End(End::Ended)),
            message = message => message,
        }
    }

    /// The header, if the stream begins with one, and the first readings otherwise.
    async fn begin(
        &mut self,
    ) -> Result<(Option<StreamHeader>, Option<(Sent, Room)>, Option<End>), M::Error> {
        Ok(match self.next().await? {
            Next::End(end) => (None, None, Some(end)),
            Next::Message(Message::Header(header), _) => (Some(header), None, None),
            Next::Message(Message::Readings(first), room) => (None, Some((first, room)), None),
        })
    }

    /// Begins the session. Its place in the ledger is waited for as long as the service does not drain.
    async fn open(&mut self, header: Option<StreamHeader>) -> Result<Inflow<'a>, IngestError> {
        let door = self.manner.door;
        tokio::select! {
            // One that has nothing to wait for begins, and says that the service drains in its own way.
            biased;
            begun = self.ingest.begin(header, &self.caller, door) => begun,
            () = self.bounds.draining.cancelled() => Err(IngestError::Draining),
        }
    }

    /// Waits until all that came is settled.
    async fn settle(&mut self, inflow: Inflow<'_>, end: End) -> Result<Summary, IngestError> {
        if end == End::Finished {
            inflow.check_brought_readings()?;
        }
        match self.manner.commit_deadline {
            None => inflow.finish().await,
            Some(deadline) => tokio::time::timeout(deadline, inflow.finish())
                .await
                .unwrap_or(Err(IngestError::CommitDeadline { deadline })),
        }
    }

    /// Feeds every message into the session.
    async fn pour(
        &mut self,
        first: Option<(Sent, Room)>,
        inflow: &mut Inflow<'_>,
    ) -> Result<End, M::Error> {
        if let Some((sent, room)) = first {
            push(inflow, sent, room).await?;
        }
        loop {
            match self.next().await? {
                Next::End(end) => return Ok(end),
                Next::Message(Message::Readings(sent), room) => push(inflow, sent, room).await?,
                Next::Message(Message::Header(_), _) => {
                    return Err(IngestError::Malformed {
                        field: "header".to_owned(),
                        reason: "a header can only be the first message of a stream".to_owned(),
                    }
                    .into());
                }
            }
        }
    }
}

async fn push(inflow: &mut Inflow<'_>, sent: Sent, room: Room) -> Result<(), IngestError> {
    inflow.push(sent.readings, sent.source_position, room).await
}

/// Resolves when the session can go no further: its producer need not send on to hear of it.
async fn failure(mut progress: watch::Receiver<Progress>) -> IngestError {
    match progress
        .wait_for(|progress| progress.failure.is_some())
        .await
    {
        Ok(progress) => progress.failure.clone().unwrap_or(IngestError::Draining),
        Err(_) => IngestError::Draining,
    }
}

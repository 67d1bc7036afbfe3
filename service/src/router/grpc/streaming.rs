//! Streams of messages: feeding them into a session while its acknowledgements flow back.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use sluicegate_proto::v1::{StreamAck, StreamReadingsRequest, stream_readings_request::Message};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, Streaming};

use super::{
    convert,
    status::{of_error, of_idle, of_request},
};
use crate::{
    model::StreamHeader,
    usecase::ingest::{Inflow, Ingest, IngestError, Progress, Readings, RejectionNote, Summary},
};

/// Room that is waited for before the next message is read, when nothing is known of its size.
const FIRST_MESSAGE_BYTES: usize = 64 * 1024;

/// Why no more messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The producer is done, or has cancelled: the two cannot be told apart.
    Finished,
    /// The service is shutting down.
    Draining,
    /// The stream brought nothing for too long.
    Idle,
}

/// The messages of one call.
pub(super) struct Feed {
    requests: Streaming<StreamReadingsRequest>,
    idle_limit: Duration,
    draining: CancellationToken,
    /// Size of the last message in memory, for the next one's admission.
    last_bytes: usize,
}

enum Next {
    Message(Message),
    End(End),
}

impl Feed {
    pub(super) fn new(
        requests: Streaming<StreamReadingsRequest>,
        idle_limit: Duration,
        draining: CancellationToken,
    ) -> Self {
        Self {
            requests,
            idle_limit,
            draining,
            last_bytes: FIRST_MESSAGE_BYTES,
        }
    }

    async fn next(&mut self) -> Result<Next, Status> {
        let message = tokio::select! {
            () = self.draining.cancelled() => return Ok(Next::End(End::Draining)),
            message = tokio::time::timeout(self.idle_limit, self.requests.message()) => message,
        };
        match message {
            Err(_) => Ok(Next::End(End::Idle)),
            Ok(Err(status)) => Err(of_request(status)),
            Ok(Ok(None)) => Ok(Next::End(End::Finished)),
            Ok(Ok(Some(StreamReadingsRequest {
                message: Some(message),
            }))) => Ok(Next::Message(message)),
            Ok(Ok(Some(StreamReadingsRequest { message: None }))) => {
                Ok(Next::Message(Message::Rows(Default::default())))
            }
        }
    }

    /// The header, if the stream begins with one, and the first readings otherwise.
    async fn begin(
        &mut self,
    ) -> Result<(Option<StreamHeader>, Option<Message>, Option<End>), Status> {
        match self.next().await? {
            Next::End(end) => Ok((None, None, Some(end))),
            Next::Message(Message::Header(header)) => {
                let header = convert::header(&header).map_err(|e| of_error(&e))?;
                Ok((Some(header), None, None))
            }
            Next::Message(first) => Ok((None, Some(first), None)),
        }
    }

    /// Begins the session. Its place in the ledger is waited for as long as the service does not drain.
    async fn open<'a>(
        &self,
        ingest: &'a Ingest,
        header: Option<StreamHeader>,
    ) -> Result<Inflow<'a>, Status> {
        let begun = tokio::select! {
            // One that has nothing to wait for begins, and says that the service drains in its own way.
            biased;
            begun = ingest.begin(header) => begun,
            () = self.draining.cancelled() => Err(IngestError::Draining),
        };
        begun.map_err(|e| of_error(&e))
    }

    /// Feeds every message into the session.
    async fn pour(
        &mut self,
        first: Option<Message>,
        inflow: &mut Inflow<'_>,
    ) -> Result<End, Status> {
        let mut waiting = first;
        loop {
            let message = match waiting.take() {
                Some(message) => message,
                None => {
                    // An exhausted budget leaves the message in the producer (P4).
                    tokio::select! {
                        () = self.draining.cancelled() => return Ok(End::Draining),
                        () = inflow.ready(self.last_bytes) => {}
                    }
                    match self.next().await? {
                        Next::End(end) => return Ok(end),
                        Next::Message(message) => message,
                    }
                }
            };
            let readings = readings(message).map_err(|e| of_error(&e))?;
            self.last_bytes = readings.size_bytes().max(FIRST_MESSAGE_BYTES);
            inflow.push(readings).await.map_err(|e| of_error(&e))?;
        }
    }
}

fn readings(message: Message) -> Result<Readings, IngestError> {
    match message {
        Message::Header(_) => Err(IngestError::Malformed {
            field: "header".to_owned(),
            reason: "a header can only be the first message of a stream".to_owned(),
        }),
        Message::Rows(batch) if batch.position.is_some() => Err(IngestError::Malformed {
            field: "rows.position".to_owned(),
            reason: "a batch inside a stream has no position of its own: the header has it"
                .to_owned(),
        }),
        Message::Rows(batch) => convert::rows("rows.readings", batch.readings),
        Message::Columns(batch) => convert::columns(batch),
    }
}

/// Stores a whole stream and says so at its end. If the producer cancels, what came is committed all the same, and
/// nobody is told.
pub(super) async fn store(ingest: &Ingest, mut feed: Feed) -> Result<Summary, Status> {
    let (header, first, end) = feed.begin().await?;
    let mut inflow = feed.open(ingest, header).await?;
    let end = match end {
        Some(end) => end,
        None => {
            let progress = inflow.progress();
            tokio::select! {
                end = feed.pour(first, &mut inflow) => end?,
                failure = failure(progress) => return Err(of_error(&failure)),
            }
        }
    };
    let summary = inflow.finish().await.map_err(|e| of_error(&e))?;
    match end {
        End::Finished => Ok(summary),
        // The end of this stream was not the producer's: it must not take the summary for all of it.
        End::Draining => Err(of_error(&IngestError::Draining)),
        End::Idle => Err(of_idle(feed.idle_limit)),
    }
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

/// Stores a stream while cumulative acknowledgements flow back.
pub(super) fn store_acked(
    ingest: Arc<Ingest>,
    feed: Feed,
    calls: &TaskTracker,
) -> BoxStream<'static, Result<StreamAck, Status>> {
    let (acks, replies) = mpsc::channel(4);
    calls.spawn(async move {
        if let Err(status) = pour_and_acknowledge(&ingest, feed, &acks).await {
            let _ = acks.send(Err(status)).await;
        }
    });
    ReceiverStream::new(replies).boxed()
}

type Acks = mpsc::Sender<Result<StreamAck, Status>>;

async fn pour_and_acknowledge(ingest: &Ingest, mut feed: Feed, acks: &Acks) -> Result<(), Status> {
    let (header, first, end) = feed.begin().await?;
    let mut inflow = feed.open(ingest, header).await?;
    let mut progress = inflow.progress();
    let rejections = inflow.rejections();
    // The position is told at once: the producer sees that the call is alive.
    let mut untold = true;
    let end = match end {
        Some(end) => end,
        None => {
            let pouring = feed.pour(first, &mut inflow);
            tokio::pin!(pouring);
            loop {
                tokio::select! {
                    end = &mut pouring => break end?,
                    changed = progress.changed() => {
                        changed.map_err(|_| of_error(&IngestError::Draining))?;
                        if let Some(failure) = &progress.borrow_and_update().failure {
                            return Err(of_error(failure));
                        }
                        untold = true;
                    }
                    // Acknowledgements are cumulative: a producer that is slow to read them gets fewer, and its
                    // readings are taken all the while.
                    place = acks.reserve(), if untold => {
                        // A producer that is gone brings no more; what came is committed.
                        let Ok(place) = place else { return Ok(()) };
                        place.send(Ok(acknowledgement(&progress.borrow(), rejections.take(), false)));
                        untold = false;
                    }
                }
            }
        }
    };
    let summary = inflow.finish().await.map_err(|e| of_error(&e))?;
    let ended_by_us = end != End::Finished;
    let last = acknowledgement(&progress.borrow(), summary.rejections, ended_by_us);
    let _ = acks.send(Ok(last)).await;
    Ok(())
}

fn acknowledgement(
    progress: &Progress,
    rejections: Vec<RejectionNote>,
    draining: bool,
) -> StreamAck {
    StreamAck {
        committed_seq: progress.committed_seq.0,
        committed: progress.committed,
        rejected: progress.rejected,
        duplicate: progress.duplicate,
        draining,
        rejected_readings: convert::rejected(rejections),
    }
}

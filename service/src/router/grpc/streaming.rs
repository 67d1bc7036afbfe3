//! The two calls that stream, as a conversation of the use case: protobuf in, acknowledgements out.

use std::sync::Arc;

use futures::{StreamExt as _, stream::BoxStream};
use sluicegate_proto::v1::{StreamAck, StreamReadingsRequest, stream_readings_request};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use super::{convert, status::of_request};
use crate::usecase::ingest::{
    Ingest,
    conversation::{Acknowledgement, Audience, Bounds, Conversation, Message, Messages},
};

/// The messages of one call.
pub(super) struct Requests(pub(super) Streaming<StreamReadingsRequest>);

impl Messages for Requests {
    type Error = Status;

    async fn next(&mut self) -> Result<Option<Message>, Status> {
        match self.0.message().await.map_err(of_request)? {
            None => Ok(None),
            Some(StreamReadingsRequest { message }) => {
                let message =
                    message.unwrap_or(stream_readings_request::Message::Rows(Default::default()));
                Ok(Some(convert::message(message)?))
            }
        }
    }
}

/// Who reads the acknowledgements of a call.
struct Replies(mpsc::Sender<Result<StreamAck, Status>>);

impl Audience for Replies {
    async fn listens(&mut self) -> bool {
        self.0.reserve().await.is_ok()
    }

    async fn tell(&mut self, acknowledgement: Acknowledgement) {
        // Who is gone by now need not hear of it.
        let _ = self
            .0
            .send(Ok(convert::acknowledgement(acknowledgement)))
            .await;
    }
}

/// Stores a stream while cumulative acknowledgements flow back.
pub(super) fn store_acked(
    ingest: Arc<Ingest>,
    requests: Requests,
    bounds: Bounds,
    calls: &TaskTracker,
) -> BoxStream<'static, Result<StreamAck, Status>> {
    let (acks, replies) = mpsc::channel(4);
    calls.spawn(async move {
        let conversation = Conversation::new(&ingest, requests, bounds);
        let mut listeners = Replies(acks);
        if let Err(status) = conversation.store_and_tell(&mut listeners).await {
            let _ = listeners.0.send(Err(status)).await;
        }
    });
    ReceiverStream::new(replies).boxed()
}

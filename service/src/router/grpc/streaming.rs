//! The two calls that stream, as a conversation of the use case: protobuf in, acknowledgements out.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use sluicegate_proto::v1::{StreamAck, StreamReadingsRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::Instrument as _;

use super::{convert, deadline::within, requests::Requests};
use crate::{
    contract,
    usecase::ingest::{
        Caller, EntryDoor, Ingest,
        admission::{Arrival, Room},
        arrivals::Arrivals,
        conversation::{Acknowledgement, Audience, Bounds, Conversation, Manner, Message},
    },
};

/// The messages of a call that streams, in the model's words.
pub(super) struct StreamRequests(pub(super) Requests<StreamReadingsRequest>);

impl Arrivals for StreamRequests {
    type Message = Message;
    type Error = Status;

    async fn announced(&mut self) -> Result<Option<usize>, Status> {
        self.0.announced().await
    }

    async fn arrived(&mut self, arrival: &Arrival) -> Result<usize, Status> {
        self.0.arrived(arrival).await
    }

    fn read(&mut self, room: &Room) -> Result<Message, Status> {
        Ok(contract::message(self.0.read(room)?)?)
    }
}

/// Who reads the acknowledgements of a call.
struct Replies(mpsc::Sender<Result<StreamAck, Status>>);

impl Audience for Replies {
    async fn listens(&mut self) -> bool {
        self.0.reserve().await.is_ok()
    }

    async fn tell(&mut self, acknowledgement: Acknowledgement) {
        let acknowledgement = convert::acknowledgement(acknowledgement);
        // Who is gone by now need not hear of it.
        let _ = self.0.send(Ok(acknowledgement)).await;
    }
}

/// Stores a stream while cumulative acknowledgements flow back, until the client's deadline if it has one.
pub(super) fn store_acked(
    (ingest, caller): (Arc<Ingest>, Caller),
    requests: StreamRequests,
    bounds: Bounds,
    deadline: Option<Duration>,
    calls: &TaskTracker,
) -> BoxStream<'static, Result<StreamAck, Status>> {
    let (acks, replies) = mpsc::channel(1);
    let manner = Manner::streaming(EntryDoor::StreamAcked);
    let storing = async move {
        let conversation = Conversation::new(&ingest, caller, requests, bounds, manner);
        let mut replies = Replies(acks);
        let stored = conversation.store_and_tell(&mut replies);
        if let Err(status) = within(deadline, stored).await {
            let _ = replies.0.send(Err(status)).await;
        }
    };
    calls.spawn(storing.in_current_span());
    ReceiverStream::new(replies).boxed()
}

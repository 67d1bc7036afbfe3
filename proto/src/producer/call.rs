//! One call: sends what the window holds and takes acknowledgements, both at once.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::mpsc::{self, error::SendError};
use tonic::Status;

use super::{
    ProducerError,
    connector::Opened,
    delivery::{CallEnd, Delivery, Failure, sleep_until},
    encoder::Encoder,
    progress::SourceMark,
    shared::Intake,
};
use crate::v1::{RejectedReading, StreamAck, StreamReadingsRequest};

type Requests = mpsc::Sender<StreamReadingsRequest>;

/// Where the sending half of a call stands.
enum Sending {
    Open(Requests),
    /// We ended it: everything that we want to send is sent.
    Finished,
    /// The service takes no more: it is about to stop.
    Draining,
    /// The service stopped listening; its reply says why.
    Refused,
}

impl Sending {
    fn requests(&self) -> Option<&Requests> {
        match self {
            Self::Open(requests) => Some(requests),
            Self::Finished | Self::Draining | Self::Refused => None,
        }
    }
}

impl Delivery {
    pub(super) async fn call(&mut self, opened: Opened) -> Result<CallEnd, Failure> {
        self.window.rewind();
        // An anonymous call counts its own readings from 1.
        let call_start = match opened.position {
            Some(_) => 0,
            None => self.window.committed_seq(),
        };
        let first_seq = self.window.committed_seq() + 1;
        let (requests, mut replies) = self.connector.start_call(&opened, first_seq);
        let mut sending = Sending::Open(requests);
        let mut encoder = Encoder::new(self.dictionary, self.settings.max_message_bytes);
        let mut stands_still_since = self.trouble_since;
        let intake = loop {
            let intake = self.shared.take_sealed(&mut self.window);
            let has_next = encoder.has_messages() || self.window.has_unsent();
            if !has_next && self.wants_to_finish(intake) && sending.requests().is_some() {
                sending = Sending::Finished;
            }
            // While batches wait for the connection a partial one may as well grow.
            let linger_end = match has_next {
                true => None,
                false => self.linger_end(intake.opened_at),
            };
            // A plain call owes nothing while it is open and takes what there is.
            let waits = match self.settings.acked {
                true => !self.window.is_empty(),
                false => has_next || sending.requests().is_none(),
            };
            let patience_end = self.patience_end(waits, &mut stands_still_since);
            if self.settings.acked {
                // A call that breaks after it stood still does not buy time.
                self.trouble_since = stands_still_since;
            }
            let mut turn = None;
            tokio::select! {
                reply = replies.next() => match reply {
                    None => break intake,
                    Some(Err(status)) => return Err(Failure::Call(status)),
                    Some(Ok(ack)) => {
                        let before = self.window.committed_seq();
                        self.take_ack(&ack, call_start)?;
                        if self.window.committed_seq() > before {
                            stands_still_since = None;
                        }
                        if ack.draining {
                            turn = Some(Sending::Draining);
                        }
                    }
                },
                permit = room(sending.requests()), if has_next => match permit {
                    Ok(permit) => {
                        if let Some(message) = self.next_message(&mut encoder) {
                            permit.send(message);
                        }
                        if !self.settings.acked {
                            stands_still_since = None;
                            self.goes_well();
                        }
                    }
                    Err(_) => turn = Some(Sending::Refused),
                },
                () = self.shared.wake.notified() => {}
                () = sleep_until(linger_end) => self.shared.seal_open(),
                () = sleep_until(patience_end) => {
                    return Err(Failure::Final(ProducerError::GaveUp {
                        after: stands_still_since.map_or(Duration::ZERO, |since| since.elapsed()),
                        last: "the call is open, but the service acknowledges nothing".to_owned(),
                    }));
                }
            }
            if let Some(turn) = turn {
                sending = turn;
            }
        };
        // The stream may be further than what was pushed.
        let sent_seq = self.sent_seq.min(self.window.last_seq());
        match sending {
            Sending::Draining => Ok(CallEnd::Drained),
            Sending::Open(_) | Sending::Refused => Err(Failure::Call(Status::unavailable(
                "the service ended the call",
            ))),
            Sending::Finished if self.window.committed_seq() < sent_seq => Err(Failure::Call(
                Status::unavailable("the service ended the call and left readings unacknowledged"),
            )),
            Sending::Finished if intake.wishes.close && self.window.is_empty() => {
                Ok(CallEnd::Closed)
            }
            Sending::Finished => Ok(CallEnd::Finished(Box::new(opened.client))),
        }
    }

    /// True when the call should end once everything is sent. A plain client-streaming call acknowledges only then.
    fn wants_to_finish(&self, intake: Intake) -> bool {
        let wishes = intake.wishes;
        let wants_ack = wishes.room || wishes.flush_through > self.window.committed_seq();
        let has_sent = !self.window.is_empty();
        wishes.close || (!self.settings.acked && has_sent && wants_ack)
    }

    fn next_message(&mut self, encoder: &mut Encoder) -> Option<StreamReadingsRequest> {
        if !encoder.has_messages() {
            let batch = self.window.next_unsent()?;
            encoder.encode_batch(batch, &self.shared.series());
            self.sent_seq = self.sent_seq.max(batch.last_seq());
        }
        encoder.next_message()
    }

    fn take_ack(&mut self, ack: &StreamAck, call_start: u64) -> Result<(), Failure> {
        let seq = call_start + ack.committed_seq;
        if seq > self.sent_seq {
            return Err(Failure::Call(Status::internal(format!(
                "the service acknowledged position {seq}, but only {} was sent",
                self.sent_seq
            ))));
        }
        let rejected = ack.rejected_readings.iter().map(|reading| RejectedReading {
            seq: call_start + reading.seq,
            ..reading.clone()
        });
        self.shared.keep_rejected(rejected);
        self.shared
            .stands_at(SourceMark::new(&ack.source_position, seq));
        self.books.acknowledge(ack, seq);
        self.settle(seq);
        Ok(())
    }
}

/// Room for one message in the call; never returns when nothing more may be sent.
async fn room(
    requests: Option<&Requests>,
) -> Result<mpsc::Permit<'_, StreamReadingsRequest>, SendError<()>> {
    match requests {
        Some(requests) => requests.reserve().await,
        None => std::future::pending().await,
    }
}

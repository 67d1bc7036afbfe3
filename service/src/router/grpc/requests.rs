//! The messages of a call as they come out of HTTP/2. Nothing is read on before there is place for it (P4): of a message
//! that has none, no more is here than its first DATA frame.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tonic::{Code, Status};

use super::{packing::Packing, status};
use crate::{
    contract::{Unreadable, Weighed, Weight},
    usecase::ingest::{
        admission::{Arrival, Room},
        arrivals::Arrivals,
    },
};

/// A flag, and the length of the message.
const PREFIX_BYTES: usize = 5;

/// How many messages a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cardinality {
    One,
    Many,
}

/// What a call sends.
pub(super) struct Sent {
    pub(super) body: Incoming,
    pub(super) packing: Packing,
}

/// The messages of one call, of the type `T`.
pub(super) struct Requests<T> {
    body: Incoming,
    packing: Packing,
    cardinality: Cardinality,
    max_message_bytes: usize,
    prefix: Prefix,
    /// What has been read and belongs to no message yet.
    ahead: Bytes,
    /// The message that has been announced, or has arrived.
    message: Option<Encoded>,
    of: PhantomData<fn() -> T>,
}

/// The beginning of a message, which may come in pieces.
#[derive(Default)]
struct Prefix {
    bytes: [u8; PREFIX_BYTES],
    filled: usize,
}

/// A message as it was sent.
struct Encoded {
    length: usize,
    packing: Packing,
    bytes: Bytes,
    weight: Weight,
}

impl<T: Weighed> Requests<T> {
    pub(super) fn new(sent: Sent, cardinality: Cardinality, max_message_bytes: usize) -> Self {
        let Sent { body, packing } = sent;
        Self {
            body,
            packing,
            cardinality,
            max_message_bytes,
            prefix: Prefix::default(),
            ahead: Bytes::new(),
            message: None,
            of: PhantomData,
        }
    }

    /// The next bytes; None at the end of the call, which a producer that cancels has reached as well.
    async fn more(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => return Ok(None),
                },
                Some(Err(error)) => {
                    let status = Status::from_error(Box::new(error));
                    return match status.code() {
                        Code::Cancelled => Ok(None),
                        _ => Err(status),
                    };
                }
            }
        }
    }

    /// The length that the prefix holds, and how the message is packed.
    fn length(&mut self) -> Result<(usize, Packing), Status> {
        let Prefix { bytes, .. } = std::mem::take(&mut self.prefix);
        let [flag, length @ ..] = bytes;
        let packing = match (flag, self.packing) {
            (0, _) => Packing::None,
            (1, packing @ Packing::Gzip) => packing,
            _ => return Err(status::unexpectedly_packed()),
        };
        let length = u32::from_be_bytes(length) as usize;
        if length > self.max_message_bytes {
            return Err(status::too_large(length, self.max_message_bytes));
        }
        Ok((length, packing))
    }

    /// Waits for the end of a call that has one message.
    async fn end(&mut self) -> Result<(), Status> {
        if self.ahead.is_empty() && self.more().await?.is_none() {
            return Ok(());
        }
        Err(status::bad_request(
            "message",
            "the call has a second message, but takes one: send each in a call of its own, or in a stream",
        ))
    }
}

impl<T: Weighed> Arrivals for Requests<T> {
    type Message = T;
    type Error = Status;

    async fn announced(&mut self) -> Result<Option<usize>, Status> {
        while self.prefix.filled < PREFIX_BYTES {
            if self.ahead.is_empty() {
                self.ahead = match self.more().await? {
                    Some(bytes) => bytes,
                    None if self.prefix.filled > 0 => return Err(status::cut_short()),
                    None => return Ok(None),
                };
            }
            let Prefix { bytes, filled } = &mut self.prefix;
            let taken = self.ahead.len().min(PREFIX_BYTES - *filled);
            bytes[*filled..*filled + taken].copy_from_slice(&self.ahead[..taken]);
            *filled += taken;
            self.ahead.advance(taken);
            if self.ahead.is_empty() {
                // Lets go of the frame that it was part of.
                self.ahead = Bytes::new();
            }
        }
        let (length, packing) = self.length()?;
        let bytes = self.ahead.split_to(length.min(self.ahead.len()));
        let missing_bytes = length - bytes.len();
        let unpacked_bytes = packing.room_bytes(length, self.max_message_bytes);
        self.message = Some(Encoded {
            length,
            packing,
            bytes,
            weight: Weight::default(),
        });
        Ok(Some(missing_bytes + unpacked_bytes))
    }

    async fn arrived(&mut self, _place: &Arrival) -> Result<usize, Status> {
        let Some(mut message) = self.message.take() else {
            return Err(Status::internal("no message was announced"));
        };
        if message.bytes.len() < message.length {
            // One piece: what is decoded from it is read several times as fast as from many.
            let mut whole = Vec::with_capacity(message.length);
            whole.extend_from_slice(&std::mem::take(&mut message.bytes));
            while whole.len() < message.length {
                let mut bytes = self.more().await?.ok_or_else(status::cut_short)?;
                let of_message = bytes.split_to(bytes.len().min(message.length - whole.len()));
                whole.extend_from_slice(&of_message);
                self.ahead = bytes;
            }
            message.bytes = whole.into();
        }
        if self.cardinality == Cardinality::One {
            self.end().await?;
        }
        let packed = std::mem::take(&mut message.bytes);
        message.bytes = message
            .packing
            .unpack(packed, self.max_message_bytes)
            .await?;
        message.weight = match T::weigh(&message.bytes) {
            Ok(weight) => weight?,
            Err(Unreadable) => return Err(status::unreadable("it is cut short, or no protobuf")),
        };
        let needed_bytes = message.weight.bytes();
        self.message = Some(message);
        Ok(needed_bytes)
    }

    fn read(&mut self, _room: &Room) -> Result<T, Status> {
        let Some(message) = self.message.take() else {
            return Err(Status::internal("no message has arrived"));
        };
        let mut decoded = T::with_room(&message.weight);
        match decoded.merge(&message.bytes[..]) {
            Ok(()) => Ok(decoded),
            Err(error) => Err(status::unreadable(&error.to_string())),
        }
    }
}

//! What goes back to a client: messages, each with its prefix, and the status at the end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, stream};
use hyper::{
    HeaderMap, Response,
    body::{Body as HttpBody, Frame},
    header::{CONTENT_TYPE, HeaderValue},
};
use prost::Message;
use tonic::{Status, body::Body};

use super::open_call::OpenCall;

/// A response with these messages, and their call, which is open until they are written.
pub(super) fn of_stream<T: Message + 'static>(
    replies: impl Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
    call: OpenCall,
) -> Response<Body> {
    let mut response = Response::new(Body::new(Replies {
        replies,
        ended: false,
        call,
    }));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

/// A response with one message, or with the status alone.
pub(super) fn of_result<T: Message + 'static>(
    reply: Result<T, Status>,
    mut call: OpenCall,
) -> Response<Body> {
    match reply {
        Ok(reply) => of_stream(stream::iter([Ok(reply)]), call),
        Err(status) => of_status(status, &mut call),
    }
}

/// A response with the status alone.
pub(super) fn of_status(status: Status, call: &mut OpenCall) -> Response<Body> {
    call.ends(status.code());
    status.into_http()
}

struct Replies<S> {
    replies: S,
    ended: bool,
    call: OpenCall,
}

impl<T: Message, S: Stream<Item = Result<T, Status>> + Unpin> HttpBody for Replies<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let reply = std::task::ready!(Pin::new(&mut self.replies).poll_next(context));
        let frame = match reply {
            Some(Ok(reply)) => Frame::data(prefixed(&reply)),
            ended => {
                self.ended = true;
                let status = match ended {
                    Some(Err(status)) => status,
                    _ => Status::ok(""),
                };
                self.call.ends(status.code());
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                Frame::trailers(trailers)
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// The body of a response of others, whose call is open until it is written.
struct Held {
    body: Body,
    call: OpenCall,
}

/// A response as it is, and its call.
pub(super) fn of_others(response: Response<Body>, mut call: OpenCall) -> Response<Body> {
    note_status(response.headers(), &mut call);
    response.map(|body| Body::new(Held { body, call }))
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            note_status(trailers, &mut self.call);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

fn note_status(headers: &HeaderMap, call: &mut OpenCall) {
    if let Some(status) = Status::from_header_map(headers) {
        call.ends(status.code());
    }
}

/// Not compressed, the length, the message.
fn prefixed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

//! A client that speaks HTTP/2 as it likes: messages that are withheld, cut short, doubled or larger than they say.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Request, body::Frame, client::conn::http2, header::HeaderMap};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status};

type Body = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

/// One connection.
pub(crate) struct Stranger {
    requests: http2::SendRequest<Body>,
    grpc: SocketAddr,
}

/// A call that is open for as long as it is kept: dropping it cancels it.
pub(crate) struct StrangeCall {
    frames: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    status: AbortOnDropHandle<Status>,
}

/// A message with the prefix of gRPC.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.put_slice(message);
    bytes.freeze()
}

/// So many empty elements of a repeated field, at the path of fields that leads to them.
pub(crate) fn empty_elements(path: &[u8], count: usize) -> Vec<u8> {
    let (last, outer) = path.split_last().expect("a path");
    let mut message = [last << 3 | 2, 0].repeat(count);
    for field in outer.iter().rev() {
        let mut around = vec![field << 3 | 2];
        let mut length = message.len();
        while length >= 0x80 {
            around.push(length as u8 | 0x80);
            length >>= 7;
        }
        around.push(length as u8);
        around.append(&mut message);
        message = around;
    }
    message
}

impl Stranger {
    /// None when the connection is turned away.
    pub(crate) async fn connect(grpc: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(grpc).await.ok()?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (requests, connection) = handshake.await.ok()?;
        tokio::spawn(connection);
        Some(Self { requests, grpc })
    }

    /// A client that takes no byte of any answer.
    pub(crate) async fn deaf(grpc: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(grpc).await.ok()?;
        let mut client = http2::Builder::new(TokioExecutor::new());
        client.initial_stream_window_size(0);
        let (requests, connection) = client.handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self { requests, grpc })
    }

    /// Begins a call and sends the bytes, which may wait for the windows of HTTP/2.
    pub(crate) fn call(
        &mut self,
        method: &str,
        headers: &[(&str, &str)],
        bytes: Bytes,
    ) -> StrangeCall {
        let (frames, waiting) = mpsc::channel(4);
        let path = format!("http://{}/sluicegate.v1.SensorService/{method}", self.grpc);
        let mut request = Request::post(path)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = StreamBody::new(ReceiverStream::new(waiting));
        let request = request.body(body).expect("a request");
        frames.try_send(Ok(Frame::data(bytes))).expect("room");
        let answering = self.requests.send_request(request);
        let status = tokio::spawn(async move {
            let response = match answering.await {
                Ok(response) => response,
                Err(error) => return Status::from_error(Box::new(error)),
            };
            if let Some(status) = status_of(response.headers()) {
                return status;
            }
            match response.into_body().collect().await {
                Ok(body) => body
                    .trailers()
                    .and_then(status_of)
                    .unwrap_or_else(|| Status::new(Code::Unknown, "no status")),
                Err(error) => Status::from_error(Box::new(error)),
            }
        });
        StrangeCall {
            frames,
            status: AbortOnDropHandle::new(status),
        }
    }
}

fn status_of(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}

impl StrangeCall {
    pub(crate) async fn send(&self, bytes: Bytes) {
        // One that has been answered takes nothing more.
        let _ = self.frames.send(Ok(Frame::data(bytes))).await;
    }

    /// Ends the call, and returns what it is answered.
    pub(crate) async fn end(self) -> Status {
        let Self { frames, status } = self;
        drop(frames);
        answer(status).await
    }

    /// What a call that is not ended is answered.
    pub(crate) async fn answered(self) -> Status {
        let Self { frames, status } = self;
        let status = answer(status).await;
        drop(frames);
        status
    }
}

async fn answer(status: AbortOnDropHandle<Status>) -> Status {
    let answered = timeout(Duration::from_secs(120), status).await;
    answered.expect("answered in time").expect("no panic")
}

//! What waits for a client to take it, on one connection, and since when: whoever takes nothing for too long is cut off.
//!
//! On HTTP/1 the socket tells: it takes no more bytes. On HTTP/2 a client can leave one answer alone and take others, so
//! each body tells by itself. Bodies are handed over in small pieces, so that little of one lies in the server's own
//! buffers, where nobody counts it.

use std::{
    collections::HashMap,
    fmt::Debug,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// A body is handed over in pieces of this size.
const PIECE_BYTES: usize = 32 << 10;
/// How often a connection is looked at, for each deadline.
const LOOKS: u32 = 10;

/// What an answer holds until its client has taken it, such as the memory that it may use. As an extension of a response it
/// is on its way to the connection.
#[derive(Clone, Debug)]
pub struct Held {
    _held: Arc<dyn Debug + Send + Sync>,
}

impl Held {
    pub fn new(held: impl Debug + Send + Sync + 'static) -> Self {
        Self {
            _held: Arc::new(held),
        }
    }
}

/// What waits on one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Taking {
    since: Arc<Mutex<HashMap<u64, Instant>>>,
    numbers: Arc<AtomicU64>,
}

/// One thing that may wait; dropping it ends the wait.
#[derive(Debug)]
struct Waiting {
    of: Taking,
    number: u64,
}

impl Taking {
    fn new_waiting(&self) -> Waiting {
        Waiting {
            of: self.clone(),
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn since(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when something has waited for longer than the deadline.
    pub(super) async fn stalled(&self, deadline: Duration) {
        loop {
            tokio::time::sleep(deadline / LOOKS).await;
            let oldest = self.since().values().min().copied();
            if oldest.is_some_and(|since| since.elapsed() > deadline) {
                return;
            }
        }
    }

    /// A socket whose writes are watched.
    pub(super) fn io<I>(&self, io: I) -> WatchedIo<I> {
        WatchedIo {
            io,
            waiting: self.new_waiting(),
        }
    }

    /// A body that is watched, and the room that it holds.
    pub(super) fn body<B>(&self, body: B, held: Option<Held>) -> WatchedBody<B> {
        WatchedBody {
            body,
            rest: Bytes::new(),
            begun: false,
            waiting: self.new_waiting(),
            _held: held,
        }
    }
}

impl Waiting {
    fn begin(&self) {
        let now = Instant::now();
        self.of.since().entry(self.number).or_insert(now);
    }

    fn end(&self) {
        self.of.since().remove(&self.number);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug)]
pub(super) struct WatchedIo<I> {
    io: I,
    waiting: Waiting,
}

impl<I> WatchedIo<I> {
    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        match written {
            Poll::Pending => self.waiting.begin(),
            Poll::Ready(_) => self.waiting.end(),
        }
        written
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for WatchedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for WatchedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// What TLS has encrypted already waits here.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[derive(Debug)]
pub(crate) struct WatchedBody<B> {
    body: B,
    /// Of the frame that is being handed over.
    rest: Bytes,
    begun: bool,
    waiting: Waiting,
    _held: Option<Held>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    /// Being asked for more means that what there was is taken.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.waiting.end();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let piece_bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(piece_bytes);
        self.begun = true;
        self.waiting.begin();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// The last piece, too, is only known to be taken when the next one is asked for.
    fn is_end_stream(&self) -> bool {
        !self.begun && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let hint = self.body.size_hint();
        let mut with_rest = SizeHint::new();
        if let Some(upper) = hint.upper() {
            with_rest.set_upper(upper + rest);
        }
        with_rest.set_lower(hint.lower() + rest);
        with_rest
    }
}

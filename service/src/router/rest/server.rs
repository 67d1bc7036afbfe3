//! An accept loop of our own over hyper-util: warp's server sets no header timeout, and TLS will go in here.

use std::{convert::Infallible, io, io::Cursor, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tower_service::Service;
use warp::http::{Request, Response};

use super::taking::{Held, Taking};

/// A client that takes longer to send its headers, or to begin with them, is cut off.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// A client of HTTP/2 that is idle is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The head of a request with its address, and what is written and not sent yet, of a connection of HTTP/1.
const BUFFER_BYTES: usize = 64 << 10;
/// Requests at once on a connection of HTTP/2, what each may have written and not sent yet, and what a connection may
/// have brought of bodies that nobody reads.
const STREAMS: u32 = 16;
const STREAM_BUFFER_BYTES: usize = 16 << 10;
const WINDOW_BYTES: u32 = (64 << 10) - 1;
/// Longest wait for open requests at shutdown.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Those beyond wait to be accepted.
    pub(super) connections: usize,
    /// How long a client may take nothing of its answer.
    pub(super) write_deadline: Duration,
}

/// Serves until `closing`, then waits for requests that are open.
pub(super) async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    bounds: Bounds,
    closing: CancellationToken,
) where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error: std::error::Error + Send + Sync>
        + Send
        + Unpin
        + 'static,
{
    let server = builder();
    let graceful = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let (stream, place) = tokio::select! {
            () = closing.cancelled() => break,
            accepted = accept(&listener, &free) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let taking = Taking::default();
        let service = service.clone().map_response({
            let taking = taking.clone();
            move |mut response: Response<B>| {
                let held = response.extensions_mut().remove::<Held>();
                response.map(|body| taking.body(body, held))
            }
        });
        // For the routes: warp has no filter for it.
        let service = service.map_request(|mut request: Request<hyper::body::Incoming>| {
            let version = request.version();
            request.extensions_mut().insert(version);
            request
        });
        let service = TowerToHyperService::new(service);
        let (server, watcher, closing) = (server.clone(), graceful.watcher(), closing.clone());
        tokio::spawn(async move {
            let _place = place;
            let begun = tokio::select! {
                () = closing.cancelled() => return,
                begun = tokio::time::timeout(HEADER_DEADLINE, begin(stream)) => begun,
            };
            let Ok(Ok(stream)) = begun else {
                tracing::debug!("a connection brought nothing");
                return;
            };
            let io = TokioIo::new(taking.io(stream));
            let connection = server.serve_connection(io, service).into_owned();
            tokio::select! {
                ended = watcher.watch(connection) => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                },
                () = taking.stalled(bounds.write_deadline) => tracing::info!(
                    write_deadline_s = bounds.write_deadline.as_secs(),
                    "a client that took nothing of its answer was cut off"
                ),
            }
        });
    }
    if tokio::time::timeout(CLOSE_DEADLINE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still open at shutdown");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(BUFFER_BYTES);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    server
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = free.clone().acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Waits for what tells HTTP/1 from HTTP/2, which hyper would do without a deadline.
async fn begin(mut stream: TcpStream) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let mut start = Vec::with_capacity(PREFACE.len());
    while start.len() < PREFACE.len() && PREFACE.starts_with(&start) {
        let room = PREFACE.len() - start.len();
        if (&mut stream).take(room as u64).read_buf(&mut start).await? == 0 {
            break;
        }
    }
    let (from_client, to_client) = stream.into_split();
    Ok(tokio::io::join(
        Cursor::new(start).chain(from_client),
        to_client,
    ))
}

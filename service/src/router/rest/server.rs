//! An accept loop of our own over hyper-util: warp's server sets no header timeout, and TLS will go in here.

use std::{convert::Infallible, io, io::Cursor, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use warp::http::{Request, Response};

/// A client that takes longer to send its headers, or to begin with them, is cut off.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// A client of HTTP/2 that is idle is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for open requests at shutdown.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// Serves until `closing`, then waits for requests that are open.
pub(super) async fn serve<S, B>(listener: TcpListener, service: S, closing: CancellationToken)
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: hyper::body::Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE);
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(service.clone());
        let (server, watcher, closing) = (server.clone(), graceful.watcher(), closing.clone());
        tokio::spawn(async move {
            let begun = tokio::select! {
                () = closing.cancelled() => return,
                begun = tokio::time::timeout(HEADER_DEADLINE, begin(stream)) => begun,
            };
            let Ok(Ok(stream)) = begun else {
                tracing::debug!("a connection brought nothing");
                return;
            };
            let connection = server.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, "a connection ended");
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

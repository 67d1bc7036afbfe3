//! An accept loop of our own over hyper-util: warp's server sets no deadlines and bounds nothing.

use std::{convert::Infallible, fmt, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Request, Response, header::HOST};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use tower_service::Service;

pub use crate::taking::Held;
use crate::{
    Accepted, Activity, Complaint, Crowd, IdleConnections, Lifetime, Listener, TURN_AWAY_PAUSE,
    begin,
    taking::{Taking, WatchedBody},
    tls::{Protocol, Tls},
};

/// A client that takes longer to send its headers is cut off.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// A client of HTTP/2 that is idle is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Requests at once on a connection of HTTP/2, what each may have written and not sent yet, and what a connection may
/// have brought of bodies that nobody reads.
const STREAMS: u32 = 16;
const STREAM_BUFFER_BYTES: usize = 16 << 10;
const WINDOW_BYTES: u32 = (64 << 10) - 1;
/// When all places are taken, so many connections without a request are closed at a time for a new one, and looked at again
/// after this time. As long they have to close by themselves.
const MAKE_PLACES: usize = 16;
const LEAVE_DEADLINE: Duration = Duration::from_millis(20);
/// Longest wait for open requests at shutdown.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For those beyond, the ones that have been without a request for longest make place; while all have one, they wait.
    pub connections: usize,
    /// Those of one address beyond these are closed.
    pub connections_per_address: Option<usize>,
    /// How long a client may take nothing of its answer.
    pub write_deadline: Duration,
    /// The head of a request with its address; of HTTP/1 also what is written and not sent yet. At least 8 KiB.
    pub header_bytes: u32,
    pub lifetime: Lifetime,
}

/// How a door is kept.
pub struct Door {
    pub bounds: Bounds,
    /// None: what is said is said in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Told of each connection that is closed because its address has enough of them.
    pub crowded: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bounds, tls, .. } = self;
        formatter
            .debug_struct("Door")
            .field("bounds", bounds)
            .field("tls", tls)
            .finish_non_exhaustive()
    }
}

/// The name, or address, under which a request reached us, with its port as far as there is one: what a client of HTTP/2 or
/// a proxy writes into the target, else `Host`. An extension of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedName(pub Option<String>);

impl AskedName {
    fn of<B>(request: &Request<B>) -> Self {
        let target = request.uri().authority().map(ToString::to_string);
        let headers = || {
            let headers = request.headers().get_all(HOST).iter();
            let names: Vec<_> = headers
                .map(|name| String::from_utf8_lossy(name.as_bytes()))
                .collect();
            // Of two names, none is meant.
            (!names.is_empty()).then(|| names.join(", "))
        };
        Self(target.or_else(headers))
    }
}

/// Serves until `closing`, then waits for requests that are open.
pub async fn serve<S, B>(listener: TcpListener, service: S, door: Door, closing: CancellationToken)
where
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
    let Door {
        bounds,
        tls,
        crowded,
    } = door;
    let server = builder(bounds.header_bytes);
    let connections = TaskTracker::new();
    // Connections end with the server, also where nobody waits for its end.
    let ending = closing.child_token();
    let _ended = ending.clone().drop_guard();
    let listener = Listener::new(listener, bounds.connections_per_address);
    let crowd = Complaint::default();
    let mut number = 0_u64;
    let free = Arc::new(Semaphore::new(bounds.connections));
    let idle = IdleConnections::default();
    loop {
        let accepting = async {
            let accepted = listener.accept().await;
            (accepted, place(&free, &idle).await)
        };
        let (accepted, place) = tokio::select! {
            () = closing.cancelled() => break,
            accepted = accepting => accepted,
        };
        let Accepted {
            stream,
            peer: address,
            counted,
        } = match accepted {
            Ok(accepted) => accepted,
            Err(Crowd(address)) => {
                crowded();
                if crowd.is_due() {
                    tracing::warn!(%address, "a connection is turned away: its address has enough of them");
                }
                tokio::time::sleep(TURN_AWAY_PAUSE).await;
                continue;
            }
        };
        let taking = Taking::default();
        let activity = idle.connection();
        let service = answering(service.clone(), taking.clone(), activity.clone());
        let (server, closing, tls) = (server.clone(), ending.clone(), tls.clone());
        // Neighbours are far apart.
        number = number.wrapping_add(619);
        let age = bounds.lifetime.begin(number);
        connections.spawn(async move {
            let _held = (place, counted);
            let tls = tls.as_deref().map(|tls| (tls, Protocol::Web));
            let begun = tokio::select! {
                () = closing.cancelled() => return,
                () = activity.is_to_leave() => return,
                begun = begin(stream, address, tls, &activity) => begun,
            };
            let (stream, peer) = match begun {
                Ok(begun) => begun,
                Err(error) => {
                    tracing::debug!(%error, "a connection ended");
                    return;
                }
            };
            // For the routes: warp has no filters for them.
            let service =
                service.map_request(move |mut request: Request<hyper::body::Incoming>| {
                    let (version, name) = (request.version(), AskedName::of(&request));
                    let extensions = request.extensions_mut();
                    extensions.insert(version);
                    extensions.insert(name);
                    extensions.insert(peer.clone());
                    request
                });
            let service = TowerToHyperService::new(service);
            let io = TokioIo::new(taking.io(stream));
            let mut connection = pin!(server.serve_connection(io, service));
            let served = async {
                tokio::select! {
                    ended = &mut connection => return ended,
                    () = closing.cancelled() => {}
                    () = activity.is_to_leave() => {}
                    () = age.is_over() => {}
                }
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = activity.overstays(LEAVE_DEADLINE) => Ok(()),
                    () = age.is_overstayed() => Ok(()),
                }
            };
            tokio::select! {
                ended = served => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                },
                () = taking.stalled(bounds.write_deadline) => tracing::info!(
                    write_deadline_s = bounds.write_deadline.as_secs(),
                    "a client that took nothing of its answer was cut off"
                ),
            }
        });
    }
    // Nobody connects to what answers no more.
    drop(listener);
    connections.close();
    if tokio::time::timeout(CLOSE_DEADLINE, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("requests were still open at shutdown");
    }
}

/// A place for a new connection. Nobody keeps others out by connecting and asking for nothing, or for half of it.
async fn place(free: &Arc<Semaphore>, idle: &IdleConnections) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(place) = free.clone().try_acquire_owned() {
            return Some(place);
        }
        for _ in 0..MAKE_PLACES {
            if !idle.make_place() {
                break;
            }
        }
        let freed = tokio::time::timeout(LEAVE_DEADLINE, free.clone().acquire_owned());
        if let Ok(place) = freed.await {
            // The semaphore is never closed.
            return place.ok();
        }
    }
}

/// The service on one connection: what waits for its client is watched, and while a request is open, from its head to the last
/// of its answer, the connection is not idle.
fn answering<S, B>(
    service: S,
    taking: Taking,
    activity: Arc<Activity>,
) -> impl Service<
    Request<hyper::body::Incoming>,
    Response = Response<WatchedBody<B>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    tower::service_fn(move |request| {
        let (taking, active) = (taking.clone(), activity.call());
        let answered = service.clone().call(request);
        async move {
            let mut response = answered.await?;
            let held = response.extensions_mut().remove::<Held>();
            let held = Held::new((active, held));
            Ok(response.map(|body| taking.body(body, Some(held))))
        }
    })
}

fn builder(header_bytes: u32) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(header_bytes as usize);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(header_bytes)
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_name_of_its_target_or_else_of_its_header() {
        let name = |target: &str, hosts: &[&str]| {
            let mut request = Request::get(target);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            AskedName::of(&request.body(()).unwrap()).0
        };
        assert_eq!(name("/x", &[]), None);
        assert_eq!(name("/x", &["a:1"]).as_deref(), Some("a:1"));
        assert_eq!(name("/x", &["a", "b"]).as_deref(), Some("a, b"));
        assert_eq!(name("http://c:2/x", &["a"]).as_deref(), Some("c:2"));
    }
}

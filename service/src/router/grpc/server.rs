//! Connections: how many there are, how large their windows, and what ends them.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use sluicegate_transport::{
    Accepted, Begun, Listener, Peer, TURN_AWAY_PAUSE, Wire, begin,
    tls::{Protocol, Tls},
};
use tokio::{net::TcpListener, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Layer as _, ServiceExt as _};

use super::{
    access::GrpcDoorkeeper,
    calls::Calls,
    door::{Door, Seat},
    metrics::GrpcMetrics,
    unread::Unread,
    windows::Window,
};
use crate::{auth::Guard, config::GrpcConfig};

/// What an idle connection gets to close by itself once it was told to leave.
const LEAVE_DEADLINE: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// What is written and not sent yet, for each call.
const MAX_SEND_BYTES: usize = 64 << 10;
/// Calls that a client cancels before they were begun; more of them at once are a flood.
const MAX_PENDING_RESETS: usize = 20;
/// What is open on a connection that has had its time, grace included, commits what it brought and says so.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// Calls of one connection that broke the protocol, over its whole life.
const MAX_BROKEN_CALLS: usize = 1024;
/// A connection has at most one part in so many of all calls, so that no single one takes the places of all others.
const SHARE_OF_CALLS: usize = 4;
/// But where there are few places, one client can still do something.
const FEWEST_CALLS: usize = 16;

/// Accepts connections until `draining`, and returns when all have ended.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    (calls, guard): (Calls, Guard<GrpcDoorkeeper>),
    config: &GrpcConfig,
    draining: CancellationToken,
    metrics: GrpcMetrics,
) {
    let door = Door::new(config, metrics);
    let listener = Listener::new(listener, config.max_connections_per_address);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = draining.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Accepted {
            stream,
            peer: address,
            counted,
        } = match accepted {
            Ok(accepted) => accepted,
            Err(crowd) => {
                door.keep_out(crowd);
                sleep(TURN_AWAY_PAUSE).await;
                continue;
            }
        };
        let Some(entry) = door.enter() else {
            drop(stream);
            sleep(TURN_AWAY_PAUSE).await;
            continue;
        };
        let (calls, config, draining) = (calls.clone(), config.clone(), draining.clone());
        let (tls, guard) = (tls.clone(), guard.clone());
        connections.spawn(async move {
            let _counted = counted;
            let Some(seat) = entry.seat().await else {
                return;
            };
            let tls = tls.as_deref().map(|tls| (tls, Protocol::Rpc));
            let begun = tokio::select! {
                () = draining.cancelled() => return,
                () = seat.activity.is_to_leave() => return,
                begun = begin(stream, address, tls, &seat.activity) => begun,
            };
            let ended = match begun {
                Ok((stream, peer)) => {
                    connection(stream, peer, &seat, (calls, guard), &config, draining).await
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    // Nobody connects to a service that answers no more.
    drop(listener);
    connections.close();
    connections.wait().await;
}

type Server = http2::Builder<TokioExecutor>;

fn server(config: &GrpcConfig, window: &Window) -> Server {
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .initial_stream_window_size(window.stream_bytes)
        .initial_connection_window_size(window.connection_bytes)
        .max_concurrent_streams(calls_of_one_connection(config))
        .max_header_list_size(config.max_header_bytes)
        .max_send_buf_size(MAX_SEND_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_BROKEN_CALLS)
        .keep_alive_interval(Duration::from_secs(config.keepalive_s))
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    server
}

fn calls_of_one_connection(config: &GrpcConfig) -> u32 {
    let share = (config.max_open_calls / SHARE_OF_CALLS).max(FEWEST_CALLS);
    let share = u32::try_from(share).unwrap_or(u32::MAX);
    config.max_concurrent_calls.min(share)
}

async fn connection(
    stream: Begun<Wire>,
    peer: Peer,
    Seat {
        window, activity, ..
    }: &Seat,
    (calls, guard): (Calls, Guard<GrpcDoorkeeper>),
    config: &GrpcConfig,
    draining: CancellationToken,
) -> Result<(), String> {
    let unread = Unread::default();
    // What streams on it ends as it does when the service goes down, and goes on elsewhere.
    let ending = draining.child_token();
    let calls = Arc::new(calls.of_connection(unread.clone(), activity.clone(), ending.clone()));
    let answering = tower::service_fn(move |request: Request<Incoming>| {
        let answer = Box::pin(calls.clone().answer(request));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let guarded = guard.layer(answering);
    let guarded = guarded.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request
    });
    let service = TowerToHyperService::new(guarded);
    let server = server(config, window);
    let age = config.lifetime().begin(rand::random());
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let served = async {
        tokio::select! {
            ended = &mut connection => return ended,
            () = draining.cancelled() => {}
            () = activity.is_to_leave() => {}
            () = age.is_over() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = &mut connection => return ended,
            () = activity.overstays(LEAVE_DEADLINE) => return Ok(()),
            () = age.is_overstayed() => ending.cancel(),
        }
        tokio::time::timeout(END_DEADLINE, connection)
            .await
            .unwrap_or(Ok(()))
    };
    let unread_limit = Duration::from_secs(config.message_deadline_s);
    tokio::select! {
        ended = served => ended.map_err(|error| error.to_string()),
        () = unread.overdue(unread_limit) => Err("its client does not read what it is answered".to_owned()),
    }
}

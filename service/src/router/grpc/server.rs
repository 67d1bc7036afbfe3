//! Connections: how many there are, how large their windows, and what ends them.

use std::{convert::Infallible, pin::pin, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sluicegate_transport::{Accepted, Listener, begun};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    calls::Calls,
    door::{Door, Seat},
    metrics::GrpcMetrics,
    unread::Unread,
    windows::Window,
};
use crate::config::GrpcConfig;

const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Headers of one call, decoded: what gRPC itself takes by default.
const MAX_HEADER_BYTES: u32 = 8 << 10;
/// What is written and not sent yet, for each call.
const MAX_SEND_BYTES: usize = 64 << 10;
/// Calls that a client cancels before they were begun; more of them at once are a flood.
const MAX_PENDING_RESETS: usize = 20;
/// Calls of one connection that broke the protocol, over its whole life.
const MAX_BROKEN_CALLS: usize = 1024;
/// A connection has at most one part in so many of all calls, so that no single one takes the places of all others.
const SHARE_OF_CALLS: usize = 4;
/// But where there are few places, one client can still do something.
const FEWEST_CALLS: usize = 16;

/// Accepts connections until `draining`, and returns when all have ended.
pub(super) async fn serve(
    listener: TcpListener,
    calls: Calls,
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
            stream, counted, ..
        } = match accepted {
            Ok(accepted) => accepted,
            Err(crowd) => {
                door.keep_out(crowd);
                continue;
            }
        };
        let Some(entry) = door.enter() else {
            continue;
        };
        let (calls, config, draining) = (calls.clone(), config.clone(), draining.clone());
        connections.spawn(async move {
            let _counted = counted;
            let Some(seat) = entry.seat().await else {
                return;
            };
            if let Err(error) = connection(stream, &seat, calls, &config, draining).await {
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
        .max_header_list_size(MAX_HEADER_BYTES)
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
    stream: TcpStream,
    Seat {
        window, activity, ..
    }: &Seat,
    calls: Calls,
    config: &GrpcConfig,
    draining: CancellationToken,
) -> Result<(), String> {
    // Without it every reply of a unary call would wait for the client's delayed TCP acknowledgement.
    stream
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    let begun = tokio::select! {
        () = draining.cancelled() => return Ok(()),
        () = activity.is_to_leave() => return Ok(()),
        begun = begun(stream) => begun,
    };
    let stream = begun.map_err(|error| error.to_string())?;
    let unread = Unread::default();
    let calls = calls.of_connection(unread.clone(), activity.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = Box::pin(calls.clone().answer(request));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let server = server(config, window);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let served = async {
        tokio::select! {
            ended = &mut connection => return ended,
            () = draining.cancelled() => {}
            () = activity.is_to_leave() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = &mut connection => ended,
            () = activity.overstays() => Ok(()),
        }
    };
    let unread_limit = Duration::from_secs(config.message_deadline_s);
    tokio::select! {
        ended = served => ended.map_err(|error| error.to_string()),
        () = unread.overdue(unread_limit) => Err("its client does not read what it is answered".to_owned()),
    }
}

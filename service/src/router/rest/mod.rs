//! The REST door. For now: is it alive, is it ready, which version.

mod health;
mod server;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::Filter as _;

use crate::usecase::ingest::Ingest;

/// Serves REST until `draining`, then until the requests that are open have ended.
pub async fn serve(listener: TcpListener, ingest: Arc<Ingest>, draining: CancellationToken) {
    let routes = health::routes(ingest, draining.clone()).with(warp::log("sluicegate::rest"));
    server::serve(listener, warp::service(routes), draining).await;
}

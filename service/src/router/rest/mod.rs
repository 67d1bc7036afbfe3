//! The REST door: query string and JSON in, one use case, JSON, NDJSON, CSV or a problem document out.

mod analysis;
mod answer;
mod changes;
mod cors;
mod cursor;
mod docs;
mod export;
mod format;
mod health;
mod metrics;
mod parameters;
mod params;
mod problem;
mod readings;
mod request;
mod routes;
mod selection;
mod server;
mod streams;
mod time;
mod views;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::docs::openapi_json;
use crate::{
    config::RestConfig,
    usecase::{
        ingest::Ingest,
        manage::{Manage, partitions::PartitionManager},
        readiness::Readiness,
    },
};

/// What handlers work with.
struct Context {
    manage: Arc<Manage>,
    ingest: Arc<Ingest>,
    /// None where nobody manages partitions.
    partitions: Option<Arc<PartitionManager>>,
    readiness: Arc<Readiness>,
    draining: CancellationToken,
}

#[allow(
    clippy::too_many_arguments,
    reason = "each is a part of the service of its own"
)]
/// Serves REST until `closing`, then until the requests that are open have ended. From `draining` on it says that the
/// service is not ready.
pub async fn serve(
    listener: TcpListener,
    manage: Arc<Manage>,
    ingest: Arc<Ingest>,
    partitions: Option<Arc<PartitionManager>>,
    readiness: Arc<Readiness>,
    config: RestConfig,
    draining: CancellationToken,
    closing: CancellationToken,
) {
    let context = Arc::new(Context {
        manage,
        ingest,
        partitions,
        readiness,
        draining,
    });
    let routes = cors::around(routes::all(&context), &config.cors_origins);
    server::serve(listener, warp::service(routes), closing).await;
}

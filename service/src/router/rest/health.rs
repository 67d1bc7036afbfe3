//! `/healthz`, `/readyz`, `/version`.

use std::{convert::Infallible, sync::Arc};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warp::{Filter, Reply, http::StatusCode, reply};

use crate::{
    repository::StorageFacts,
    usecase::ingest::{Figures, Ingest},
};

#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    draining: bool,
    storage: &'a StorageFacts,
    /// Age of the oldest reading that is not committed, milliseconds.
    lag_ms: u64,
    /// Memory that readings in flight take, bytes.
    in_flight_bytes: u64,
    books: Figures,
}

pub(super) fn routes(
    ingest: Arc<Ingest>,
    draining: CancellationToken,
) -> impl Filter<Extract = (impl Reply,), Error = warp::Rejection> + Clone {
    let healthz = warp::path!("healthz").and(warp::get()).map(|| "ok\n");
    let version = warp::path!("version").and(warp::get()).map(|| {
        reply::json(&serde_json::json!({
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
        }))
    });
    let readyz = warp::path!("readyz")
        .and(warp::get())
        .and_then(move || readiness(ingest.clone(), draining.clone()));
    healthz.or(version).or(readyz)
}

async fn readiness(
    ingest: Arc<Ingest>,
    draining: CancellationToken,
) -> Result<impl Reply, Infallible> {
    let database = ingest.database_answers().await;
    let draining = draining.is_cancelled();
    let readiness = Readiness {
        ready: database && !draining,
        draining,
        storage: ingest.facts(),
        lag_ms: ingest.lag().as_millis() as u64,
        in_flight_bytes: ingest.used_bytes(),
        books: ingest.figures(),
    };
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(reply::with_status(reply::json(&readiness), status))
}

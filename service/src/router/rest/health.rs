//! `/healthz`, `/readyz`, `/version`, `/metrics`.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{
    Context,
    answer::{Answer, JSON},
    metrics,
    problem::Problem,
    request::Request,
};
use crate::{
    repository::StorageFacts,
    usecase::{ingest::Figures, manage::partitions::PartitionFigures},
};

/// Whether the service is ready, and what it holds
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness<'a> {
    /// Whether readings flow: there are no reasons why not
    ready: bool,
    /// Why the service is not ready, a sentence each
    reasons: Vec<String>,
    /// Whether the database answers
    database: bool,
    /// Whether the service is on its way down
    draining: bool,
    /// Parts of the service that are gone, because of which it ends
    failures: Vec<String>,
    #[schema(value_type = Object)]
    storage: &'a StorageFacts,
    /// Age of the oldest reading that is not committed, milliseconds
    lag_ms: u64,
    /// Memory that readings in flight take, bytes
    in_flight_bytes: u64,
    #[schema(value_type = Object)]
    books: Figures,
    /// Left out where nobody manages partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    partitions: Option<PartitionFigures>,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "service",
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain")))]
pub(super) async fn healthz(_: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    Ok(Answer::whole(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        "ok\n",
    ))
}

/// Name and version of the program.
#[utoipa::path(get, path = "/version", tag = "service",
    responses((status = 200, description = "Name and version", body = Object)))]
pub(super) async fn version(_: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    let version = serde_json::json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
    });
    Ok(Answer::whole(StatusCode::OK, JSON, version.to_string()))
}

/// Whether the service takes readings now, and if not, why; with the durability of an acknowledgement, the lag and the
/// books. The health service of gRPC says the same.
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses((status = 200, description = "Ready", body = Readiness<'static>),
        (status = 503, description = "Not ready, for the reasons given", body = Readiness<'static>)))]
pub(super) async fn readyz(context: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    let ingest = &context.ingest;
    let standing = context.readiness.look().await;
    let readiness = Readiness {
        ready: standing.ready,
        reasons: standing.reasons,
        database: standing.database,
        draining: standing.draining,
        failures: standing.failures.iter().map(ToString::to_string).collect(),
        storage: ingest.facts(),
        lag_ms: ingest.lag().as_millis() as u64,
        in_flight_bytes: ingest.used_bytes(),
        books: ingest.figures(),
        partitions: context.partitions.as_ref().map(|manager| manager.figures()),
    };
    let status = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::to_vec(&readiness).unwrap_or_default();
    Ok(Answer::whole(status, JSON, body))
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(context: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    let partitions = context.partitions.as_ref().map(|manager| manager.figures());
    let text = metrics::render(
        &context.ingest.figures(),
        context.ingest.used_bytes(),
        context.ingest.lag(),
        context.draining.is_cancelled(),
        partitions.as_ref(),
    );
    Ok(Answer::whole(StatusCode::OK, metrics::CONTENT_TYPE, text))
}

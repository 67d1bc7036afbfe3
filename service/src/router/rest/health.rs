//! `/healthz`, `/readyz`, `/version`, `/metrics`.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{StatusCode, header};

use super::{
    Context,
    answer::{Answer, JSON},
    problem::Problem,
    request::Request,
};
use crate::{
    build_info::{COMMIT, VERSION},
    repository::StorageFacts,
    telemetry::metrics::Exposition,
    usecase::{
        UseCases,
        ingest::Figures,
        manage::{SeriesStanding, partitions::PartitionFigures},
        sources::SourceStanding,
    },
};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A database that does not answer is waited for longer than this. Who scrapes every second waits no longer than a second, and
/// would be told nothing as long as it lasts.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

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
    /// Left out until the database was looked at
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    storage: Option<&'a StorageFacts>,
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
    /// Left out where readings bring their names along.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    series: Option<SeriesStanding>,
    /// What readings are fetched from; left out where there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    sources: Vec<SourceStanding>,
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

/// Name and version of the program, and the commit that it was built from, or `unknown`.
#[utoipa::path(get, path = "/version", tag = "service",
    responses((status = 200, description = "Name and version", body = Object)))]
pub(super) async fn version(_: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    let version = serde_json::json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": VERSION,
        "commit": COMMIT,
    });
    Ok(Answer::whole(StatusCode::OK, JSON, version.to_string()))
}

/// Whether the service takes readings now, and if not, why; with the durability of an acknowledgement, the lag and the
/// books. The health service of gRPC says the same.
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses((status = 200, description = "Ready", body = Readiness<'static>),
        (status = 503, description = "Not ready, for the reasons given", body = Readiness<'static>)))]
pub(super) async fn readyz(context: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    let standing = context.readiness.look().await;
    let started = context.started.get();
    let ingest = started.map(|started| &started.ingest);
    let readiness = Readiness {
        ready: standing.ready,
        reasons: standing.reasons,
        database: standing.database,
        draining: standing.draining,
        failures: standing.failures.iter().map(ToString::to_string).collect(),
        storage: ingest.map(|ingest| ingest.facts()),
        lag_ms: ingest.map_or(0, |ingest| ingest.lag().as_millis() as u64),
        in_flight_bytes: ingest.map_or(0, |ingest| ingest.used_bytes()),
        books: ingest.map_or_else(Figures::default, |ingest| ingest.figures()),
        partitions: started.and_then(partition_figures),
        series: started.and_then(|started| Some(started.series.as_ref()?.standing())),
        sources: started.map_or_else(Vec::new, |started| started.sources.standings()),
    };
    let status = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::to_vec(&readiness).unwrap_or_default();
    Ok(Answer::whole(status, JSON, body))
}

fn partition_figures(started: &UseCases) -> Option<PartitionFigures> {
    let manager = started.partitions.as_ref();
    manager.map(|manager| manager.figures())
}

/// Figures for Prometheus, in OpenMetrics when asked for.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, description = "Prometheus text format, or OpenMetrics for who accepts that", body = String,
        content_type = "text/plain")))]
pub(super) async fn metrics(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    // What it finds is among the figures. A look that takes longer goes on, and is told of the next time.
    let readiness = context.readiness.clone();
    let look = tokio::spawn(async move { readiness.look().await });
    let _ = tokio::time::timeout(LOOK_LIMIT, look).await;
    let accepted = request.headers.get_all(header::ACCEPT);
    let takes_open_metrics = accepted
        .iter()
        .filter_map(|accepted| accepted.to_str().ok())
        .any(|accepted| accepted.contains("application/openmetrics-text"));
    let (exposition, content_type) = match takes_open_metrics {
        true => (Exposition::OpenMetrics, OPEN_METRICS),
        false => (Exposition::Text, TEXT),
    };
    let figures = context.figures.clone();
    let page = context
        .workers
        .run(move || figures.render(exposition))
        .await?;
    Ok(Answer::whole(StatusCode::OK, content_type, page))
}

//! The REST door: query string and JSON in, one use case, JSON, NDJSON, CSV or a problem document out.

mod access;
mod analysis;
mod answer;
mod audited;
mod changes;
mod compress;
mod cors;
mod cursor;
mod docs;
mod document;
mod entity_tag;
mod export;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod intake;
mod live;
mod metrics;
mod new_values;
mod owner;
mod parameters;
mod params;
mod problem;
mod quarantine;
mod query_problems;
mod readings;
mod request;
mod respond;
mod retention;
mod room;
mod routes;
mod selection;
mod series;
mod series_tags;
mod series_views;
mod sources;
mod static_files;
mod streams;
mod tables;
mod time;
mod views;
mod workers;

use std::sync::{Arc, OnceLock};

use sluicegate_transport::{http, pages::Pages};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

pub use self::document::openapi_json;
use self::{
    access::RestDoorkeeper, intake::Intake, metrics::RestMetrics, problem::Problem, room::Rooms,
    static_files::StaticFiles, workers::Workers,
};
use crate::{
    audit::AuditLog,
    auth::Guard,
    config::RestConfig,
    router::Protection,
    telemetry::metrics::Metrics,
    usecase::{UseCases, manage::Manage, readiness::Readiness},
};

/// Heavy queries have this part of the memory for answers.
const HEAVY_SHARE: u32 = 4;

/// What handlers work with.
struct Context {
    /// Empty while the service starts.
    started: Arc<OnceLock<UseCases>>,
    readiness: Arc<Readiness>,
    workers: Arc<Workers>,
    rooms: Rooms,
    /// Apart, for heavy queries wait for their turns in it.
    heavy_rooms: Rooms,
    /// Apart, for a file is written for as long as its client takes.
    table_rooms: Rooms,
    /// For so many who watch.
    live_places: Arc<Semaphore>,
    draining: CancellationToken,
    static_files: StaticFiles,
    /// OpenAPI, as JSON.
    document: &'static str,
    pages: Pages,
    /// None: changes are not told.
    audit: Option<Arc<AuditLog>>,
    intake: Intake,
    /// Those of the whole service.
    figures: Arc<Metrics>,
    /// Those of this door.
    metrics: RestMetrics,
}

impl Context {
    /// The use cases, or the problem that the service has not started yet.
    fn use_cases(&self) -> Result<&UseCases, Problem> {
        self.started.get().ok_or_else(Problem::starting)
    }

    fn manage(&self) -> Result<&Arc<Manage>, Problem> {
        Ok(&self.use_cases()?.manage)
    }
}

/// Serves REST, from before the service has started, until `closing`, then until the requests that are open have ended.
pub async fn serve(
    listener: TcpListener,
    Protection {
        tls, gate, audit, ..
    }: Protection,
    started: Arc<OnceLock<UseCases>>,
    readiness: Arc<Readiness>,
    config: RestConfig,
    (draining, closing): (CancellationToken, CancellationToken),
    figures: Arc<Metrics>,
) {
    let workers = match Workers::start() {
        Ok(workers) => Arc::new(workers),
        Err(error) => {
            tracing::error!(%error, "REST has no threads to work with");
            return;
        }
    };
    let intake = match Intake::new(&config, draining.clone(), &figures) {
        Ok(intake) => intake,
        Err(error) => {
            tracing::error!(%error, "rest.mappings was checked, and does not fit");
            return;
        }
    };
    let of_heavy_queries = config.answer_bytes / HEAVY_SHARE;
    let context = Arc::new(Context {
        started,
        readiness,
        workers,
        rooms: Rooms::new(room::ANSWERS, config.answer_bytes - of_heavy_queries),
        heavy_rooms: Rooms::new(room::ANSWERS, of_heavy_queries),
        table_rooms: Rooms::new(room::TABLES, config.parquet_bytes),
        live_places: Arc::new(Semaphore::new((config.max_connections / 2).max(1))),
        draining,
        static_files: StaticFiles::default(),
        document: openapi_json(),
        pages: Pages::new(&config.allowed_hosts, &config.cors_origins),
        audit,
        intake,
        metrics: RestMetrics::new(&figures),
        figures,
    });
    let bounds = http::Bounds {
        connections: config.max_connections,
        connections_per_address: config.max_connections_per_address,
        write_deadline: config.write_deadline(),
        header_bytes: config.max_header_bytes,
        lifetime: config.lifetime(),
    };
    let metrics = context.metrics.clone();
    let door = http::Door {
        bounds,
        tls,
        crowded: Box::new(move || metrics.turn_away()),
    };
    let routes = cors::around(routes::all(&context), &context, &config.cors_origins);
    let guard = Guard {
        gate,
        doorkeeper: RestDoorkeeper {
            metrics: context.metrics.clone(),
            origins: config.cors_origins.clone().into(),
        },
    };
    let service = guard.layer(warp::service(routes));
    http::serve(listener, service, door, closing).await;
}

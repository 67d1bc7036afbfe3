//! The gRPC door: protobuf <-> model, error -> status.

mod access;
mod calls;
mod convert;
mod deadline;
mod door;
mod health;
mod metrics;
mod open_call;
mod packing;
mod places;
mod replies;
mod requests;
mod sensor_service;
mod server;
mod shares;
mod status;
mod streaming;
mod unread;
mod watching;
mod windows;

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sluicegate_proto::FILE_DESCRIPTOR_SET;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use self::{
    access::GrpcDoorkeeper, calls::Calls, health::HealthOfService, metrics::GrpcMetrics,
    places::Places, shares::Shares,
};
use crate::{
    auth::Guard,
    config::GrpcConfig,
    router::Protection,
    telemetry::metrics::Metrics,
    usecase::{UseCases, ingest::conversation::Bounds, readiness::Readiness},
};

/// Once no call is open, connections get as long to take their last replies and to close.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Requests for the health and for reflection are names.
const MAX_OTHER_MESSAGE_BYTES: usize = 4 << 10;

/// Serves gRPC, from before the service has started, until `draining`, then until the calls that are open have ended. A connection that then stays open
/// without one, such as one that watches the health, holds nothing up.
///
/// # Errors
/// None: what can go wrong with a listener that is bound passes by itself.
pub async fn serve(
    listener: TcpListener,
    Protection {
        tls,
        gate,
        max_open_calls,
        ..
    }: Protection,
    started: Arc<OnceLock<UseCases>>,
    readiness: Arc<Readiness>,
    config: &GrpcConfig,
    draining: CancellationToken,
    metrics: &Metrics,
) -> Result<(), Infallible> {
    let metrics = GrpcMetrics::new(metrics);
    let health_service = HealthServer::new(HealthOfService::new(readiness, draining.clone()))
        .max_decoding_message_size(MAX_OTHER_MESSAGE_BYTES);
    let bounds = Bounds {
        idle_limit: Duration::from_secs(config.idle_limit_s),
        message_deadline: Duration::from_secs(config.message_deadline_s),
        draining: draining.clone(),
    };
    let open = TaskTracker::new();
    let calls = Calls::new(
        started,
        bounds,
        with_reflection(Routes::new(health_service)).prepare(),
        (
            Places::new(config.max_open_calls),
            Shares::new(max_open_calls),
        ),
        config.max_message_bytes,
        open.clone(),
        metrics.clone(),
    );
    let guard = Guard {
        gate,
        doorkeeper: GrpcDoorkeeper {
            metrics: metrics.clone(),
        },
    };
    let serving = server::serve(
        listener,
        tls,
        (calls, guard),
        config,
        draining.clone(),
        metrics,
    );
    let no_call_is_left = async {
        draining.cancelled().await;
        open.close();
        open.wait().await;
        tokio::time::sleep(CLOSE_GRACE).await;
    };
    tokio::select! {
        () = serving => {}
        () = no_call_is_left => tracing::info!("connections without a call are left behind"),
    }
    Ok(())
}

/// Reflection is a convenience: without it the service is whole.
fn with_reflection(routes: Routes) -> Routes {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // What the details of an error are made of.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes
            .add_service(v1.max_decoding_message_size(MAX_OTHER_MESSAGE_BYTES))
            .add_service(v1alpha.max_decoding_message_size(MAX_OTHER_MESSAGE_BYTES)),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "no gRPC reflection");
            routes
        }
    }
}

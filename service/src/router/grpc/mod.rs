//! The gRPC door: protobuf <-> model, error -> status.

mod convert;
mod health;
mod sensor_service;
mod status;
mod streaming;

use std::{sync::Arc, time::Duration};

use sluicegate_proto::{FILE_DESCRIPTOR_SET, v1::sensor_service_server::SensorServiceServer};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::pb::health_server::HealthServer;
use tower::util::MapResponseLayer;

use self::{health::HealthOfService, sensor_service::SensorServiceImpl};
use crate::{
    config::GrpcConfig,
    usecase::{ingest::Ingest, readiness::Readiness},
};

type Service = SensorServiceServer<SensorServiceImpl>;

/// One stream that is held back must not starve the others of its connection, so the connection's window is several
/// stream windows.
///
/// What is in a window is memory outside of the admission budget, so it is no larger than a fast network needs: 512 KiB
/// in flight are 100 MiB/s at a round trip of 5 ms.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Once no call is open, connections get as long to take their last replies and to close.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Serves gRPC until `draining`, then until the calls that are open have ended. A connection that then stays open
/// without one, such as one that watches the health, holds nothing up.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    ingest: Arc<Ingest>,
    readiness: Arc<Readiness>,
    config: &GrpcConfig,
    draining: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let health_service = HealthServer::new(HealthOfService::new(readiness, draining.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let idle_limit = Duration::from_secs(config.idle_limit_s);
    let calls = TaskTracker::new();
    let sensor_service =
        SensorServiceImpl::new(ingest, idle_limit, draining.clone(), calls.clone());
    let sensor_service = SensorServiceServer::new(sensor_service)
        .max_decoding_message_size(config.max_message_bytes);
    let mut server = Server::builder()
        .layer(MapResponseLayer::new(status::of_response))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(config.max_concurrent_calls)
        .http2_keepalive_interval(Some(Duration::from_secs(config.keepalive_s)))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    let mut router = server
        .add_service(health_service)
        .add_service(sensor_service);
    // Reflection is a convenience: without it the service is whole.
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => router = router.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "no gRPC reflection"),
    }
    // Without it every reply of a unary call would wait for the client's delayed TCP acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = router.serve_with_incoming_shutdown(incoming, draining.clone().cancelled_owned());
    let no_call_is_left = async {
        draining.cancelled().await;
        calls.close();
        calls.wait().await;
        tokio::time::sleep(CLOSE_GRACE).await;
    };
    tokio::select! {
        served = serving => served,
        () = no_call_is_left => {
            tracing::info!("connections without a call are left behind");
            Ok(())
        }
    }
}

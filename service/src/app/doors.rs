//! The two doors: they open before the service has started, and close in an order.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Listeners;
use crate::{
    config::Config,
    router::{Protection, grpc, rest},
    shutdown::Shutdown,
    source::Fetching,
    telemetry::metrics::Metrics,
    usecase::{UseCases, ingest::Ingest, readiness::Readiness},
};

/// Whoever connects is answered, if only with what the service waits for.
pub(super) struct Doors {
    grpc: JoinHandle<()>,
    rest: JoinHandle<()>,
    draining: CancellationToken,
    /// Closes REST.
    closing: CancellationToken,
}

impl Doors {
    pub(super) fn open(
        listeners: Listeners,
        protection: Protection,
        config: &Config,
        shutdown: &Shutdown,
        started: &Arc<OnceLock<UseCases>>,
        readiness: &Arc<Readiness>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let closing = CancellationToken::new();
        let draining = shutdown.draining.clone();
        let grpc = {
            let (started, readiness) = (started.clone(), readiness.clone());
            let (config, draining) = (config.grpc.clone(), draining.clone());
            let (metrics, protection) = (metrics.clone(), protection.clone());
            async move {
                grpc::serve(
                    listeners.grpc,
                    protection,
                    started,
                    readiness,
                    &config,
                    draining,
                    &metrics,
                )
                .await
            }
        };
        if let Some(tls) = &protection.tls {
            let watching = tls.clone().watch(closing.clone());
            shutdown.tasks.start("certificate", async move {
                watching.await;
                Ok::<(), Infallible>(())
            });
        }
        if let Some(gate) = &protection.gate {
            let watching = gate.clone().watch(closing.clone());
            shutdown.tasks.start("token file", async move {
                watching.await;
                Ok::<(), Infallible>(())
            });
        }
        let rest = rest::serve(
            listeners.rest,
            protection,
            started.clone(),
            readiness.clone(),
            config.rest.clone(),
            (draining.clone(), closing.clone()),
            metrics.clone(),
        );
        let rest = async move {
            rest.await;
            Ok::<(), Infallible>(())
        };
        Self {
            grpc: shutdown.tasks.start("gRPC listener", grpc),
            rest: shutdown.tasks.start("REST listener", rest),
            draining,
            closing,
        }
    }

    /// The order of stopping. Both doors see `draining`: gRPC accepts nothing, and REST says that the service is not ready.
    /// Then the calls that are open end, with what they brought committed and acknowledged, and so do the sources; then
    /// nothing is in flight, and REST, which told of all that, closes as the last.
    pub(super) async fn close(mut self, ingest: &Ingest, fetching: Fetching) {
        let _ = tokio::join!(&mut self.grpc, fetching.ended());
        ingest.drained().await;
        self.closing.cancel();
        let _ = (&mut self.rest).await;
    }
}

impl Drop for Doors {
    /// Where the service did not get to its end in order, nobody is to be answered any more.
    fn drop(&mut self) {
        self.draining.cancel();
        self.closing.cancel();
        self.grpc.abort();
        self.rest.abort();
    }
}

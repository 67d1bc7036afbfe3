//! The standard health service: what `/readyz` says, in its terms.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream, stream::BoxStream};
use sluicegate_proto::v1::sensor_service_server::SERVICE_NAME;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

use crate::usecase::readiness::Readiness;

/// How often those who watch are looked after. The end of the service is told at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct HealthOfService {
    readiness: Arc<Readiness>,
    draining: CancellationToken,
}

impl HealthOfService {
    pub(super) fn new(readiness: Arc<Readiness>, draining: CancellationToken) -> Self {
        Self {
            readiness,
            draining,
        }
    }
}

/// "" is the process as a whole.
fn is_known(service: &str) -> bool {
    service.is_empty() || service == SERVICE_NAME
}

async fn status(readiness: &Readiness) -> ServingStatus {
    match readiness.look().await.ready {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for HealthOfService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !is_known(&service) {
            let known = SERVICE_NAME;
            return Err(Status::not_found(format!(
                "there is no service {service:?} here: ask for {known:?}, or for all with \"\""
            )));
        }
        Ok(Response::new(response(status(&self.readiness).await)))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // Who watches waits for a service that may come: the protocol wants an answer, and no error.
        if !is_known(&request.into_inner().service) {
            let unknown = stream::iter([Ok(response(ServingStatus::ServiceUnknown))]);
            return Ok(Response::new(unknown.chain(stream::pending()).boxed()));
        }
        let watching = Watching {
            readiness: self.readiness.clone(),
            draining: self.draining.clone(),
            told: None,
        };
        Ok(Response::new(
            stream::unfold(watching, Watching::next).boxed(),
        ))
    }
}

struct Watching {
    readiness: Arc<Readiness>,
    draining: CancellationToken,
    told: Option<ServingStatus>,
}

impl Watching {
    /// Waits for a status that was not told yet.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let now = status(&self.readiness).await;
            if self.told != Some(now) {
                self.told = Some(now);
                return Some((Ok(response(now)), self));
            }
            if self.draining.is_cancelled() {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            tokio::select! {
                () = self.draining.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

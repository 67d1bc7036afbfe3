//! The gate as a layer before each door: nothing of a call is read before it is let in.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use hyper::{HeaderMap, Method, Request};
use sluicegate_transport::Peer;
use tower::Layer;
use tower_service::Service;

use super::{
    gate::Gate,
    need::{Need, Refusal},
    principal::Principal,
};
use crate::telemetry::metrics::Word;

/// What each door knows of itself.
pub trait Doorkeeper: Clone {
    /// What its calls are answered with.
    type Answer;

    /// For the metrics.
    const DOOR: Word;

    /// What the call needs.
    fn need(&self, method: &Method, path: &str) -> Need;

    /// What is answered to who is refused.
    fn refuse(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        refusal: Refusal,
    ) -> Self::Answer;
}

/// Puts the gate before a door; without a gate everybody is let in.
#[derive(Clone, Debug)]
pub struct Guard<D> {
    pub gate: Option<Arc<Gate>>,
    pub doorkeeper: D,
}

impl<S, D: Doorkeeper> Layer<S> for Guard<D> {
    type Service = Guarded<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded {
            inner,
            guard: self.clone(),
        }
    }
}

/// A door behind the gate.
#[derive(Clone, Debug)]
pub struct Guarded<S, D> {
    inner: S,
    guard: Guard<D>,
}

/// Somebody was let in. An extension of each request that came through the gate.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// What was asked of the caller, for a route to compare with what it needs: should a path ever be read in two ways, nobody
    /// gets in by that.
    pub need: Need,
    /// None where nothing was asked.
    pub principal: Option<Arc<Principal>>,
}

impl<S, D, B> Service<Request<B>> for Guarded<S, D>
where
    D: Doorkeeper,
    S: Service<Request<B>, Response = D::Answer, Error = Infallible>,
{
    type Response = D::Answer;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Self::Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Guard { gate, doorkeeper } = &self.guard;
        let Some(gate) = gate else {
            return Either::Left(self.inner.call(request));
        };
        let (method, path) = (request.method(), request.uri().path());
        let need = doorkeeper.need(method, path);
        let peer = request.extensions().get::<Peer>();
        match gate.check(D::DOOR, need, request.headers(), peer) {
            Ok(principal) => {
                let admitted = Admitted { need, principal };
                request.extensions_mut().insert(admitted);
                Either::Left(self.inner.call(request))
            }
            Err(refusal) => {
                let headers = request.headers();
                Either::Right(ready(Ok(doorkeeper.refuse(method, path, headers, refusal))))
            }
        }
    }
}

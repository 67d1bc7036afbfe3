//! What the REST door counts and measures.

use std::time::Duration;

use warp::http::{Method, StatusCode};

use crate::telemetry::metrics::{
    Counter, EncodeLabelSet, Family, Histogram, Metrics, Word, durations,
};

/// For paths that no route takes: the paths themselves could be as many as callers like.
pub(super) const NO_ROUTE: &str = "none";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    method: Word,
    route: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    method: Word,
    route: Word,
    status: u16,
}

/// The figures of the door.
#[derive(Clone, Debug)]
pub(super) struct RestMetrics {
    requests: Family<Ended, Counter>,
    durations: Family<OfRoute, Histogram>,
    turned_away: Counter,
}

impl RestMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.register(
                "rest_requests",
                "Requests that were answered, by method, route and status",
                Family::default(),
            ),
            durations: metrics.register_seconds(
                "rest_request",
                "From a request's headers to those of its answer",
                Family::new_with_constructor(durations),
            ),
            turned_away: metrics.register(
                "rest_turned_away",
                "Connections that were closed because their address has as many as it may",
                Counter::default(),
            ),
        }
    }

    /// A connection was closed because of where it comes from.
    pub(super) fn turn_away(&self) {
        self.turned_away.inc();
    }

    pub(super) fn answered(
        &self,
        method: &Method,
        route: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        let (method, route) = (Word(name(method)), Word(route));
        let status = status.as_u16();
        let ended = Ended {
            method,
            route,
            status,
        };
        self.requests.get_or_create(&ended).inc();
        let durations = self.durations.get_or_create(&OfRoute { method, route });
        durations.observe(took.as_secs_f64());
    }
}

/// Clients may make methods up.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

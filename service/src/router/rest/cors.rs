//! Cross-origin requests, for the origins that are configured; none by default.

use std::sync::Arc;

use sluicegate_transport::{http::AskedName, pages::is_own};
use warp::{
    Filter as _, Rejection,
    filters::{BoxedFilter, cors::CorsForbidden},
    http::{HeaderMap, Method},
    reply::Response,
};

use super::{
    Context,
    problem::{Kind, Problem},
    respond::respond,
};
use crate::router::request_id::request_id;

/// Seconds for which a browser may keep the permission.
const MAX_AGE_S: u32 = 600;

pub(super) fn around(
    routes: BoxedFilter<(Response,)>,
    context: &Arc<Context>,
    origins: &[String],
) -> BoxedFilter<(Response,)> {
    if origins.is_empty() {
        return routes;
    }
    let cors = warp::cors()
        .allow_methods([Method::GET, Method::HEAD, Method::PUT, Method::DELETE])
        .allow_headers([
            "accept",
            "authorization",
            "content-type",
            "if-none-match",
            "x-request-id",
        ])
        .expose_headers(["etag", "x-request-id"])
        .max_age(MAX_AGE_S);
    let cors = if origins.iter().any(|origin| origin == "*") {
        cors.allow_any_origin()
    } else {
        cors.allow_origins(origins.iter().map(String::as_str))
    };
    let workers = context.workers.clone();
    let refused = move |rejection: Rejection| {
        let workers = workers.clone();
        async move {
            rejection.find::<CorsForbidden>().ok_or_else(warp::reject)?;
            let detail =
                "This origin, method or header is not allowed: see the setting rest.cors_origins.";
            let problem = Problem::new(Kind::CrossOriginRefused, detail);
            let headers = HeaderMap::new();
            let id = request_id(&headers);
            let response = respond(Err(problem), &Method::GET, &headers, &id, &workers).await;
            Ok::<_, Rejection>(response)
        }
    };
    let cross = routes
        .clone()
        .with(cors.build())
        .map(warp::Reply::into_response)
        .recover(refused)
        .unify();
    own_pages().and(routes).or(cross).unify().boxed()
}

/// Takes what pages of the service itself ask for, which is not across origins although browsers send one.
fn own_pages() -> BoxedFilter<()> {
    warp::ext::get::<AskedName>()
        .and(warp::header("origin"))
        .and_then(|name: AskedName, origin: String| async move {
            is_own(&name, &origin)
                .then_some(())
                .ok_or_else(warp::reject)
        })
        .untuple_one()
        .boxed()
}

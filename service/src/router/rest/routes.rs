//! Every route in one table, and the warp filters that are made of it.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, future::BoxFuture};
use sluicegate_transport::{Peer, http::AskedName};
use tracing::Instrument as _;
use warp::{
    Buf, Filter as _,
    filters::BoxedFilter,
    http::{HeaderMap, Method, Version},
    path::FullPath,
    reply::Response,
};

use super::{
    Context, analysis,
    answer::Answer,
    changes, docs, health, intake, live,
    metrics::NO_ROUTE,
    owner,
    problem::{Kind, Problem},
    quarantine, readings,
    request::{BodyStream, Request},
    respond::respond,
    retention, series, sources, streams,
};
use crate::{
    auth::{Admitted, Need},
    router::request_id::request_id,
    telemetry::spans,
};

type Handler = fn(Arc<Context>, Request) -> BoxFuture<'static, Result<Answer, Problem>>;

/// Paths stand at the root and below this.
const PREFIX: [&str; 2] = ["api", "v1"];

/// A door: parse, call one use case, map the answer.
pub(super) struct Route {
    method: Method,
    /// With `{name}` for a variable segment.
    pub(super) path: &'static str,
    pub(super) need: Need,
    handler: Handler,
}

macro_rules! routes {
    ($($method:ident $path:literal $need:ident => $handler:path,)*) => {
        [$(Route {
            method: Method::$method,
            path: $path,
            need: Need::$need,
            handler: |context, request| Box::pin($handler(context, request)),
        },)*]
    };
}

static ROUTES: [Route; 46] = routes! {
    GET "/" Nothing => docs::page,
    GET "/page/{file}" Nothing => docs::page_file,
    GET "/sensor/time" Read => readings::by_time,
    GET "/sensor/ids" Read => readings::by_ids,
    GET "/sensor/ids-time" Read => readings::by_ids_time,
    GET "/sensor/latest" Read => analysis::latest,
    GET "/sensor/aggregate" Read => analysis::aggregate,
    GET "/live" Read => live::live,
    POST "/readings" Ingest => intake::readings::post,
    POST "/api/v2/write" Ingest => intake::influx::write_v2,
    POST "/write" Ingest => intake::influx::write_v1,
    POST "/query" Ingest => intake::influx::query,
    GET "/ping" Nothing => intake::influx::ping,
    GET "/health" Nothing => intake::influx::health,
    GET "/ready" Nothing => intake::influx::ready,
    DELETE "/sensor/delete/time" Write => changes::delete_by_time,
    DELETE "/sensor/delete/ids" Write => changes::delete_by_ids,
    DELETE "/sensor/delete/ids-time" Write => changes::delete_by_ids_time,
    PUT "/sensor/update/time" Write => changes::update_by_time,
    PUT "/sensor/update/ids" Write => changes::update_by_ids,
    PUT "/sensor/update/ids-time" Write => changes::update_by_ids_time,
    PUT "/retention/confirm" Admin => retention::confirm,
    GET "/streams" Read => streams::all,
    GET "/streams/{id}" Read => streams::one,
    PUT "/streams/{id}/owner" Admin => owner::set_owner,
    GET "/streams/{id}/rejections" Read => quarantine::of_stream,
    GET "/rejections" Read => quarantine::all,
    DELETE "/rejections" Write => quarantine::remove,
    POST "/rejections/replay" Write => quarantine::replay,
    GET "/series" Read => series::list_series,
    GET "/series/count" Read => series::count_series,
    PATCH "/series" Write => series::tag_many,
    DELETE "/series" Write => series::remove_unused,
    GET "/series/{number}" Read => series::one_series,
    PUT "/series/{number}/tags" Write => series::set_tags,
    PATCH "/series/{number}/tags" Write => series::merge_tags,
    GET "/sources" Read => sources::all_sources,
    PUT "/sources/{name}/pause" Admin => sources::pause_source,
    PUT "/sources/{name}/resume" Admin => sources::resume_source,
    GET "/healthz" Nothing => health::healthz,
    GET "/readyz" Nothing => health::readyz,
    GET "/version" Known => health::version,
    GET "/metrics" Metrics => health::metrics,
    GET "/openapi.json" Nothing => docs::openapi,
    GET "/swagger" Nothing => docs::swagger,
    GET "/swagger/swagger-ui/{file}" Nothing => docs::swagger_file,
};

/// Answers everything: what no route takes gets a problem document too.
pub(super) fn all(context: &Arc<Context>) -> BoxedFilter<(Response,)> {
    let mut routes = warp::any()
        .and_then(|| async { Err::<Response, _>(warp::reject()) })
        .boxed();
    for route in &ROUTES {
        for prefix in [&[][..], &PREFIX] {
            let path = path_filter(prefix, route.path);
            let filter = route_filter(route, path, context.clone());
            routes = routes.or(filter).unify().boxed();
        }
    }
    let of_rest = context.clone();
    let rest = warp::path::full()
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .then(move |path: FullPath, method: Method, headers: HeaderMap| {
            let context = of_rest.clone();
            async move {
                let begun = Instant::now();
                let problem = no_route(path.as_str(), &method);
                let id = request_id(&headers);
                let response =
                    respond(Err(problem), &method, &headers, &id, &context.workers).await;
                let (metrics, status) = (&context.metrics, response.status());
                metrics.answered(&method, NO_ROUTE, status, begun.elapsed());
                response
            }
        });
    routes.or(rest).unify().boxed()
}

/// Takes a path and hands its variable segments over.
fn path_filter(prefix: &[&'static str], path: &'static str) -> BoxedFilter<(Vec<String>,)> {
    let mut filter = warp::any().map(Vec::new).boxed();
    for &segment in prefix {
        filter = filter.and(warp::path(segment)).boxed();
    }
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        filter = if segment.starts_with('{') {
            let append = |mut segments: Vec<String>, segment: String| {
                segments.push(segment);
                segments
            };
            filter.and(warp::path::param()).map(append).boxed()
        } else {
            filter.and(warp::path(segment)).boxed()
        };
    }
    filter.and(warp::path::end()).boxed()
}

fn route_filter(
    route: &'static Route,
    path: BoxedFilter<(Vec<String>,)>,
    context: Arc<Context>,
) -> BoxedFilter<(Response,)> {
    let method = warp::method().and_then(move |method: Method| async move {
        fits(route, &method)
            .then_some(method)
            .ok_or_else(warp::reject)
    });
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    path.and(method)
        .and(warp::ext::get::<Version>())
        .and(warp::ext::get::<AskedName>())
        .and(warp::ext::optional::<Peer>())
        .and(warp::ext::optional::<Admitted>())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(
            move |segments,
                  method,
                  version,
                  name,
                  peer,
                  admitted,
                  query,
                  headers: HeaderMap,
                  body| {
                let request = Request {
                    id: request_id(&headers),
                    version,
                    name,
                    peer,
                    admitted,
                    query,
                    headers,
                    segments,
                    body: whole_chunks(body),
                };
                answer(route, context.clone(), method, request)
            },
        )
        .boxed()
}

fn whole_chunks(
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static,
) -> BodyStream {
    fn whole(mut chunk: impl Buf) -> Bytes {
        chunk.copy_to_bytes(chunk.remaining())
    }
    Box::pin(body.map(|chunk| chunk.map(whole)))
}

async fn answer(
    route: &'static Route,
    context: Arc<Context>,
    method: Method,
    request: Request,
) -> Response {
    let begun = Instant::now();
    let headers = request.headers.clone();
    let id = request.id.clone();
    let span = spans::request(&id, &method, route.path);
    let (workers, metrics) = (context.workers.clone(), context.metrics.clone());
    let response = async {
        let checked = context
            .pages
            .check(route.path, &method, &request.name, &headers);
        let answer = match checked {
            Ok(()) if !request.was_asked(route.need) => Err(no_route(route.path, &method)),
            Ok(()) => (route.handler)(context, request).await,
            Err(refused) => Err(refused.into()),
        };
        respond(answer, &method, &headers, &id, &workers).await
    };
    let response = response.instrument(span.clone()).await;
    spans::end_request(&span, response.status().as_u16());
    metrics.answered(&method, route.path, response.status(), begun.elapsed());
    tracing::debug!(
        request_id = id,
        %method,
        path = route.path,
        status = response.status().as_u16(),
        ms = begun.elapsed().as_millis() as u64,
        "answered"
    );
    response
}

/// A HEAD is a GET of which hyper leaves the body out.
fn fits(route: &Route, method: &Method) -> bool {
    *method == route.method || (*method == Method::HEAD && route.method == Method::GET)
}

/// The route that takes a request.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Route> {
    at(path).find(|route| fits(route, method))
}

/// The routes at a path, whatever their methods.
fn at(path: &str) -> impl Iterator<Item = &'static Route> {
    let prefix = format!("/{}", PREFIX.join("/"));
    let path = match path.strip_prefix(&prefix) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    // Warp takes one more.
    let path = match path.strip_suffix('/') {
        Some("") | None => path,
        Some(rest) => rest,
    };
    ROUTES.iter().filter(move |route| {
        let (mut given, mut own) = (path.split('/'), route.path.split('/'));
        loop {
            match (given.next(), own.next()) {
                (None, None) => return true,
                (Some(given), Some(own))
                    if own == given || (own.starts_with('{') && !given.is_empty()) => {}
                _ => return false,
            }
        }
    })
}

fn no_route(path: &str, method: &Method) -> Problem {
    let methods: Vec<&str> = at(path)
        .map(|route| match route.method {
            Method::GET => "GET, HEAD",
            ref method => method.as_str(),
        })
        .collect();
    if methods.is_empty() {
        let detail = "No such path: /swagger shows all that there are.";
        return Problem::new(Kind::NotFound, detail);
    }
    let allow = methods.join(", ");
    Problem {
        allow: Some(allow.clone()),
        ..Problem::new(
            Kind::MethodNotAllowed,
            format!("This path takes {allow}, not {method}."),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_and_the_router_know_the_same_routes() {
        let document: serde_json::Value =
            serde_json::from_str(crate::router::rest::openapi_json()).expect("JSON");
        let documented: BTreeSet<_> = document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, operations)| {
                let operations = operations.as_object().expect("operations");
                let operations = operations.keys().map(|method| method.to_uppercase());
                operations.map(|method| (method, path.clone()))
            })
            .collect();
        let routed: BTreeSet<_> = ROUTES
            .iter()
            .map(|route| (route.method.to_string(), route.path.to_owned()))
            .collect();
        assert_eq!(documented, routed);
    }
}

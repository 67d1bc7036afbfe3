//! The OpenAPI document and the pages of the Swagger UI.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use utoipa::OpenApi;
use warp::http::HeaderValue;

use super::{
    Context, access, analysis,
    answer::{Answer, JSON},
    changes, health,
    new_values::NewValues,
    owner,
    problem::{Kind, Problem, ProblemDocument},
    readings,
    request::Request,
    retention, streams,
};

const SWAGGER_INDEX: &str = "/swagger/swagger-ui/index.html";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sluicegate",
        description = "Manages stored sensor readings. Readings come in over gRPC. Every path also stands at the root."
    ),
    servers((url = "/api/v1"), (url = "/")),
    tags(
        (name = "readings", description = "Query and export"),
        (name = "analysis", description = "Newest readings and figures per time bucket"),
        (name = "changes", description = "Delete and update"),
        (name = "streams", description = "The ledger of streams and the quarantine"),
        (name = "service", description = "State of the service")
    ),
    paths(
        readings::by_time, readings::by_ids, readings::by_ids_time,
        analysis::latest, analysis::aggregate,
        changes::delete_by_time, changes::delete_by_ids, changes::delete_by_ids_time,
        changes::update_by_time, changes::update_by_ids, changes::update_by_ids_time,
        retention::confirm,
        streams::all, streams::one, owner::set_owner, streams::rejections_of_one, streams::rejections,
        health::healthz, health::readyz, health::version, health::metrics,
        openapi, root, swagger, swagger_file
    ),
    components(schemas(ProblemDocument<'static>, NewValues))
)]
struct Document;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut document = Document::openapi();
    access::describe(&mut document);
    document.to_pretty_json().unwrap_or_default()
});

static SWAGGER: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> = LazyLock::new(|| {
    let config = utoipa_swagger_ui::Config::from("/openapi.json");
    Arc::new(config.try_it_out_enabled(true).validator_url("none"))
});

/// The OpenAPI document as JSON.
#[must_use]
pub fn openapi_json() -> &'static str {
    &DOCUMENT
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn openapi(context: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    let json = HeaderValue::from_static(JSON);
    let document = Bytes::from_static(openapi_json().as_bytes());
    let (files, workers) = (&context.static_files, &context.workers);
    let file = files.get("openapi.json", json, document, workers).await?;
    Ok(Answer::static_file(file))
}

/// Leads to the Swagger UI, as whoever opens the address in a browser would want.
#[utoipa::path(get, path = "/", tag = "service",
    responses((status = 302, description = "To the Swagger UI")))]
pub(super) async fn root(_: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    Ok(Answer::redirect(SWAGGER_INDEX))
}

/// Leads to the Swagger UI.
#[utoipa::path(get, path = "/swagger", tag = "service",
    responses((status = 302, description = "To the Swagger UI")))]
pub(super) async fn swagger(_: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    Ok(Answer::redirect(SWAGGER_INDEX))
}

/// The Swagger UI.
#[utoipa::path(get, path = "/swagger/swagger-ui/{file}", tag = "service",
    params(("file" = String, Path, description = "A file of the page", example = "index.html")),
    responses((status = 200, description = "The file", body = String, content_type = "text/html"),
        (status = 404, description = "No such file", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn swagger_file(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    let name = request.segment()?;
    let missing = || {
        Problem::new(
            Kind::NotFound,
            format!("The Swagger UI is at {SWAGGER_INDEX}."),
        )
    };
    let file = utoipa_swagger_ui::serve(&name, SWAGGER.clone())
        .ok()
        .flatten();
    let file = file.ok_or_else(missing)?;
    let content_type = file.content_type.parse().map_err(|_| missing())?;
    let plain = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let (files, workers) = (&context.static_files, &context.workers);
    let file = files.get(&name, content_type, plain, workers).await?;
    Ok(Answer::static_file(file))
}

//! The pages of the Swagger UI, and the document that they show.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use warp::http::HeaderValue;

use super::{
    Context,
    answer::{Answer, JSON},
    problem::{Kind, Problem, ProblemDocument},
    request::Request,
};

const SWAGGER_INDEX: &str = "/swagger/swagger-ui/index.html";

static SWAGGER: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> = LazyLock::new(|| {
    let config = utoipa_swagger_ui::Config::from("/openapi.json");
    Arc::new(config.try_it_out_enabled(true).validator_url("none"))
});

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn openapi(context: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    let json = HeaderValue::from_static(JSON);
    let document = Bytes::from_static(context.document.as_bytes());
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

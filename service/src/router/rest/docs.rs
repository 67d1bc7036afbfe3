//! The page of the service, those of the Swagger UI, and the document that these show.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use sluicegate_page::{CONTENT_SECURITY_POLICY, File, INDEX, Program};
use warp::http::{HeaderValue, header};

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

/// The page of the service, for people.
///
/// It opens without a token, and asks its reader for one where the service wants one.
#[utoipa::path(get, path = "/", tag = "service",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub(super) async fn page(context: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    static_page(&context, INDEX, Program::Service.index()).await
}

/// What the page is made of.
#[utoipa::path(get, path = "/page/{file}", tag = "service",
    params(("file" = String, Path, description = "A file of the page, as the page names it", example = "index.html")),
    responses((status = 200, description = "The file, of its own type", body = String, content_type = "text/html"),
        (status = 404, description = "No such file", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn page_file(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let name = request.segment()?;
    let file = Program::Service.file(&name);
    let file = file.ok_or_else(|| Problem::new(Kind::NotFound, "The page is at /."))?;
    static_page(&context, &name, file).await
}

async fn static_page(context: &Context, name: &str, file: File) -> Result<Answer, Problem> {
    let (files, workers) = (&context.static_files, &context.workers);
    let content_type = HeaderValue::from_static(file.content_type);
    let plain = Bytes::from_static(file.bytes);
    // Files of the Swagger UI may have the same name.
    let name = format!("page/{name}");
    let cache = file.cache_control;
    let file = files.get(&name, content_type, plain, workers).await?;
    let mut answer = Answer::static_file(file);
    for (name, value) in [
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        let value = HeaderValue::from_static(value);
        answer.headers.insert(name, value);
    }
    Ok(answer)
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

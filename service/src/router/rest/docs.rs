//! The OpenAPI document and the pages of the Swagger UI.

use std::sync::{Arc, LazyLock};

use utoipa::{IntoParams, IntoResponses, OpenApi};
use warp::http::{StatusCode, header};

use super::{
    Context, analysis,
    answer::{Answer, JSON},
    changes, health,
    problem::{Kind, Problem, ProblemDocument},
    readings,
    request::Request,
    streams,
    views::NewValues,
};

const SWAGGER_INDEX: &str = "/swagger/swagger-ui/index.html";

/// Parameters that stand in the document only: the parser is in `selection`.
macro_rules! parameters {
    ($(#[$about:meta])* $name:ident { $($(#[$about_field:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(IntoParams)]
        #[into_params(parameter_in = Query)]
        #[allow(dead_code, reason = "read by the derive only")]
        pub(super) struct $name { $($(#[$about_field])* $field: $type,)* }
    };
}

parameters!(ByTime {
    /// Start, belongs to the range: RFC 3339 with any offset, or milliseconds since the Unix epoch
    #[param(example = "2026-01-31T12:00:00Z")]
    from_time: String,
    /// End, does not belong to the range
    #[param(example = "2026-01-31T13:00:00Z")]
    to_time: String,
    /// Only readings of this type
    #[param(example = "temperature")]
    sensor_type: Option<String>,
});

parameters!(ByIds {
    /// Whole numbers, separated by commas
    #[param(example = "0,1")]
    id1: String,
    /// As many texts, separated by commas; the first belongs to the first of id1 and so on; a comma inside of one is
    /// written `\,` and a backslash `\\`
    #[param(example = "A,B")]
    id2: String,
    /// Only readings of this type
    #[param(example = "temperature")]
    sensor_type: Option<String>,
});

parameters!(ByIdsTime {
    /// Start, belongs to the range: RFC 3339 with any offset, or milliseconds since the Unix epoch
    #[param(example = "2026-01-31T12:00:00Z")]
    from_time: String,
    /// End, does not belong to the range
    #[param(example = "2026-01-31T13:00:00Z")]
    to_time: String,
    /// Whole numbers, separated by commas
    #[param(example = "0,1")]
    id1: String,
    /// As many texts, separated by commas; the first belongs to the first of id1 and so on; a comma inside of one is
    /// written `\,` and a backslash `\\`
    #[param(example = "A,B")]
    id2: String,
    /// Only readings of this type
    #[param(example = "temperature")]
    sensor_type: Option<String>,
});

parameters!(ByTimeMaybeIds {
    /// Start, belongs to the range: RFC 3339 with any offset, or milliseconds since the Unix epoch
    #[param(example = "2026-01-31T12:00:00Z")]
    from_time: String,
    /// End, does not belong to the range
    #[param(example = "2026-01-31T13:00:00Z")]
    to_time: String,
    /// Whole numbers, separated by commas
    #[param(example = "0,1")]
    id1: Option<String>,
    /// As many texts, separated by commas; the first belongs to the first of id1 and so on; a comma inside of one is
    /// written `\,` and a backslash `\\`
    #[param(example = "A,B")]
    id2: Option<String>,
    /// Only readings of this type
    #[param(example = "temperature")]
    sensor_type: Option<String>,
});

parameters!(Paging {
    /// Readings of a JSON page, 1 to 10000 [default: 1000]; NDJSON and CSV bring all unless it is given
    #[param(example = 100, minimum = 1)]
    limit: Option<u64>,
    /// `asc` (default) or `desc`, along the time
    #[param(example = "asc", pattern = "^(asc|desc)$")]
    order: Option<String>,
    /// `next_cursor` of the page before; every parameter but limit stays as it was
    cursor: Option<String>,
    /// `json`, `ndjson` or `csv`, instead of the header Accept
    #[param(example = "json", pattern = "^(json|ndjson|csv)$")]
    format: Option<String>,
});

parameters!(CursorPaging {
    /// Rows of a page, 1 to 10000 [default: 1000]
    #[param(example = 100, minimum = 1, maximum = 10_000)]
    limit: Option<u64>,
    /// `next_cursor` of the page before; every parameter but limit stays as it was
    cursor: Option<String>,
});

parameters!(DryRun {
    /// Counts only, and changes nothing
    dry_run: Option<bool>,
});

parameters!(Width {
    /// Width of a bucket, 1s to 30d: a whole number of s, m, h or d; buckets are aligned to UTC
    #[param(example = "5m")]
    bucket: String,
});

/// What every query may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) enum QueryProblems {
    /// A parameter is missing, unknown, repeated or has no usable value
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(ProblemDocument<'static>),
    /// The database is not available
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemDocument<'static>),
}

/// What a request with a body may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) enum ChangeProblems {
    /// The body took too long
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(ProblemDocument<'static>),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument<'static>),
    /// The body is not JSON
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(ProblemDocument<'static>),
    /// The new values cannot be stored
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDocument<'static>),
}

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
        streams::all, streams::one, streams::rejections_of_one, streams::rejections,
        health::healthz, health::readyz, health::version, health::metrics,
        openapi, swagger, swagger_file
    ),
    components(schemas(ProblemDocument<'static>, NewValues))
)]
struct Document;

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| Document::openapi().to_pretty_json().unwrap_or_default());

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
pub(super) async fn openapi(_: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    Ok(Answer::whole(StatusCode::OK, JSON, openapi_json()))
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
pub(super) async fn swagger_file(_: Arc<Context>, request: Request) -> Result<Answer, Problem> {
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
    let answer = Answer::whole(StatusCode::OK, "", file.bytes.into_owned());
    Ok(answer.with(header::CONTENT_TYPE, content_type))
}

//! The routes: parse, one call of the generator, reply.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sluicegate_page::{CONTENT_SECURITY_POLICY, INDEX, Program};
use sluicegate_transport::{http::AskedName, pages::Pages};
use utoipa::OpenApi;
use warp::{
    Filter, Reply as _,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    path::FullPath,
    reply::Response,
};

use super::{
    FleetFigures,
    generator::{Frequency, Generator, Spam},
    problem::{Kind, Problem},
    settings::Settings,
    stats::Stats,
};
use crate::{api_token::ApiToken, metrics as figures, report::Report};

const MAX_BODY_BYTES: usize = 1 << 20;
/// A client whose body takes longer is not waited for.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
const SWAGGER: &str = "/swagger/swagger-ui/";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "sluicegen",
        description = "A load generator for Sluicegate. Every path stands below /api/v1 and at the root."
    ),
    servers((url = "/api/v1"), (url = "/")),
    paths(start, stop, frequency, configure, spam, stats, config, fleet, metrics, healthz)
)]
pub(super) struct Document;

/// Begin to send. The figures start from 0.
#[utoipa::path(post, path = "/start", responses(
    (status = 200, body = Stats), (status = 409, body = Problem, content_type = "application/problem+json")))]
async fn start(generator: &Generator) -> Result<Stats, Problem> {
    generator.start().await
}

/// Send no more, wait for the acknowledgements and return the last figures.
#[utoipa::path(post, path = "/stop", responses(
    (status = 200, body = Stats), (status = 409, body = Problem, content_type = "application/problem+json")))]
async fn stop(generator: &Arc<Generator>) -> Result<Stats, Problem> {
    generator.stop().await
}

/// Change how often to send, at once.
#[utoipa::path(post, path = "/frequency", request_body = Frequency, responses(
    (status = 200, body = Settings), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn frequency(generator: &Generator, body: &[u8]) -> Result<Settings, Problem> {
    generator.set_frequency(&parse(body)?).await
}

/// Change a part of the configuration. The rate takes effect at once, everything else with the next start.
#[utoipa::path(post, path = "/config", request_body = Settings, responses(
    (status = 200, body = Settings), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn configure(generator: &Generator, body: &[u8]) -> Result<Settings, Problem> {
    generator.configure(parse(body)?).await
}

/// Send a bounded burst and return its result.
#[utoipa::path(post, path = "/spam", request_body = Spam, responses(
    (status = 200, body = Report), (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 409, body = Problem, content_type = "application/problem+json"),
    (status = 502, body = Problem, content_type = "application/problem+json")))]
async fn spam(generator: &Generator, body: &[u8]) -> Result<Report, Problem> {
    generator.spam(&parse(body)?).await
}

/// The figures since the last start.
#[utoipa::path(get, path = "/stats", responses((status = 200, body = Stats)))]
async fn stats(generator: &Generator) -> Result<Stats, Problem> {
    Ok(generator.stats().await)
}

/// The configuration.
#[utoipa::path(get, path = "/config", responses((status = 200, body = Settings)))]
async fn config(generator: &Generator) -> Result<Settings, Problem> {
    Ok(generator.settings().await)
}

/// The figures of all generators that were named by `--fleet`, as `sluicegen fleet stats --json` has them.
#[utoipa::path(get, path = "/fleet", responses(
    (status = 200, body = BTreeMap<String, Value>),
    (status = 404, description = "None were named", body = Problem, content_type = "application/problem+json")))]
async fn fleet(figures: Option<&FleetFigures>) -> Result<Value, Problem> {
    let figures = figures.ok_or_else(|| {
        let detail = "No generators are named here: `sluicegen serve --fleet LIST` takes them as `sluicegen fleet --endpoints LIST` does.";
        Problem::new(Kind::NotFound, detail)
    })?;
    let failed = |reason: String| Problem::new(Kind::Internal, reason);
    figures().await.map_err(failed)
}

/// The figures since the process began, for Prometheus, in OpenMetrics.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, body = String, content_type = "application/openmetrics-text")))]
async fn metrics(generator: &Generator) -> Result<Response, Problem> {
    Ok(figures::answer(generator.page().await))
}

/// Whether the generator answers.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = BTreeMap<String, String>)))]
async fn healthz() -> Result<BTreeMap<String, String>, Problem> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(BTreeMap::from([
        ("status".to_owned(), "ok".to_owned()),
        ("version".to_owned(), version),
    ]))
}

/// Everything that is served.
pub(super) fn routes(
    generator: Arc<Generator>,
    fleet: Option<FleetFigures>,
    pages: Pages,
    token: Option<ApiToken>,
    document: Value,
) -> impl Filter<Extract = (Response,), Error = std::convert::Infallible> + Clone {
    let swagger = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    let document = Arc::new(document);
    warp::method()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<AskedName>())
        .and(warp::body::stream())
        .then(
            move |method: Method, path: FullPath, headers: HeaderMap, name: AskedName, body| {
                let (generator, swagger) = (Arc::clone(&generator), Arc::clone(&swagger));
                let (pages, token, document) = (pages.clone(), token.clone(), document.clone());
                let fleet = fleet.clone();
                async move {
                    let path = path.as_str();
                    let path = path.strip_prefix("/api/v1").unwrap_or(path);
                    if method == Method::GET
                        && (path.starts_with(SWAGGER) || path == SWAGGER.trim_end_matches('/'))
                    {
                        return swagger_file(path, swagger);
                    }
                    if method == Method::GET
                        && let Some(file) = page_file(path)
                    {
                        return file;
                    }
                    let answer = async {
                        pages.check(path, &method, &name, &headers)?;
                        ask_for(token.as_ref(), path, &headers)?;
                        let body = in_time(read(body)).await?;
                        answer(&generator, fleet.as_ref(), &document, &method, path, &body).await
                    };
                    answer.await.unwrap_or_else(Problem::into_response)
                }
            },
        )
        .or(warp::any()
            .map(|| Problem::new(Kind::NotFound, "There is nothing at this path.").into_response()))
        .unify()
}

async fn answer(
    generator: &Arc<Generator>,
    figures: Option<&FleetFigures>,
    document: &Value,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Result<Response, Problem> {
    match (method.as_str(), path) {
        ("POST", "/start") => json(start(generator).await?),
        ("POST", "/stop") => json(stop(generator).await?),
        ("POST", "/frequency") => json(frequency(generator, body).await?),
        ("POST", "/config") => json(configure(generator, body).await?),
        ("POST", "/spam") => json(spam(generator, body).await?),
        ("GET", "/stats") => json(stats(generator).await?),
        ("GET", "/config") => json(config(generator).await?),
        ("GET", "/fleet") => json(fleet(figures).await?),
        ("GET", "/metrics") => metrics(generator).await,
        ("GET", "/healthz") => json(healthz().await?),
        ("GET", "/openapi.json") => json(document),
        (_, "/start" | "/stop" | "/frequency" | "/spam") => Err(only("POST")),
        (_, "/stats" | "/fleet" | "/metrics" | "/healthz" | "/openapi.json") => Err(only("GET")),
        (_, "/config") => Err(only("GET, POST")),
        _ => Err(Problem::new(
            Kind::NotFound,
            "There is nothing at this path: see /swagger/swagger-ui/index.html.",
        )),
    }
}

/// What needs no token: the health, and the document of the pages.
pub(super) const OPEN: [&str; 2] = ["/healthz", "/openapi.json"];

fn ask_for(token: Option<&ApiToken>, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    // Of two, none is meant.
    let authorization = given.next().filter(|_| given.next().is_none());
    let authorization = authorization.and_then(|value| value.to_str().ok());
    match token {
        Some(token) if !OPEN.contains(&path) && !token.is_in(authorization) => Err(Problem::new(
            Kind::Unauthenticated,
            "Send the token of --api-token-file as authorization: Bearer TOKEN.",
        )),
        _ => Ok(()),
    }
}

fn only(methods: &'static str) -> Problem {
    Problem {
        allow: Some(methods),
        ..Problem::new(
            Kind::MethodNotAllowed,
            format!("This path takes {methods}."),
        )
    }
}

fn json(answer: impl Serialize) -> Result<Response, Problem> {
    Ok(warp::reply::json(&answer).into_response())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        Problem::new(Kind::InvalidBody, format!("The body is no JSON: {error}"))
    })?;
    if !body.is_object() {
        return Err(Problem::new(
            Kind::InvalidBody,
            "The body must be a JSON object.",
        ));
    }
    serde_path_to_error::deserialize(body)
        .map_err(|error| Problem::of_json(Kind::InvalidBody, error))
}

async fn in_time(body: impl Future<Output = Result<Vec<u8>, Problem>>) -> Result<Vec<u8>, Problem> {
    let seconds = BODY_DEADLINE.as_secs();
    tokio::time::timeout(BODY_DEADLINE, body)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("The body was not complete within {seconds} s.");
            Err(Problem::new(Kind::BodyTooSlow, detail))
        })
}

async fn read(
    body: impl futures::Stream<Item = Result<impl warp::Buf, warp::Error>>,
) -> Result<Vec<u8>, Problem> {
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        let mut piece =
            piece.map_err(|_| Problem::new(Kind::InvalidBody, "The body broke off."))?;
        if bytes.len() + piece.remaining() > MAX_BODY_BYTES {
            return Err(Problem::new(
                Kind::BodyTooLarge,
                format!("At most {MAX_BODY_BYTES} bytes are taken."),
            ));
        }
        let start = bytes.len();
        bytes.resize(start + piece.remaining(), 0);
        piece.copy_to_slice(&mut bytes[start..]);
    }
    Ok(bytes)
}

/// What the page is made of, and the page itself.
fn page_file(path: &str) -> Option<Response> {
    let name = match path {
        "" | "/" => INDEX,
        path => path.strip_prefix("/page/")?,
    };
    let file = Program::Generator.file(name)?;
    let mut response = Response::new(file.bytes.into());
    for (name, value) in [
        (header::CONTENT_TYPE, file.content_type),
        (header::CACHE_CONTROL, file.cache_control),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Some(response)
}

fn swagger_file(path: &str, config: Arc<utoipa_swagger_ui::Config<'static>>) -> Response {
    let Some(tail) = path.strip_prefix(SWAGGER).filter(|tail| !tail.is_empty()) else {
        let to = [SWAGGER, "index.html"].concat();
        let mut response = StatusCode::FOUND.into_response();
        if let Ok(to) = HeaderValue::try_from(to) {
            response.headers_mut().insert(header::LOCATION, to);
        }
        return response;
    };
    match utoipa_swagger_ui::serve(tail, config) {
        Ok(Some(file)) => {
            let kind = HeaderValue::try_from(file.content_type);
            let mut response = Response::new(file.bytes.into_owned().into());
            if let Ok(kind) = kind {
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            response
        }
        Ok(None) | Err(_) => Problem::new(Kind::NotFound, "There is no such page.").into_response(),
    }
}

//! Where clients of InfluxDB write, ask for a database, and look whether there is one. Their API is described at
//! <https://docs.influxdata.com/influxdb/v2/api/v2/> and
//! <https://docs.influxdata.com/influxdb/v1/tools/api/>.

use std::sync::Arc;

use serde_json::{Value, json};
use sluicegate_decode::Position;
use utoipa::{IntoResponses, ToSchema};
use warp::http::{HeaderName, HeaderValue, StatusCode};

use super::{
    asked::{Asked, Shape, precision},
    readings::first_of,
    store::{Stored, store},
};
use crate::{
    build_info::VERSION,
    router::rest::{
        Context,
        answer::{Answer, JSON},
        params::Params,
        problem::{Kind, Problem},
        request::Request,
    },
};

const VERSION_HEADER: HeaderName = HeaderName::from_static("x-influxdb-version");

/// Why lines were not stored, as both versions of InfluxDB tell it
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes, and is never made")]
pub(in crate::router::rest) struct InfluxProblem {
    /// What kind of problem, as version 2 calls it
    #[schema(example = "invalid")]
    code: String,
    /// What is wrong, for people
    message: String,
    /// The same, as version 1 calls it
    error: String,
    /// The first line that was not stored
    line: Option<u64>,
}

/// How a request with lines is answered.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes, and is never made")]
enum Written {
    #[response(status = 204, description = "All are stored")]
    Stored,
    #[response(
        status = 400,
        description = "Some lines were not stored, the others are"
    )]
    Partly(InfluxProblem),
    #[response(
        status = 408,
        description = "Nothing came for rest.write_idle_limit_s, or not to the end of a line"
    )]
    Slow(InfluxProblem),
    #[response(status = 413, description = "Too much at once")]
    Large(InfluxProblem),
    #[response(status = 415, description = "A packing that is not taken")]
    Packing(InfluxProblem),
    #[response(status = 503, description = "Not now")]
    Unavailable(InfluxProblem),
}

/// Stores line protocol, as version 2 of InfluxDB does. Where `rest.mappings` has one of the name `influx`, it is read by
/// that; otherwise every field is a reading of the type `measurement.field`, whose ids come from the tags.
#[utoipa::path(post, path = "/api/v2/write", tag = "influxdb",
    params(
        ("org" = Option<String>, Query, description = "Of no meaning here"),
        ("bucket" = Option<String>, Query, description = "Of no meaning here"),
        ("precision" = Option<String>, Query, description = "Of times: ns (the default), us, ms or s",
         pattern = "^(|n|ns|nanosecond|u|us|microsecond|ms|millisecond|s|second|m|h|auto)$")
    ),
    request_body(content = Option<String>, content_type = "text/plain", example = "boiler,id1=4,id2=BOILER temperature=81.5"),
    responses(Written))]
pub(in crate::router::rest) async fn write_v2(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    Ok(answer(write(&context, request).await))
}

/// Stores line protocol, as version 1 of InfluxDB does.
#[utoipa::path(post, path = "/write", tag = "influxdb",
    params(
        ("db" = Option<String>, Query, description = "Of no meaning here"),
        ("precision" = Option<String>, Query, description = "Of times: ns (the default), u, ms, s, m (minutes) or h",
         pattern = "^(|n|ns|nanosecond|u|us|microsecond|ms|millisecond|s|second|m|h|auto)$")
    ),
    request_body(content = Option<String>, content_type = "text/plain", example = "boiler,id1=4,id2=BOILER temperature=81.5"),
    responses(Written))]
pub(in crate::router::rest) async fn write_v1(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    Ok(answer(write(&context, request).await))
}

async fn write(context: &Context, request: Request) -> Result<Stored, Problem> {
    let ingest = context.use_cases()?.ingest.clone();
    let intake = &context.intake;
    let asked = {
        // The others say where an InfluxDB would keep it.
        let params = Params::parse_some(&request.query, &["precision"]);
        let format = sluicegate_decode::Format::Influx;
        let mapping = intake.mappings.of_format(format);
        Asked {
            shape: Shape::Lines(mapping.unwrap_or_else(|| intake.mappings.line_protocol())),
            mapping: Some(format.as_str().to_owned()),
            precision: precision(&params)?,
            place: None,
        }
    };
    store(&ingest, intake, request, asked).await
}

/// As an InfluxDB answers.
fn answer(stored: Result<Stored, Problem>) -> Answer {
    let (status, mut error, retry_after) = match stored {
        Ok(stored) if stored.rejected == 0 => {
            let mut answer = Answer::empty(StatusCode::NO_CONTENT);
            answer.headers.insert(VERSION_HEADER, version());
            return answer;
        }
        Ok(stored) => {
            let (
                Stored {
                    rejected, received, ..
                },
                first,
            ) = (&stored, first_of(&stored.rejections));
            let message = format!(
                "partial write: {rejected} of {received} readings were not stored. {first}"
            );
            let line = stored
                .rejections
                .first()
                .and_then(|one| match one.position {
                    Some(Position::Line(line)) => Some(line),
                    _ => None,
                });
            let error = json!({"code": "invalid", "message": message, "line": line});
            (StatusCode::BAD_REQUEST, error, None)
        }
        Err(problem) => {
            let status = problem.status();
            let code = code(status);
            let error = json!({"code": code, "message": problem.detail});
            (status, error, Some(problem))
        }
    };
    // Version 1 tells it under this name.
    error["error"] = error["message"].clone();
    let mut answer = Answer::whole(status, JSON, error.to_string());
    answer.headers.insert(VERSION_HEADER, version());
    if let Some(problem) = retry_after {
        answer.say_when(problem.retry_after);
    }
    answer
}

/// What version 2 calls a status.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::PAYLOAD_TOO_LARGE => "request too large",
        StatusCode::TOO_MANY_REQUESTS => "too many requests",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        StatusCode::INTERNAL_SERVER_ERROR => "internal error",
        _ => "invalid",
    }
}

fn version() -> HeaderValue {
    HeaderValue::from_str(&format!("sluicegate-{VERSION}"))
        .unwrap_or_else(|_| HeaderValue::from_static("sluicegate"))
}

/// What a client of InfluxDB asks
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes, and is never made")]
pub(in crate::router::rest) struct InfluxQuery {
    #[schema(example = "CREATE DATABASE sensors")]
    q: String,
}

/// Says yes to whoever wants a database made before it writes. Any other query gets 400: this is no query engine.
#[utoipa::path(post, path = "/query", tag = "influxdb",
    request_body(content = InfluxQuery, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "There is a database", body = Object),
        (status = 400, description = "Another query than CREATE DATABASE", body = Object),
        (status = 408, description = "The body took too long", body = Object),
        (status = 413, description = "The body is too large", body = Object)))]
pub(in crate::router::rest) async fn query(
    _: Arc<Context>,
    mut request: Request,
) -> Result<Answer, Problem> {
    let body = request.bytes().await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(answer_query([request.query.as_str(), body.as_str()]))
}

fn answer_query(given: [&str; 2]) -> Answer {
    let query = given.into_iter().find_map(Params::query_of_influx);
    let mut words = query.as_deref().unwrap_or_default().split_whitespace();
    let is =
        |word: Option<&str>, expected| word.is_some_and(|it| it.eq_ignore_ascii_case(expected));
    let makes_database = is(words.next(), "CREATE") && is(words.next(), "DATABASE");
    let (status, answer) = match makes_database {
        true => (StatusCode::OK, json!({"results": [{"statement_id": 0}]})),
        false => {
            let error = "readings are kept in MySQL, and this is no query engine: ask the database itself, or GET \
                         /api/v1/sensor/time and its neighbours, which /swagger shows";
            (StatusCode::BAD_REQUEST, json!({"error": error}))
        }
    };
    let mut answer = Answer::whole(status, JSON, answer.to_string());
    answer.headers.insert(VERSION_HEADER, version());
    answer
}

/// Whether somebody is there.
#[utoipa::path(get, path = "/ping", tag = "influxdb",
    responses((status = 204, description = "Somebody is")))]
pub(in crate::router::rest) async fn ping(_: Arc<Context>, _: Request) -> Result<Answer, Problem> {
    let mut answer = Answer::empty(StatusCode::NO_CONTENT);
    answer.headers.insert(VERSION_HEADER, version());
    Ok(answer)
}

/// Whether readings can be written, as version 2 of InfluxDB says it. `/readyz` says more.
#[utoipa::path(get, path = "/health", tag = "influxdb",
    responses((status = 200, description = "They can", body = Object),
        (status = 503, description = "They cannot", body = Object)))]
pub(in crate::router::rest) async fn health(
    context: Arc<Context>,
    _: Request,
) -> Result<Answer, Problem> {
    let standing = context.readiness.look().await;
    let (status, word, message) = match standing.ready {
        true => (StatusCode::OK, "pass", "ready for writes"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "fail",
            "not ready: /readyz says why",
        ),
    };
    let health = json!({
        "name": "sluicegate", "message": message, "status": word, "version": VERSION,
    });
    Ok(Answer::whole(status, JSON, health.to_string()))
}

/// Whether the service has started, as version 2 of InfluxDB says it.
#[utoipa::path(get, path = "/ready", tag = "influxdb",
    responses((status = 200, description = "It has", body = Object),
        (status = 503, description = "It has not", body = Object)))]
pub(in crate::router::rest) async fn ready(
    context: Arc<Context>,
    _: Request,
) -> Result<Answer, Problem> {
    let answer = |status, ready: Value| Answer::whole(status, JSON, ready.to_string());
    Ok(match context.started.get() {
        Some(_) => answer(StatusCode::OK, json!({"status": "ready"})),
        None => {
            let problem = Problem::new(Kind::Starting, "");
            answer(problem.status(), json!({"status": "starting"}))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_and_nothing_else_is_answered() {
        for (query, body, expected) in [
            ("", "q=CREATE+DATABASE+%22sensors%22", StatusCode::OK),
            ("q=create%20database%20x", "", StatusCode::OK),
            (
                "db=sensors&q=SELECT+*+FROM+cpu",
                "",
                StatusCode::BAD_REQUEST,
            ),
            ("", "", StatusCode::BAD_REQUEST),
            ("", "q=CREATE", StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(
                answer_query([query, body]).status,
                expected,
                "{query} {body}"
            );
        }
    }
}

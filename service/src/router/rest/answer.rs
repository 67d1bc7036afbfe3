//! Answers: what a handler returns, and what every answer gets on its way out: a request id, an ETag, gzip.

use std::{
    hash::{DefaultHasher, Hasher as _},
    io::Write as _,
    pin::Pin,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::{Stream, StreamExt as _};
use serde::Serialize;
use warp::{
    Reply as _,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    reply::Response,
};

use super::problem::Problem;

pub(super) const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
/// Smaller bodies do not gain by compression.
const COMPRESS_FROM_BYTES: usize = 1_024;
const REQUEST_ID: &str = "x-request-id";

/// Pieces of a body that is made while it is sent. An error breaks the connection off: the client then knows that the
/// body is not complete.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>> + Send + Sync>>;

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the database stopped answering in the middle of an export")]
pub(super) struct BrokenOff;

pub(super) enum Body {
    Whole(Bytes),
    Pieces(Pieces),
}

/// What a handler answers.
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Body,
    /// Beside those that every answer gets.
    headers: HeaderMap,
    /// Whether the same question may be asked again with If-None-Match.
    cacheable: bool,
}

impl Answer {
    /// The answer to a query.
    pub(super) fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        let mut answer = Self::whole(StatusCode::OK, JSON, body);
        answer.cacheable = true;
        answer
    }

    pub(super) fn whole(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            status,
            content_type,
            body: Body::Whole(body.into()),
            headers: HeaderMap::new(),
            cacheable: false,
        }
    }

    pub(super) fn pieces(content_type: &'static str, pieces: Pieces) -> Self {
        Self {
            body: Body::Pieces(pieces),
            ..Self::whole(StatusCode::OK, content_type, Bytes::new())
        }
    }

    pub(super) fn redirect(to: &'static str) -> Self {
        Self::whole(StatusCode::FOUND, "text/plain", Bytes::new())
            .with(header::LOCATION, HeaderValue::from_static(to))
    }

    pub(super) fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn of_problem(problem: &Problem, request_id: &str) -> Self {
        let status = problem.status();
        let mut answer = Self::whole(status, PROBLEM_JSON, problem.document(request_id));
        if let Some(allow) = problem.allow.as_deref().and_then(|it| it.parse().ok()) {
            answer.headers.insert(header::ALLOW, allow);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from_static("1");
            answer.headers.insert(header::RETRY_AFTER, seconds);
        }
        answer
    }
}

/// The id under which a request is logged: the client's own, if it fits a log line.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let fits =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    match given.filter(fits) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}", rand::random::<u64>()),
    }
}

/// Makes the response.
pub(super) fn respond(
    answer: Result<Answer, Problem>,
    method: &Method,
    asked: &HeaderMap,
    request_id: &str,
) -> Response {
    let mut answer = answer.unwrap_or_else(|problem| Answer::of_problem(&problem, request_id));
    add_etag(&mut answer, method, asked);
    if takes_gzip(asked) {
        compress(&mut answer);
    }
    let mut response = match answer.body {
        Body::Whole(body) => warp::http::Response::new(body.into()),
        Body::Pieces(pieces) => warp::reply::stream(pieces).into_response(),
    };
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.extend(answer.headers);
    if answer.status != StatusCode::NOT_MODIFIED && !headers.contains_key(header::CONTENT_TYPE) {
        let content_type = HeaderValue::from_static(answer.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding"),
    );
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// A weak tag: the same readings, whether compressed or not.
fn add_etag(answer: &mut Answer, method: &Method, asked: &HeaderMap) {
    let Body::Whole(body) = &answer.body else {
        return;
    };
    if !answer.cacheable || !matches!(*method, Method::GET | Method::HEAD) {
        return;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    let etag = format!("W/\"{:016x}\"", hasher.finish());
    let asked = asked.get(header::IF_NONE_MATCH);
    let known = asked
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| {
            let mut tags = tags.split(',').map(str::trim);
            tags.any(|tag| {
                tag == "*" || tag.trim_start_matches("W/") == etag.trim_start_matches("W/")
            })
        });
    if let Ok(etag) = etag.parse() {
        answer.headers.insert(header::ETAG, etag);
        let no_cache = HeaderValue::from_static("private, no-cache");
        answer.headers.insert(header::CACHE_CONTROL, no_cache);
    }
    if known {
        answer.status = StatusCode::NOT_MODIFIED;
        answer.body = Body::Whole(Bytes::new());
    }
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let encodings = asked.get_all(header::ACCEPT_ENCODING).iter();
    let mut encodings = encodings
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    encodings.any(|encoding| {
        let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
        let refused = weight.replace(' ', "");
        let refused = matches!(refused.as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn compress(answer: &mut Answer) {
    let body = std::mem::replace(&mut answer.body, Body::Whole(Bytes::new()));
    answer.body = match body {
        Body::Whole(body)
            if body.len() < COMPRESS_FROM_BYTES
                || answer.headers.contains_key(header::CONTENT_ENCODING) =>
        {
            answer.body = Body::Whole(body);
            return;
        }
        Body::Whole(body) => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            // A vector takes every write.
            let _ = encoder.write_all(&body);
            Body::Whole(encoder.finish().unwrap_or_default().into())
        }
        Body::Pieces(pieces) => Body::Pieces(compress_pieces(pieces)),
    };
    let gzip = HeaderValue::from_static("gzip");
    answer.headers.insert(header::CONTENT_ENCODING, gzip);
}

/// Each piece is flushed as it comes, so that a client sees rows while the rest is still being read.
fn compress_pieces(pieces: Pieces) -> Pieces {
    let mut encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let ended = futures::stream::once(async { None });
    let compressed = pieces.map(Some).chain(ended).map(move |piece| match piece {
        Some(Ok(piece)) => {
            let encoder = encoder.as_mut().ok_or(BrokenOff)?;
            let written = encoder.write_all(&piece).and_then(|()| encoder.flush());
            written.map_err(|_| BrokenOff)?;
            Ok(Bytes::from(std::mem::take(encoder.get_mut())))
        }
        Some(Err(error)) => {
            encoder = None;
            Err(error)
        }
        None => {
            let encoder = encoder.take().ok_or(BrokenOff)?;
            Ok(encoder.finish().map_err(|_| BrokenOff)?.into())
        }
    });
    Box::pin(compressed)
}

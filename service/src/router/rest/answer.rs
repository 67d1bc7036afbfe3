//! Answers: what a handler returns.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::Stream;
use serde::Serialize;
use warp::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{
    export::{self, Encoder, Packed, Pieces},
    problem::Problem,
    room::Room,
    static_files::StaticFile,
    workers::Workers,
};
use crate::repository::RepositoryError;

pub(super) const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

pub(super) enum Body {
    Whole(Bytes),
    /// Made by a worker, and kept in its room until it is taken.
    Page(Box<dyn FnOnce() -> Vec<u8> + Send>, Room),
    Static(StaticFile),
    Export(Export),
    /// Sent as it happens.
    Events(Pieces),
}

/// A body that is made while it is sent.
pub(super) struct Export {
    /// Compressed or not.
    pub(super) make: Box<dyn FnOnce(bool, Arc<Workers>) -> Pieces + Send>,
    /// It gains nothing by compression.
    pub(super) is_packed: bool,
    /// What its memory is counted in, if it takes more than two pages.
    pub(super) room: Option<Room>,
}

/// What a handler answers.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: HeaderValue,
    pub(super) body: Body,
    /// Beside those that every answer gets.
    pub(super) headers: HeaderMap,
    /// Whether the same question may be asked again with If-None-Match.
    pub(super) cacheable: bool,
}

impl Answer {
    /// The answer to a query, of a few values.
    pub(super) fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        let mut answer = Self::whole(StatusCode::OK, JSON, body);
        answer.cacheable = true;
        answer
    }

    /// The answer to a query, of as many rows as there is room for.
    pub(super) fn page(value: impl Serialize + Send + 'static, room: Room) -> Self {
        let make = move || {
            tracing::trace!("encoded");
            serde_json::to_vec(&value).unwrap_or_default()
        };
        Self {
            body: Body::Page(Box::new(make), room),
            cacheable: true,
            ..Self::whole(StatusCode::OK, JSON, Bytes::new())
        }
    }

    pub(super) fn whole(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            status,
            content_type: HeaderValue::from_static(content_type),
            body: Body::Whole(body.into()),
            headers: HeaderMap::new(),
            cacheable: false,
        }
    }

    /// An answer that says all with its status.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::whole(status, JSON, Bytes::new())
    }

    pub(super) fn static_file(file: StaticFile) -> Self {
        Self {
            content_type: file.content_type.clone(),
            body: Body::Static(file),
            cacheable: true,
            ..Self::whole(StatusCode::OK, JSON, Bytes::new())
        }
    }

    /// All of a selection, however many there are.
    pub(super) fn export<T: Send + 'static>(
        (content_type, is_packed): (&'static str, bool),
        pages: impl Stream<Item = Result<Vec<T>, RepositoryError>> + Send + 'static,
        encoder: Box<dyn Encoder<T>>,
        room: Option<Room>,
    ) -> Self {
        let make = move |compressed: bool, workers| {
            let encoder = match compressed {
                true => Box::new(Packed::new(encoder)),
                false => encoder,
            };
            export::pieces(pages, encoder, workers)
        };
        let body = Body::Export(Export {
            make: Box::new(make),
            is_packed,
            room,
        });
        Self {
            body,
            ..Self::whole(StatusCode::OK, content_type, Bytes::new())
        }
    }

    /// Server-sent events, as long as there are any.
    pub(super) fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        let mut answer = Self {
            body: Body::Events(export::when_taken(events)),
            ..Self::whole(StatusCode::OK, "text/event-stream", Bytes::new())
        };
        let headers = &mut answer.headers;
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // nginx would keep events back until it has a buffer full of them.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        answer
    }

    pub(super) fn redirect(to: &'static str) -> Self {
        let mut answer = Self::whole(StatusCode::FOUND, "text/plain", Bytes::new());
        let to = HeaderValue::from_static(to);
        answer.headers.insert(header::LOCATION, to);
        answer
    }

    /// The whole response of an answer that is no more than a few lines, without what an answer gets on its way out.
    pub(super) fn into_small_response(self) -> Response {
        let body = match self.body {
            Body::Whole(body) => body,
            _ => Bytes::new(),
        };
        let mut response: Response = warp::http::Response::new(body.into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(header::CONTENT_TYPE, self.content_type);
        response
    }

    pub(super) fn of_problem(problem: &Problem, request_id: &str) -> Self {
        let status = problem.status();
        let mut answer = Self::whole(status, PROBLEM_JSON, problem.document(request_id));
        if let Some(allow) = problem.allow.as_deref().and_then(|it| it.parse().ok()) {
            answer.headers.insert(header::ALLOW, allow);
        }
        answer.say_when(problem.retry_after);
        if status == StatusCode::UNAUTHORIZED {
            let (name, challenge) = challenge();
            answer.headers.insert(name, challenge);
        }
        answer
    }
}

impl Answer {
    /// When it is worth another try, if it ever is.
    pub(super) fn say_when(&mut self, retry_after: Option<Duration>) {
        let seconds = match (retry_after, self.status) {
            (Some(wait), _) => wait.as_secs().max(1),
            (None, StatusCode::SERVICE_UNAVAILABLE) => 1,
            (None, _) => return,
        };
        let seconds = HeaderValue::from(seconds);
        self.headers.insert(header::RETRY_AFTER, seconds);
    }
}

/// Tells clients how to prove who they are (RFC 9110, section 11.6.1).
fn challenge() -> (header::HeaderName, HeaderValue) {
    let bearer = HeaderValue::from_static("Bearer realm=\"sluicegate\"");
    (header::WWW_AUTHENTICATE, bearer)
}

//! Errors as RFC 9457 problem documents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::{
    http::{HeaderValue, StatusCode, header},
    reply::{Reply as _, Response},
};

/// What went wrong, as far as programs have to tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    AlreadyRunning,
    NotRunning,
    Busy,
    InvalidConfig,
    InvalidBody,
    BodyTooLarge,
    NotFound,
    MethodNotAllowed,
    CrossOriginRefused,
    TargetUnavailable,
}

impl Kind {
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::AlreadyRunning => (
                "already-running",
                StatusCode::CONFLICT,
                "The generator is running already",
            ),
            Self::NotRunning => (
                "not-running",
                StatusCode::CONFLICT,
                "The generator is not running",
            ),
            Self::Busy => ("busy", StatusCode::CONFLICT, "The generator is busy"),
            Self::InvalidConfig => (
                "invalid-config",
                StatusCode::BAD_REQUEST,
                "The configuration cannot be used",
            ),
            Self::InvalidBody => (
                "invalid-body",
                StatusCode::BAD_REQUEST,
                "The body cannot be used",
            ),
            Self::BodyTooLarge => (
                "body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is nothing here"),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The method is not allowed here",
            ),
            Self::CrossOriginRefused => (
                "cross-origin-refused",
                StatusCode::FORBIDDEN,
                "Pages of other origins are refused",
            ),
            Self::TargetUnavailable => (
                "target-unavailable",
                StatusCode::BAD_GATEWAY,
                "The target cannot be reached",
            ),
        }
    }
}

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable name.
    #[serde(rename = "type")]
    #[schema(example = "urn:sluicegen:problem:already-running")]
    pub kind: String,
    /// The same for every problem of its type.
    pub title: String,
    /// The status of the reply.
    pub status: u16,
    /// One sentence about this case.
    pub detail: String,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (name, status, title) = kind.parts();
        Self {
            kind: format!("urn:sluicegen:problem:{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = warp::reply::json(&self).into_response();
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        response
    }
}

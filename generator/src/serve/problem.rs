//! Errors as RFC 9457 problem documents.

use serde::{Deserialize, Serialize};
use sluicegate_transport::pages::Refusal;
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
    Internal,
    InvalidConfig,
    InvalidBody,
    BodyTooLarge,
    BodyTooSlow,
    NotFound,
    MethodNotAllowed,
    CrossOriginRefused,
    Misdirected,
    Unauthenticated,
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
            Self::Internal => (
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The generator cannot answer",
            ),
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
            Self::BodyTooSlow => (
                "body-too-slow",
                StatusCode::REQUEST_TIMEOUT,
                "The body took too long",
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
            Self::Misdirected => (
                "misdirected",
                StatusCode::MISDIRECTED_REQUEST,
                "The generator has another name",
            ),
            Self::Unauthenticated => (
                "unauthenticated",
                StatusCode::UNAUTHORIZED,
                "The generator does not know who asks",
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
    #[schema(example = "connections is 0, but must be 1 to 1024")]
    pub detail: String,
    /// The field of the body that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "connections")]
    pub parameter: Option<String>,
    /// For 405: the methods that are allowed.
    #[serde(skip)]
    pub(super) allow: Option<&'static str>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Name(name) => Self::new(
                Kind::Misdirected,
                format!(
                    "This generator does not answer to the name {name:?}: use its address, or --allowed-hosts."
                ),
            ),
            Refusal::Origin => Self::new(
                Kind::CrossOriginRefused,
                "A page of another origin may change nothing here.",
            ),
        }
    }
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (name, status, title) = kind.parts();
        Self {
            kind: format!("urn:sluicegen:problem:{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            parameter: None,
            allow: None,
        }
    }

    /// `parameter` is the field that is wrong.
    pub(super) fn of(kind: Kind, parameter: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            parameter: Some(parameter.into()),
            ..Self::new(kind, detail)
        }
    }

    /// What serde says, with the field that it says it of.
    pub(super) fn of_json(
        kind: Kind,
        error: serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // A field that is missing has no path: its name stands in the reason.
        let missing = reason.strip_prefix("missing field `");
        let missing = missing.and_then(|rest| rest.split('`').next());
        let within = (path != ".").then_some(path.as_str());
        let parameter = match (within, missing) {
            (Some(within), Some(name)) => format!("{within}.{name}"),
            (Some(name), None) | (None, Some(name)) => name.to_owned(),
            (None, None) => return Self::new(kind, reason),
        };
        let detail = match missing {
            Some(_) => format!("{parameter} is missing"),
            None => format!("{parameter}: {reason}"),
        };
        Self::of(kind, parameter, detail)
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = warp::reply::json(&self).into_response();
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if let Some(allow) = self.allow {
            let allow = HeaderValue::from_static(allow);
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

//! Errors as RFC 9457 problem documents: one sentence that a person can act on, never a driver's text.

use std::time::Duration;

use serde::Serialize;
use sluicegate_transport::pages::Refusal;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{series_views::TaggedView, views::IntakeView};
use crate::{
    model::Fault,
    repository::RepositoryError,
    usecase::manage::{ChangeError, ReplayError},
};

/// What went wrong, as far as programs have to tell it apart. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    InvalidParameter,
    MissingParameter,
    UnknownParameter,
    RepeatedParameter,
    InvalidCursor,
    MalformedBody,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    HttpTooOld,
    BodyTooLarge,
    BodyTooSlow,
    UnsupportedMediaType,
    InvalidChange,
    InvalidReadings,
    StreamConflict,
    TooFast,
    CrossOriginRefused,
    Misdirected,
    Unauthenticated,
    PermissionDenied,
    TooManyFailures,
    NotAudited,
    Busy,
    Starting,
    Draining,
    NotCommitted,
    DatabaseUnavailable,
    Internal,
}

impl Kind {
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidParameter => (
                "urn:sluicegate:problem:invalid-parameter",
                StatusCode::BAD_REQUEST,
                "A parameter has no usable value",
            ),
            Self::MissingParameter => (
                "urn:sluicegate:problem:missing-parameter",
                StatusCode::BAD_REQUEST,
                "A parameter is missing",
            ),
            Self::UnknownParameter => (
                "urn:sluicegate:problem:unknown-parameter",
                StatusCode::BAD_REQUEST,
                "A parameter is not known here",
            ),
            Self::RepeatedParameter => (
                "urn:sluicegate:problem:repeated-parameter",
                StatusCode::BAD_REQUEST,
                "A parameter is given more than once",
            ),
            Self::InvalidCursor => (
                "urn:sluicegate:problem:invalid-cursor",
                StatusCode::BAD_REQUEST,
                "The cursor cannot be used here",
            ),
            Self::MalformedBody => (
                "urn:sluicegate:problem:malformed-body",
                StatusCode::BAD_REQUEST,
                "The body cannot be read",
            ),
            Self::NotFound => (
                "urn:sluicegate:problem:not-found",
                StatusCode::NOT_FOUND,
                "There is nothing here",
            ),
            Self::MethodNotAllowed => (
                "urn:sluicegate:problem:method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The method is not allowed here",
            ),
            Self::NotAcceptable => (
                "urn:sluicegate:problem:not-acceptable",
                StatusCode::NOT_ACCEPTABLE,
                "The formats asked for are not offered",
            ),
            Self::HttpTooOld => (
                "urn:sluicegate:problem:http-too-old",
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "This version of HTTP cannot carry the answer",
            ),
            Self::BodyTooLarge => (
                "urn:sluicegate:problem:body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Self::BodyTooSlow => (
                "urn:sluicegate:problem:body-too-slow",
                StatusCode::REQUEST_TIMEOUT,
                "The body took too long",
            ),
            Self::UnsupportedMediaType => (
                "urn:sluicegate:problem:unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The format of the body is not taken here",
            ),
            Self::InvalidChange => (
                "urn:sluicegate:problem:invalid-change",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The new values cannot be stored",
            ),
            Self::InvalidReadings => (
                "urn:sluicegate:problem:invalid-readings",
                StatusCode::BAD_REQUEST,
                "Some readings were not stored",
            ),
            Self::StreamConflict => (
                "urn:sluicegate:problem:stream-conflict",
                StatusCode::CONFLICT,
                "The stream does not go on there",
            ),
            Self::TooFast => (
                "urn:sluicegate:problem:too-fast",
                StatusCode::TOO_MANY_REQUESTS,
                "This is more than may come at once",
            ),
            Self::CrossOriginRefused => (
                "urn:sluicegate:problem:cross-origin-refused",
                StatusCode::FORBIDDEN,
                "Pages of this origin may not use the API",
            ),
            Self::Misdirected => (
                "urn:sluicegate:problem:misdirected",
                StatusCode::MISDIRECTED_REQUEST,
                "This service does not answer to that name",
            ),
            Self::Unauthenticated => (
                "urn:sluicegate:problem:unauthenticated",
                StatusCode::UNAUTHORIZED,
                "The service does not know who asks",
            ),
            Self::PermissionDenied => (
                "urn:sluicegate:problem:permission-denied",
                StatusCode::FORBIDDEN,
                "Whoever asks may not do this",
            ),
            Self::TooManyFailures => (
                "urn:sluicegate:problem:too-many-failures",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many tokens were not valid",
            ),
            Self::NotAudited => (
                "urn:sluicegate:problem:not-audited",
                StatusCode::SERVICE_UNAVAILABLE,
                "The change cannot be told in the audit log",
            ),
            Self::Busy => (
                "urn:sluicegate:problem:busy",
                StatusCode::SERVICE_UNAVAILABLE,
                "The service is busy with other requests",
            ),
            Self::Starting => (
                "urn:sluicegate:problem:starting",
                StatusCode::SERVICE_UNAVAILABLE,
                "The service is starting",
            ),
            Self::Draining => (
                "urn:sluicegate:problem:draining",
                StatusCode::SERVICE_UNAVAILABLE,
                "The service is shutting down",
            ),
            Self::NotCommitted => (
                "urn:sluicegate:problem:not-committed",
                StatusCode::SERVICE_UNAVAILABLE,
                "The readings were not committed in time",
            ),
            Self::DatabaseUnavailable => (
                "urn:sluicegate:problem:database-unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The database is not available",
            ),
            Self::Internal => (
                "urn:sluicegate:problem:internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The service cannot answer",
            ),
        }
    }
}

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) detail: String,
    pub(super) parameter: Option<String>,
    /// For 405: the methods that are allowed.
    pub(super) allow: Option<String>,
    /// When it is worth another try, if that is not a second.
    pub(super) retry_after: Option<Duration>,
    /// What became of the readings of a request, some of which were not stored.
    pub(super) intake: Option<Box<IntakeView>>,
    /// What became of tags that a request brought, some of which could not be set.
    pub(super) tagging: Option<Box<TaggedView>>,
}

/// A problem document.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemDocument<'a> {
    /// Stable name of the kind of problem
    #[serde(rename = "type")]
    #[schema(example = "urn:sluicegate:problem:invalid-parameter")]
    kind: &'a str,
    /// The kind of problem in words
    #[schema(example = "A parameter has no usable value")]
    title: &'a str,
    /// The HTTP status
    #[schema(example = 400)]
    status: u16,
    /// What to do about it
    #[schema(example = "limit is 0, but must be 1 to 10000.")]
    detail: &'a str,
    /// The parameter or field that is wrong
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "limit")]
    parameter: Option<&'a str>,
    /// Also in the header x-request-id and in the service's log
    #[schema(example = "5f0c6b1e9a7d4c23")]
    request_id: &'a str,
    /// Of a request that brought readings, some of which were not stored: what became of all of them
    #[serde(skip_serializing_if = "Option::is_none")]
    intake: Option<&'a IntakeView>,
    /// Of a request that brought tags, some of which could not be set: what became of all of them
    #[serde(skip_serializing_if = "Option::is_none")]
    tagging: Option<&'a TaggedView>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            parameter: None,
            allow: None,
            retry_after: None,
            intake: None,
            tagging: None,
        }
    }

    /// A problem with one parameter or field.
    pub(super) fn of(parameter: &str, kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            parameter: Some(parameter.to_owned()),
            ..Self::new(kind, detail)
        }
    }

    /// This layout has no series.
    pub(super) fn no_series() -> Self {
        let detail = "Series are known on the layout series alone, and this table has another one.";
        Self::new(Kind::NotFound, detail)
    }

    /// The service has not started yet.
    pub(super) fn starting() -> Self {
        let detail = "The service is starting: /readyz says what it waits for.";
        Self::new(Kind::Starting, detail)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.kind.parts().1
    }

    pub(super) fn document(&self, request_id: &str) -> Vec<u8> {
        let (kind, status, title) = self.kind.parts();
        let document = ProblemDocument {
            kind,
            title,
            status: status.as_u16(),
            detail: &self.detail,
            parameter: self.parameter.as_deref(),
            request_id,
            intake: self.intake.as_deref(),
            tagging: self.tagging.as_deref(),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

impl From<RepositoryError> for Problem {
    fn from(error: RepositoryError) -> Self {
        let (kind, detail) = match &error {
            RepositoryError::Unreachable(_) => (
                Kind::DatabaseUnavailable,
                "The database does not answer: try again in a moment.",
            ),
            RepositoryError::Contention(_) => (
                Kind::DatabaseUnavailable,
                "The database is busy with other transactions, or somebody has locked the table: try again in a moment.",
            ),
            RepositoryError::TooBig(_) => (
                Kind::DatabaseUnavailable,
                "This is more than the database does at once, in time (rest.statement_limit_s) or in memory: select less.",
            ),
            RepositoryError::NotWritable(_) => (
                Kind::DatabaseUnavailable,
                "The database refuses changes at the moment: try again later.",
            ),
            RepositoryError::Data(_)
            | RepositoryError::Table(_)
            | RepositoryError::LaneFenced { .. }
            | RepositoryError::LaneHeld { .. }
            | RepositoryError::LaneForgotten { .. }
            | RepositoryError::Setup(_)
            | RepositoryError::GaveUp(_)
            | RepositoryError::Other(_) => (
                Kind::Internal,
                "The database cannot answer this: look for the request id in the service's log.",
            ),
        };
        tracing::warn!(%error, "a request failed at the database");
        Self::new(kind, detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Name(name) => Self::new(
                Kind::Misdirected,
                format!(
                    "This service does not answer to the name {name:?}: use its address, or put the name into \
                     rest.allowed_hosts."
                ),
            ),
            Refusal::Origin => Self::new(
                Kind::CrossOriginRefused,
                "A page of another origin may change nothing here: see the setting rest.cors_origins.",
            ),
        }
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::NoMapping(_) => Self::of(
                "mapping",
                Kind::InvalidParameter,
                "mapping must be one of rest.mappings, json or influx.",
            ),
            ReplayError::Busy(busy) => busy.into(),
            ReplayError::Storage { replayed, source } => {
                let mut problem = match source {
                    RepositoryError::Table(reason) => Self::new(
                        Kind::DatabaseUnavailable,
                        format!("The table does not take readings: {reason}."),
                    ),
                    source => Self::from(source),
                };
                if replayed > 0 {
                    let settled = format!(" {replayed} rows were replayed before that.");
                    problem.detail.push_str(&settled);
                }
                problem
            }
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Nothing => Self::new(
                Kind::InvalidChange,
                "The body has to hold sensor_value, sensor_type or both.",
            ),
            ChangeError::Invalid(fault) => Self::from_fault(&fault),
            ChangeError::WithinBucket(reason) => Self::of(
                "from_time",
                Kind::InvalidParameter,
                format!("from_time and to_time: {reason}."),
            ),
            ChangeError::Storage { done, source } => {
                let mut problem = Self::from(source);
                if done > 0 {
                    let settled = format!(" {done} readings were changed before that.");
                    problem.detail.push_str(&settled);
                }
                problem
            }
        }
    }
}

impl Problem {
    fn from_fault(fault: &Fault) -> Self {
        Self::of(
            fault.field().as_str(),
            Kind::InvalidChange,
            format!("{fault}."),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::book;

    /// `Internal` is the last one.
    const ALL: [Kind; Kind::Internal as usize + 1] = [
        Kind::InvalidParameter,
        Kind::MissingParameter,
        Kind::UnknownParameter,
        Kind::RepeatedParameter,
        Kind::InvalidCursor,
        Kind::MalformedBody,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::NotAcceptable,
        Kind::HttpTooOld,
        Kind::BodyTooLarge,
        Kind::BodyTooSlow,
        Kind::UnsupportedMediaType,
        Kind::InvalidChange,
        Kind::InvalidReadings,
        Kind::StreamConflict,
        Kind::TooFast,
        Kind::CrossOriginRefused,
        Kind::Misdirected,
        Kind::Unauthenticated,
        Kind::PermissionDenied,
        Kind::TooManyFailures,
        Kind::NotAudited,
        Kind::Busy,
        Kind::Starting,
        Kind::Draining,
        Kind::NotCommitted,
        Kind::DatabaseUnavailable,
        Kind::Internal,
    ];

    #[test]
    fn the_book_has_every_kind() {
        let described: Vec<[String; 3]> = ALL
            .into_iter()
            .map(|kind| {
                let (name, status, title) = kind.parts();
                [
                    name.to_owned(),
                    status.as_u16().to_string(),
                    title.to_owned(),
                ]
            })
            .collect();
        assert_eq!(book::table("REST"), described);
    }
}

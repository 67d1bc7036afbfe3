//! Errors as gRPC status, with details for machines. Translated here and nowhere else.

use hyper::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::usecase::ingest::{IngestError, RejectionNote};

pub(super) fn of_error(error: &IngestError) -> Status {
    let message = error.to_string();
    match error {
        IngestError::Fenced { .. } => Status::aborted(message),
        IngestError::Gap { .. } => Status::out_of_range(message),
        IngestError::NotOpened => Status::failed_precondition(message),
        IngestError::Malformed { field, reason } => bad_request(field, reason),
        IngestError::BudgetExhausted { retry_after } => {
            let details = ErrorDetails::with_retry_info(Some(*retry_after));
            Status::with_error_details(Code::ResourceExhausted, message, details)
        }
        IngestError::DictionaryFull => Status::resource_exhausted(message),
        IngestError::CommitDeadline { .. } | IngestError::Draining | IngestError::Idle { .. } => {
            Status::unavailable(message)
        }
        IngestError::Storage(reason) => {
            // The reason may hold the database's own words: they are for the log.
            tracing::warn!(%reason, "a call failed");
            Status::unavailable("the database is not available")
        }
    }
}

impl From<IngestError> for Status {
    fn from(error: IngestError) -> Self {
        of_error(&error)
    }
}

/// The one reading of a unary call was rejected.
pub(super) fn of_rejection(note: &RejectionNote) -> Status {
    bad_request(note.field.as_str(), &note.reason)
}

/// Begins what tonic says, with OUT_OF_RANGE, of a message above the limit.
const TOO_LARGE: &str = "Error, decoded message length too large: found ";
/// Begin what tonic says, with INTERNAL, of a request that it cannot read.
const UNREADABLE: [&str; 3] = [
    "failed to decode Protobuf message",
    "Unexpected EOF decoding stream",
    "Missing request message",
];

/// tonic's own words about a request, as the contract has them: it is the producer who is to mend it. Every other status
/// stays as it is.
pub(super) fn of_request(status: Status) -> Status {
    let text = status.message();
    let reason = if let Some(sizes) = text.strip_prefix(TOO_LARGE) {
        format!(
            "the message is too large: it has {sizes}. Send smaller ones, or raise grpc.max_message_bytes"
        )
    } else if UNREADABLE.iter().any(|begin| text.starts_with(begin)) {
        format!("the message cannot be read: {text}")
    } else {
        return status;
    };
    bad_request("message", &reason)
}

/// Where tonic refuses a unary call by itself, its status is the whole response.
pub(super) fn of_response<B: Default>(response: Response<B>) -> Response<B> {
    match response.extensions().get::<Status>() {
        Some(status) => of_request(status.clone()).into_http(),
        None => response,
    }
}

fn bad_request(field: &str, reason: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, reason);
    Status::with_error_details(Code::InvalidArgument, reason, details)
}

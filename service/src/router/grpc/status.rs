//! Errors as gRPC status, with details for machines. Translated here and nowhere else.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::usecase::ingest::{IngestError, RejectionNote};

pub(super) fn of_error(error: &IngestError) -> Status {
    let message = error.to_string();
    match error {
        IngestError::Fenced { .. } => Status::aborted(message),
        IngestError::Gap { .. } => Status::out_of_range(message),
        IngestError::NotOpened => Status::failed_precondition(message),
        IngestError::Malformed { field, reason } => {
            let details = ErrorDetails::with_bad_request_violation(field, reason);
            Status::with_error_details(Code::InvalidArgument, message, details)
        }
        IngestError::BudgetExhausted { retry_after } => {
            let details = ErrorDetails::with_retry_info(Some(*retry_after));
            Status::with_error_details(Code::ResourceExhausted, message, details)
        }
        IngestError::DictionaryFull => Status::resource_exhausted(message),
        IngestError::CommitDeadline { .. } | IngestError::Draining => Status::unavailable(message),
        IngestError::Storage(reason) => {
            // The reason may hold the database's own words: they are for the log.
            tracing::warn!(%reason, "a call failed");
            Status::unavailable("the database is not available")
        }
    }
}

/// The one reading of a unary call was rejected.
pub(super) fn of_rejection(note: &RejectionNote) -> Status {
    let details = ErrorDetails::with_bad_request_violation(note.field.as_str(), &note.reason);
    Status::with_error_details(Code::InvalidArgument, &note.reason, details)
}

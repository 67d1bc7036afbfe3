//! Errors as gRPC status, with details for machines. Translated here and nowhere else.

use std::time::Duration;

use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    auth::Refusal,
    usecase::{
        ingest::{IngestError, RejectionNote},
        live::LiveError,
        manage::QueryError,
    },
};

/// When there may be room for one more who watches.
const WATCH_AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(super) fn of_error(error: &IngestError) -> Status {
    let message = error.to_string();
    match error {
        IngestError::Fenced { .. } => Status::aborted(message),
        IngestError::Gap { .. } => Status::out_of_range(message),
        IngestError::NotOpened | IngestError::LedgerBehind { .. } => {
            Status::failed_precondition(message)
        }
        IngestError::Malformed { field, reason } => bad_request(field, reason),
        IngestError::BudgetExhausted { retry_after } | IngestError::TooFast { retry_after, .. } => {
            let details = ErrorDetails::with_retry_info(Some(*retry_after));
            Status::with_error_details(Code::ResourceExhausted, message, details)
        }
        IngestError::TooLarge { .. } => bad_request("message", &message),
        IngestError::MessageDeadline { .. } => Status::deadline_exceeded(message),
        IngestError::DictionaryFull => Status::resource_exhausted(message),
        IngestError::OutOfReach { .. } | IngestError::NotOwner { .. } => {
            Status::permission_denied(message)
        }
        IngestError::Ended => Status::unauthenticated(message),
        IngestError::CommitDeadline { .. }
        | IngestError::Starting
        | IngestError::Draining
        | IngestError::Idle { .. } => Status::unavailable(message),
        IngestError::Storage(reason) => {
            // The reason may hold the database's own words: they are for the log.
            tracing::warn!(%reason, "a call failed");
            Status::unavailable("the database is not available")
        }
    }
}

/// Nothing can be watched.
pub(super) fn of_live(error: &LiveError) -> Status {
    let message = error.to_string();
    match error {
        LiveError::Full(_) | LiveError::Query(QueryError::Busy(_)) => {
            let details = ErrorDetails::with_retry_info(Some(WATCH_AGAIN_AFTER));
            Status::with_error_details(Code::ResourceExhausted, message, details)
        }
        LiveError::Query(QueryError::TooManySeries { most }) => bad_request(
            "tags",
            &format!(
                "the tags select more than {most} series: give more tags, or name the series by pairs"
            ),
        ),
        LiveError::Query(QueryError::NoSeries) => Status::failed_precondition(
            "series, and so their tags, are known on the layout series alone, and this table has another one: name pairs",
        ),
        LiveError::Query(error) => {
            tracing::warn!(%error, "a call failed");
            Status::unavailable("the database is not available")
        }
    }
}

/// Watchers do not end by themselves: those who bring readings need calls, too.
pub(super) fn too_many_watchers(most: usize) -> Status {
    Status::unavailable(format!(
        "{most} calls watch, which are half of grpc.max_open_calls, and as many as may: try again later"
    ))
}

impl From<IngestError> for Status {
    fn from(error: IngestError) -> Self {
        of_error(&error)
    }
}

/// Somebody was not let in.
pub(super) fn of_refusal(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::Missing | Refusal::Unreadable | Refusal::Invalid => {
            Status::unauthenticated(message)
        }
        Refusal::Scope { .. } => Status::permission_denied(message),
        Refusal::TooMany { retry_after } => {
            let details = ErrorDetails::with_retry_info(Some(*retry_after));
            Status::with_error_details(Code::ResourceExhausted, message, details)
        }
    }
}

/// The one reading of a unary call was rejected.
pub(super) fn of_rejection(note: &RejectionNote) -> Status {
    bad_request(note.field.as_str(), &note.reason)
}

/// A message above the limit.
pub(super) fn too_large(length_bytes: usize, limit_bytes: usize) -> Status {
    let reason = format!(
        "the message is too large: it has {length_bytes} bytes, the limit is {limit_bytes} bytes. Send smaller ones, or \
         raise grpc.max_message_bytes"
    );
    bad_request("message", &reason)
}

/// A message that is no message.
pub(super) fn unreadable(reason: &str) -> Status {
    bad_request("message", &format!("the message cannot be read: {reason}"))
}

/// A call that ended in the middle of a message.
pub(super) fn cut_short() -> Status {
    unreadable("the call ended in the middle of it")
}

/// A call that has to have a message, and has none.
pub(super) fn missing() -> Status {
    bad_request("message", "the call has no message, but takes one")
}

/// Messages are packed in a way that is not known here.
pub(super) fn unknown_packing() -> Status {
    accepting(
        Status::unimplemented(
            "messages may be packed with gzip, or come as they are (grpc-encoding: gzip or identity)",
        ),
        "gzip,identity",
    )
}

/// A call of health or reflection whose message is packed: nobody would know its size in memory before it is unpacked.
pub(super) fn compressed() -> Status {
    accepting(
        Status::unimplemented(
            "compressed messages are not taken here: send them as they are (grpc-encoding: identity)",
        ),
        "identity",
    )
}

/// A message that is packed in a call that did not say so.
pub(super) fn unexpectedly_packed() -> Status {
    bad_request(
        "message",
        "the message is packed, and the call did not say how (grpc-encoding)",
    )
}

fn accepting(mut status: Status, encodings: &'static str) -> Status {
    let encodings = MetadataValue::from_static(encodings);
    let name = "grpc-accept-encoding";
    status.metadata_mut().insert(name, encodings);
    status
}

/// More calls than there is place for, over all connections.
pub(super) fn too_many_calls(max_open: usize) -> Status {
    Status::unavailable(format!(
        "{max_open} calls are open, which are as many as grpc.max_open_calls allows: try again, or elsewhere"
    ))
}

/// More calls than one principal may have open.
pub(super) fn too_many_calls_of_principal(most: usize) -> Status {
    Status::unavailable(format!(
        "the principal has {most} calls open, which are as many as auth.max_open_calls allows: try again once one has ended"
    ))
}

/// A call of health or reflection that stays open and says nothing.
pub(super) fn no_message(deadline: Duration) -> Status {
    Status::deadline_exceeded(format!("the call brought no message within {deadline:?}"))
}

/// The client said that it would wait no longer.
pub(super) fn client_deadline(deadline: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "not done within {deadline:?}, which is as long as the client waits: whether it will be is not known"
    ))
}

pub(super) fn bad_request(field: &str, reason: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, reason);
    Status::with_error_details(Code::InvalidArgument, reason, details)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        auth::Need,
        model::{Epoch, PrincipalName, Seq},
        router::{book, grpc::metrics::code_name},
        usecase::live::Full,
    };

    /// One of each: a new one does not compile before it stands here.
    fn all_errors() -> Vec<IngestError> {
        let deadline = Duration::from_secs(1);
        let next = |error: &IngestError| match error {
            IngestError::Fenced { .. } => Some(IngestError::Gap {
                first_seq: Seq(9),
                committed_seq: Seq(1),
            }),
            IngestError::Gap { .. } => Some(IngestError::NotOpened),
            IngestError::NotOpened => Some(IngestError::LedgerBehind {
                known: Epoch(1),
                held: Epoch(2),
            }),
            IngestError::LedgerBehind { .. } => Some(IngestError::Malformed {
                field: "header".to_owned(),
                reason: "in words".to_owned(),
            }),
            IngestError::Malformed { .. } => Some(IngestError::TooLarge {
                needed_bytes: 2,
                limit_bytes: 1,
                budget_bytes: 4,
            }),
            IngestError::TooLarge { .. } => Some(IngestError::MessageDeadline { deadline }),
            IngestError::MessageDeadline { .. } => Some(IngestError::BudgetExhausted {
                retry_after: deadline,
            }),
            IngestError::BudgetExhausted { .. } => Some(IngestError::TooFast {
                setting: "auth.max_rows_per_s",
                per_s: NonZeroU32::MIN,
                retry_after: deadline,
            }),
            IngestError::TooFast { .. } => Some(IngestError::DictionaryFull),
            IngestError::DictionaryFull => Some(IngestError::CommitDeadline { deadline }),
            IngestError::CommitDeadline { .. } => Some(IngestError::Starting),
            IngestError::Starting => Some(IngestError::Draining),
            IngestError::Draining => Some(IngestError::Idle { limit: deadline }),
            IngestError::Idle { .. } => Some(IngestError::OutOfReach {
                stream: Some("a".to_owned()),
                prefixes: "\"b\"".to_owned(),
            }),
            IngestError::OutOfReach {
                stream: Some(_), ..
            } => Some(IngestError::OutOfReach {
                stream: None,
                prefixes: "\"b\"".to_owned(),
            }),
            IngestError::OutOfReach { stream: None, .. } => Some(IngestError::NotOwner {
                stream: "a".to_owned(),
            }),
            IngestError::NotOwner { .. } => Some(IngestError::Ended),
            IngestError::Ended => Some(IngestError::Storage("in words".to_owned())),
            IngestError::Storage(_) => None,
        };
        std::iter::successors(Some(IngestError::Fenced { current: Epoch(2) }), next).collect()
    }

    #[test]
    fn the_book_has_every_status_with_its_message() {
        let deadline = Duration::from_secs(1);
        let mut found: Vec<Status> = all_errors().iter().map(of_error).collect();
        found.extend([
            too_large(2, 1),
            unreadable("in words"),
            cut_short(),
            missing(),
            unknown_packing(),
            compressed(),
            unexpectedly_packed(),
            too_many_calls(1),
            too_many_calls_of_principal(1),
            no_message(deadline),
            client_deadline(deadline),
            too_many_watchers(1),
        ]);
        found.extend(
            [
                LiveError::Full(Full { budget_bytes: 1 }),
                LiveError::Query(QueryError::TooManySeries { most: 1 }),
                LiveError::Query(QueryError::NoSeries),
            ]
            .iter()
            .map(of_live),
        );
        found.extend(
            [
                Refusal::Missing,
                Refusal::Unreadable,
                Refusal::Invalid,
                Refusal::Scope {
                    need: Need::Ingest,
                    principal: PrincipalName::parse("desk").unwrap(),
                },
                Refusal::TooMany {
                    retry_after: deadline,
                },
            ]
            .iter()
            .map(of_refusal),
        );
        let shown = book::table("gRPC");
        let fits = |row: &[String], status: &Status| {
            row[0] == code_name(status.code()) && book::shows(&row[1], status.message())
        };
        for status in &found {
            assert!(shown.iter().any(|row| fits(row, status)), "{status:?}");
        }
        for row in &shown {
            assert!(found.iter().any(|status| fits(row, status)), "{row:?}");
        }
    }
}

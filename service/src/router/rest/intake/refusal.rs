//! Why ingestion refuses, as problem documents.

use crate::{
    router::rest::problem::{Kind, Problem},
    usecase::ingest::IngestError,
};

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        let detail = in_words(&error);
        match error {
            IngestError::Fenced { .. }
            | IngestError::Gap { .. }
            | IngestError::NotOpened
            | IngestError::LedgerBehind { .. } => Self::new(Kind::StreamConflict, detail),
            IngestError::Malformed { field, .. } => Self::of(&field, Kind::InvalidReadings, detail),
            IngestError::TooLarge { .. } => Self::new(Kind::BodyTooLarge, detail),
            IngestError::MessageDeadline { .. } | IngestError::Idle { .. } => {
                Self::new(Kind::BodyTooSlow, detail)
            }
            IngestError::BudgetExhausted { retry_after }
            | IngestError::TooFast { retry_after, .. } => Self {
                retry_after: Some(retry_after),
                ..Self::new(Kind::TooFast, detail)
            },
            IngestError::DictionaryFull => Self::new(Kind::TooFast, detail),
            IngestError::CommitDeadline { .. } => Self::new(Kind::NotCommitted, detail),
            IngestError::OutOfReach { .. } | IngestError::NotOwner { .. } => {
                Self::new(Kind::PermissionDenied, detail)
            }
            IngestError::Ended => Self::new(Kind::Unauthenticated, detail),
            IngestError::Starting => Self::starting(),
            IngestError::Draining => Self::new(Kind::Draining, detail),
            IngestError::Storage(reason) => {
                // The reason may hold the database's own words: they are for the log.
                tracing::warn!(%reason, "a request failed");
                let detail =
                    "The database does not take readings at the moment: send them again later.";
                Self::new(Kind::DatabaseUnavailable, detail)
            }
        }
    }
}

/// As sentences of this door. Where those of ingestion speak of calls, they are told in words of HTTP.
fn in_words(error: &IngestError) -> String {
    match error {
        IngestError::Fenced { current } => format!(
            "Another writer has opened this stream since, under epoch {current}: leave stream-epoch out to take it over."
        ),
        IngestError::NotOpened => {
            "This stream was never opened under that epoch: leave stream-epoch out.".to_owned()
        }
        IngestError::LedgerBehind { known, held } => format!(
            "The ledger knows this stream under epoch {known}, and stream-epoch is {held}, which is later: was the ledger \
             restored from a backup? Leave stream-epoch out to go on from where GET /streams/{{id}} says that it stands."
        ),
        IngestError::MessageDeadline { deadline } | IngestError::Idle { limit: deadline } => format!(
            "Nothing came for {} s, or not to the end of a line: what came before is stored as far as it was good.",
            deadline.as_secs()
        ),
        IngestError::Draining => {
            "The service is shutting down: send the readings again, here in a moment or to another instance.".to_owned()
        }
        other => {
            let sentence = other.to_string();
            let mut chars = sentence.chars();
            let first = chars.next().map(char::to_uppercase);
            let mut words: String = first.into_iter().flatten().collect();
            words.push_str(chars.as_str());
            words.push('.');
            words
        }
    }
}

//! Why ingestion refuses.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    model::{Epoch, Seq},
    repository::RepositoryError,
};

/// Why readings were not taken or not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    #[error(
        "another writer opened this stream under epoch {current}; open it again to take it over"
    )]
    Fenced { current: Epoch },
    #[error(
        "first_seq {first_seq} leaves a gap: the stream is committed up to {committed_seq}, so go on at {}",
        committed_seq.plus(1)
    )]
    Gap { first_seq: Seq, committed_seq: Seq },
    #[error("this stream was never opened: call OpenStream first")]
    NotOpened,
    #[error(
        "the ledger knows this stream under epoch {known}, and the writer holds epoch {held}, which is later: was the \
         ledger restored from a backup? Call OpenStream to go on from where the ledger stands"
    )]
    LedgerBehind { known: Epoch, held: Epoch },
    #[error("{reason}")]
    Malformed { field: String, reason: String },
    #[error(
        "the message takes {needed_bytes} bytes of memory, and {limit_bytes} are the most that one may take of the \
         {budget_bytes} of ingest.budget_bytes: send it in parts"
    )]
    TooLarge {
        needed_bytes: usize,
        limit_bytes: u32,
        budget_bytes: u32,
    },
    #[error(
        "the message was not whole within {deadline:?}, which grpc.message_deadline_s allows: what came before it is \
         committed, so send it again"
    )]
    MessageDeadline { deadline: Duration },
    #[error("the memory for readings in flight is used up")]
    BudgetExhausted { retry_after: Duration },
    #[error(
        "the principal brings more than {per_s} a second ({setting}): come back in {} ms",
        retry_after.as_millis().max(1)
    )]
    TooFast {
        setting: &'static str,
        per_s: NonZeroU32,
        retry_after: Duration,
    },
    #[error(
        "the dictionaries of open calls take more memory than ingest.dictionary_bytes allows: send a dictionary with \
         every batch instead (extend_dictionary = false)"
    )]
    DictionaryFull,
    #[error("not committed within {} ms (ingest.commit_deadline_ms): whether it will be is not known, so send it again", deadline.as_millis())]
    CommitDeadline { deadline: Duration },
    #[error(
        "the token may write streams whose names begin with {prefixes}, and {}",
        match stream {
            Some(stream) => format!("not {stream:?}"),
            None => "nothing without a stream's name: open a stream, or send a position".to_owned(),
        }
    )]
    OutOfReach {
        /// None of readings that have no stream.
        stream: Option<String>,
        prefixes: String,
    },
    #[error(
        "the stream {stream:?} belongs to another principal: take another name, or let an admin reassign it with PUT \
         /streams/{{id}}/owner"
    )]
    NotOwner { stream: String },
    #[error(
        "the token was revoked, has expired or was changed: what was acknowledged is committed, so go on with a token \
         that is valid"
    )]
    Ended,
    #[error("the service is starting, and /readyz says what it waits for: try again in a moment")]
    Starting,
    #[error("the service is shutting down")]
    Draining,
    #[error(
        "the stream brought nothing for {} s (grpc.idle_limit_s): what came before is committed, so open it again",
        limit.as_secs_f64()
    )]
    Idle { limit: Duration },
    #[error("{0}")]
    Storage(String),
}

impl IngestError {
    /// Whether the same readings may be taken later, by this instance or another.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(
            self,
            Self::BudgetExhausted { .. }
                | Self::TooFast { .. }
                | Self::MessageDeadline { .. }
                | Self::CommitDeadline { .. }
                | Self::Starting
                | Self::Draining
                | Self::DictionaryFull
                | Self::Idle { .. }
                | Self::Storage(_)
        )
    }
}

impl From<RepositoryError> for IngestError {
    fn from(error: RepositoryError) -> Self {
        Self::Storage(error.to_string())
    }
}

//! Why a source cannot go on.

use crate::usecase::ingest::IngestError;

/// Why a source cannot go on, a sentence without its full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// It may be over by itself.
    #[error("{0}")]
    Passing(String),
    /// Somebody else has opened the stream.
    #[error("{0}")]
    Fenced(String),
    /// Somebody has to mend it.
    #[error("{0}")]
    ToMend(String),
    /// None yet, but nothing has come for so long that it is better asked for anew.
    #[error("nothing has come for a while")]
    Silence,
}

impl Trouble {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::Passing(reason.into())
    }

    pub(super) fn to_mend(reason: impl Into<String>) -> Self {
        Self::ToMend(reason.into())
    }
}

impl From<IngestError> for Trouble {
    fn from(error: IngestError) -> Self {
        let reason = error.to_string();
        match error {
            IngestError::NotOwner { .. }
            | IngestError::OutOfReach { .. }
            | IngestError::Malformed { .. }
            | IngestError::TooLarge { .. } => Self::ToMend(reason),
            IngestError::Fenced { .. } => Self::Fenced(reason),
            _ => Self::Passing(reason),
        }
    }
}

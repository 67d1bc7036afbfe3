//! On whose behalf readings come.

use tokio_util::sync::CancellationToken;

use super::IngestError;
use crate::model::{PrincipalName, Reach, StreamId};

/// On whose behalf readings come, as far as anybody is asked.
#[derive(Clone, Debug)]
pub struct Caller {
    known: Option<(PrincipalName, Reach)>,
    ended: CancellationToken,
}

impl Caller {
    /// Where nobody is asked: all may be written, and belongs to nobody.
    #[must_use]
    pub fn anybody() -> Self {
        Self {
            known: None,
            ended: CancellationToken::new(),
        }
    }

    /// Somebody who may write what `reach` covers, until `ended` is cancelled.
    #[must_use]
    pub fn known(name: PrincipalName, reach: Reach, ended: CancellationToken) -> Self {
        Self {
            known: Some((name, reach)),
            ended,
        }
    }

    /// To whom a stream belongs that is opened now.
    #[must_use]
    pub fn name(&self) -> Option<&PrincipalName> {
        self.known.as_ref().map(|(name, _)| name)
    }

    /// Resolves when the caller may bring nothing more.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Refuses what the caller may not write; None stands for readings without a stream's name.
    pub(super) fn check(&self, stream: Option<&StreamId>) -> Result<(), IngestError> {
        match &self.known {
            _ if self.ended.is_cancelled() => Err(IngestError::Ended),
            Some((_, reach)) if !reach.covers(stream) => Err(IngestError::OutOfReach {
                stream: stream.map(ToString::to_string),
                prefixes: reach.in_words(),
            }),
            _ => Ok(()),
        }
    }
}

//! Opening: taking a stream over, going on with one, and turning a misplaced writer away before it sends.

use super::{Ingest, IngestError};
use crate::{
    model::{Resumption, Seq, StreamHeader, StreamId},
    repository::{OpenedStream, RepositoryError},
};

impl Ingest {
    /// Takes a stream over and says where it stands.
    ///
    /// # Errors
    /// When the ledger cannot be read or written, or does not answer within the commit deadline.
    pub async fn open_stream(&self, stream: &StreamId) -> Result<OpenedStream, IngestError> {
        self.answer(self.ledger.open(stream)).await
    }

    /// A database that stands still must not hold a call for ever.
    async fn answer<T>(
        &self,
        asking: impl Future<Output = Result<T, RepositoryError>>,
    ) -> Result<T, IngestError> {
        let deadline = self.settings.commit_deadline;
        match tokio::time::timeout(deadline, asking).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                let reason = format!("the ledger does not answer within {deadline:?}");
                Err(IngestError::Storage(reason))
            }
        }
    }

    /// Goes on with a stream that its writer holds, and says where it stands.
    ///
    /// # Errors
    /// When another writer has opened the stream, which is left as it is; when the stream was never opened under the
    /// epoch that the writer holds; and when the ledger cannot be read or written, or does not answer in time.
    pub async fn resume_stream(
        &self,
        stream: &StreamId,
        resumption: Resumption,
    ) -> Result<OpenedStream, IngestError> {
        let resuming = self.ledger.resume(stream, resumption);
        let found = self.answer(resuming).await?;
        let found = found.ok_or(IngestError::NotOpened)?;
        match found.position.epoch {
            epoch if epoch == resumption.next => Ok(found),
            // A ledger that was restored from a copy does not know of its later epochs.
            epoch if epoch < resumption.held => Err(IngestError::NotOpened),
            current => Err(IngestError::Fenced { current }),
        }
    }

    /// Turns a misplaced writer away early, and says up to where what comes before its readings is durable. What
    /// decides is the same check inside the transaction.
    pub(super) async fn check_header(
        &self,
        header: &StreamHeader,
        was_here: bool,
    ) -> Result<Seq, IngestError> {
        if header.first_seq == Seq(0) {
            let reason = "first_seq counts from 1".to_owned();
            return Err(IngestError::Malformed {
                field: "header.first_seq".into(),
                reason,
            });
        }
        let position = self.answer(self.ledger.position(&header.stream_id)).await?;
        let position = position.ok_or(IngestError::NotOpened)?;
        if position.epoch != header.epoch {
            return Err(IngestError::Fenced {
                current: position.epoch,
            });
        }
        // With another call of the same stream in flight here, the ledger lags behind.
        if !was_here && header.first_seq > position.committed_seq.plus(1) {
            let committed_seq = position.committed_seq;
            return Err(IngestError::Gap {
                first_seq: header.first_seq,
                committed_seq,
            });
        }
        Ok(position.committed_seq.min(header.first_seq.before()))
    }
}

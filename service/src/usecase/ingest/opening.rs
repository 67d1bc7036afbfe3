//! Opening: taking a stream over, going on with one, and turning a misplaced writer away before it sends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Caller, Ingest, IngestError, session::Durable};
use crate::{
    model::{PrincipalName, Resumption, Seq, StreamHeader, StreamId},
    repository::{OpenedStream, RepositoryError, Resumed},
    telemetry::spans,
};

/// Lets one opening of a stream at a time into the database: those that wait there for its locked row would hold the
/// connections that the streams of others need.
#[derive(Debug, Default)]
pub(super) struct Openings(Mutex<HashMap<StreamId, Weak<Turn>>>);

type Turn = tokio::sync::Mutex<()>;

impl Openings {
    /// Runs the opening when it is the stream's turn. What has begun goes on to its end when nobody waits for it any
    /// more, and keeps the turn until then: the database cannot be made to forget a statement.
    async fn in_turn<T: Send + 'static>(
        &self,
        stream: &StreamId,
        opening: impl Future<Output = Result<T, RepositoryError>> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let turn = self.turn_of(stream).lock_owned().await;
        let opening = tokio::spawn(async move {
            let opened = opening.await;
            drop(turn);
            opened
        });
        opening.await.unwrap_or_else(|panic| {
            let reason = format!("the opening of a stream failed: {panic}");
            Err(RepositoryError::Other(reason))
        })
    }

    fn turn_of(&self, stream: &StreamId) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(stream).and_then(Weak::upgrade) {
            return turn;
        }
        // Those of openings that have ended. There are few: one for each opening that is under way.
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(stream.clone(), Arc::downgrade(&turn));
        turn
    }
}

fn not_owner(stream: &StreamId) -> IngestError {
    IngestError::NotOwner {
        stream: stream.to_string(),
    }
}

impl Ingest {
    /// Takes a stream over and says where it stands.
    ///
    /// # Errors
    /// When the stream is not the caller's to open, and when the ledger cannot be read or written, or does not answer within
    /// the commit deadline.
    pub async fn open_stream(
        &self,
        stream: &StreamId,
        caller: &Caller,
    ) -> Result<OpenedStream, IngestError> {
        caller.check(Some(stream))?;
        spans::tell_stream(stream.as_str());
        let (ledger, stream_id) = (self.ledger.clone(), stream.clone());
        let name = caller.name().cloned();
        let opening = async move { ledger.open(&stream_id, name.as_ref()).await };
        let opened = self.answer(self.openings.in_turn(stream, opening)).await?;
        let opened = opened.ok_or_else(|| not_owner(stream))?;
        self.metrics.opened();
        Ok(opened)
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
                let reason = format!(
                    "the ledger does not answer within {} ms",
                    deadline.as_millis()
                );
                Err(IngestError::Storage(reason))
            }
        }
    }

    /// Goes on with a stream that its writer holds, and says where it stands.
    ///
    /// # Errors
    /// When the stream is not the caller's; when another writer has opened it, which is left as it is; when the stream was never opened under the
    /// epoch that the writer holds; and when the ledger cannot be read or written, or does not answer in time.
    pub async fn resume_stream(
        &self,
        stream: &StreamId,
        resumption: Resumption,
        caller: &Caller,
    ) -> Result<OpenedStream, IngestError> {
        caller.check(Some(stream))?;
        spans::tell_stream(stream.as_str());
        let (ledger, stream_id) = (self.ledger.clone(), stream.clone());
        let name = caller.name().cloned();
        let resuming = async move { ledger.resume(&stream_id, resumption, name.as_ref()).await };
        let found = self.openings.in_turn(stream, resuming);
        let found = self.answer(found).await?;
        let found = match found {
            Resumed::NotOpened => return Err(IngestError::NotOpened),
            Resumed::OfAnother => return Err(not_owner(stream)),
            Resumed::Stands(found) => found,
        };
        match found.position.epoch {
            epoch if epoch == resumption.next => {
                self.metrics.resumed();
                Ok(found)
            }
            // Nobody else is to blame.
            known if known < resumption.held => Err(IngestError::LedgerBehind {
                known,
                held: resumption.held,
            }),
            current => {
                self.metrics.fenced();
                Err(IngestError::Fenced { current })
            }
        }
    }

    /// Gives a stream to a principal, or to the next who opens it. Whoever writes it then has to open it anew. None when there
    /// is no such stream.
    ///
    /// # Errors
    /// When the ledger cannot be written, or does not answer within the commit deadline.
    pub async fn give_stream(
        &self,
        stream: &StreamId,
        owner: Option<PrincipalName>,
    ) -> Result<Option<OpenedStream>, RepositoryError> {
        let (ledger, stream_id) = (self.ledger.clone(), stream.clone());
        let giving = async move { ledger.give(&stream_id, owner.as_ref()).await };
        let deadline = self.settings.commit_deadline;
        tokio::time::timeout(deadline, self.openings.in_turn(stream, giving))
            .await
            .unwrap_or_else(|_| {
                let reason = "the ledger does not answer within ingest.commit_deadline_ms";
                Err(RepositoryError::Unreachable(reason.to_owned()))
            })
    }

    /// Turns a misplaced writer away early, and says up to where what comes before its readings is durable. What
    /// decides is the same check inside the transaction.
    pub(super) async fn check_header(
        &self,
        header: &StreamHeader,
        caller: &Caller,
        was_here: bool,
    ) -> Result<Durable, IngestError> {
        if header.first_seq == Seq(0) {
            let reason = "first_seq counts from 1".to_owned();
            return Err(IngestError::Malformed {
                field: "header.first_seq".into(),
                reason,
            });
        }
        let (stream, name) = (&header.stream_id, caller.name());
        let opened = match self.answer(self.ledger.position(stream, name)).await? {
            Resumed::NotOpened => return Err(IngestError::NotOpened),
            Resumed::OfAnother => return Err(not_owner(stream)),
            Resumed::Stands(opened) => opened,
        };
        let position = opened.position;
        // Nobody else is to blame.
        if position.epoch < header.epoch {
            return Err(IngestError::LedgerBehind {
                known: position.epoch,
                held: header.epoch,
            });
        }
        if position.epoch != header.epoch {
            self.metrics.fenced();
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
        Ok(Durable {
            seq: position.committed_seq.min(header.first_seq.before()),
            mark: opened.mark,
        })
    }
}

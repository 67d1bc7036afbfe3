//! A call's readings on their way to a lane, and what became of them.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    admission::Room,
    books::Books,
    columns::Readings,
    error::IngestError,
    intake::Line,
    lane::Submission,
    session::{Progress, RejectionNote, Session, Waiting},
    told_tags::ToldTags,
};
use crate::model::{Seq, SourceMark, SourcePosition};

/// What became of a whole call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub received: u64,
    pub committed: u64,
    pub rejected: u64,
    pub duplicate: u64,
    pub committed_seq: Seq,
    /// Where the producer stands in its source.
    pub mark: Option<SourceMark>,
    pub rejections: Vec<RejectionNote>,
}

/// One call's readings flowing in.
pub struct Inflow<'a> {
    books: &'a Books,
    told_tags: &'a ToldTags,
    line: Line<Submission>,
    /// Cancelled when a lane cannot go on.
    failed: &'a CancellationToken,
    session: Arc<Session>,
    progress: watch::Receiver<Progress>,
    next_seq: Seq,
    received: u64,
    messages: u64,
    /// Series of messages without a reading.
    series_only: usize,
}

impl<'a> Inflow<'a> {
    /// Readings from `first_seq` on go to the lane of the session.
    pub(super) fn new(
        (books, told_tags): (&'a Books, &'a ToldTags),
        line: Line<Submission>,
        failed: &'a CancellationToken,
        session: Arc<Session>,
        first_seq: Seq,
    ) -> Self {
        Self {
            books,
            told_tags,
            line,
            failed,
            progress: session.subscribe(),
            session,
            next_seq: first_seq,
            received: 0,
            messages: 0,
            series_only: 0,
        }
    }

    /// Hands a message to the lane, with its room.
    ///
    /// # Errors
    /// When the session has failed, or cannot have a position.
    pub async fn push(
        &mut self,
        mut readings: Readings,
        source_position: Option<SourcePosition>,
        room: Room,
    ) -> Result<(), IngestError> {
        if let Some(failure) = self.session.failure() {
            return Err(failure);
        }
        if source_position.is_some() && self.session.stream().is_none() {
            return Err(IngestError::Malformed {
                field: "source_position".to_owned(),
                reason: "source_position is kept for a named stream: open one, and begin the call with its header"
                    .to_owned(),
            });
        }
        let since = Instant::now();
        if readings.is_empty() && source_position.is_none() {
            match &readings {
                Readings::Columns(columns) if !columns.series.is_empty() => {
                    self.series_only += columns.series.len();
                }
                _ => return Ok(()),
            }
        }
        if let Readings::Columns(columns) = &mut readings {
            let tags = std::mem::take(&mut columns.tags);
            self.told_tags.keep(&columns.series, tags);
        }
        self.wait_for_slow_lane().await?;
        let count = readings.len() as u64;
        // Counted when there is room for it: a call that is cancelled while it waits leaves no trace.
        let place = self.line.room().await;
        place.map_err(|_| IngestError::Draining)?;
        self.books.receive(count);
        let first_seq = self.next_seq;
        let bytes = readings.size_bytes();
        let submission = Submission {
            waiting: Waiting {
                session: self.session.clone(),
                since,
            },
            first_seq,
            readings,
            source_position,
            room,
        };
        self.line.push(submission, bytes);
        self.next_seq = first_seq.plus(count);
        self.received += count;
        self.messages += 1;
        Ok(())
    }

    /// In the slow lane a call has one message at a time: what waits there must not use up the memory of the others.
    async fn wait_for_slow_lane(&mut self) -> Result<(), IngestError> {
        let received = self.received;
        let is_free = |progress: &Progress| {
            !progress.is_slow || progress.failure.is_some() || progress.settled() >= received
        };
        if is_free(&self.progress.borrow()) {
            return Ok(());
        }
        tokio::select! {
            settled = self.progress.wait_for(is_free) => match &settled.map_err(|_| IngestError::Draining)?.failure {
                Some(failure) => Err(failure.clone()),
                None => Ok(()),
            },
            () = self.failed.cancelled() => Err(IngestError::Storage("a lane cannot go on".to_owned())),
        }
    }

    /// Follows what becomes of the readings.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Readings taken in so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The rejections of this call, as they become known.
    #[must_use]
    pub fn rejections(&self) -> Rejections {
        Rejections(self.session.clone())
    }

    /// For a call that its producer has ended: one that was cut off from this side may have had its readings on the way.
    ///
    /// # Errors
    /// When all that the call brought were series, of which nothing is stored.
    pub fn check_brought_readings(&self) -> Result<(), IngestError> {
        if self.received > 0 || self.series_only == 0 {
            return Ok(());
        }
        let series = self.series_only;
        Err(IngestError::Malformed {
            field: "columns.series_index".to_owned(),
            reason: format!(
                "the call brought {series} series, but no reading of them: nothing of it could be stored"
            ),
        })
    }

    /// Waits until every reading is settled.
    ///
    /// # Errors
    /// When the session failed on the way; what was committed before stays so.
    pub async fn finish(mut self) -> Result<Summary, IngestError> {
        let (received, messages) = (self.received, self.messages);
        let settled = self.progress.wait_for(|progress| {
            progress.settled() >= received
                && (progress.failure.is_some() || progress.messages >= messages)
        });
        let progress = tokio::select! {
            settled = settled => settled.map_err(|_| IngestError::Draining)?.clone(),
            () = self.failed.cancelled() => {
                return Err(IngestError::Storage("a lane cannot go on".to_owned()));
            }
        };
        if let Some(failure) = progress.failure {
            return Err(failure);
        }
        let committed_seq = match self.session.stream() {
            Some(_) => progress.committed_seq,
            None => Seq(0),
        };
        Ok(Summary {
            received,
            committed: progress.committed,
            rejected: progress.rejected,
            duplicate: progress.duplicate,
            committed_seq,
            mark: progress.mark,
            rejections: self.session.take_rejections(),
        })
    }
}

/// Hands out a call's rejections, each once.
pub struct Rejections(Arc<Session>);

impl Rejections {
    /// Those that were not told yet; a stream keeps at most 100 for telling.
    #[must_use]
    pub fn take(&self) -> Vec<RejectionNote> {
        self.0.take_rejections()
    }
}

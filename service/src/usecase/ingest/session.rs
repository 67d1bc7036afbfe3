//! A session is one call that brings readings: it knows what was received, and hears what became of it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::{sync::watch, time::Instant};

use super::{
    Caller, books::Books, entry_door::EntryDoor, error::IngestError, metrics::IngestMetrics,
    streams::LaneSeat,
};
use crate::{
    ledger::{LoadPart, PartOutcome},
    model::{
        Epoch, Fault, Field, PrincipalName, Rejection, Seq, SourceMark, StreamHeader, StreamId,
    },
};

/// What is said to the producer of a rejected reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectionNote {
    pub seq: Seq,
    pub field: Field,
    pub reason: String,
}

impl RejectionNote {
    fn of(seq: Seq, fault: &Fault) -> Self {
        Self {
            seq,
            field: fault.field(),
            reason: fault.to_string(),
        }
    }
}

/// What has become of a session's readings.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub committed: u64,
    pub rejected: u64,
    pub duplicate: u64,
    /// Everything at or below is durable; in an anonymous call the count of settled readings.
    pub committed_seq: Seq,
    /// Where the producer stands in its source, as far as that is durable.
    pub mark: Option<SourceMark>,
    /// Messages all of which is settled.
    pub(super) messages: u64,
    /// Why the session can go no further.
    pub failure: Option<IngestError>,
    /// Turned away with the failure.
    turned_away: u64,
    /// Its readings wait in the slow lane: it sends one message after the other.
    pub(super) is_slow: bool,
}

impl Progress {
    /// Readings whose fate is known.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.committed + self.rejected + self.duplicate + self.turned_away
    }
}

/// How far a stream was durable when the session began.
#[derive(Clone, Debug, Default)]
pub(super) struct Durable {
    pub(super) seq: Seq,
    pub(super) mark: Option<SourceMark>,
}

/// Whose readings keep their order: those of a stream, whichever call brings them, or of a call without a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Stream(StreamId),
    Call(u64),
}

/// A call that waits for a part of a batch.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) session: Arc<Session>,
    /// When the first reading of the part came.
    pub(super) since: Instant,
}

static NEXT_SESSION: AtomicU64 = AtomicU64::new(1);

/// The part of a session that its batches hold on to.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    stream: Option<(StreamId, Epoch)>,
    principal: Option<PrincipalName>,
    progress: watch::Sender<Progress>,
    books: Arc<Books>,
    metrics: Arc<IngestMetrics>,
    door: EntryDoor,
    /// Rejections not told yet.
    notes: Mutex<Vec<RejectionNote>>,
    notes_limit: usize,
    /// Keeps the stream on its lane as long as anything of it is in flight.
    pub(super) seat: LaneSeat,
}

impl Session {
    /// `durable` is what may be acknowledged before anything is settled (P1).
    pub(super) fn new(
        header: Option<&StreamHeader>,
        caller: &Caller,
        durable: Durable,
        seat: LaneSeat,
        (books, metrics): (&Arc<Books>, &Arc<IngestMetrics>),
        door: EntryDoor,
    ) -> Arc<Self> {
        Arc::new(Self {
            number: NEXT_SESSION.fetch_add(1, Ordering::Relaxed),
            stream: header.map(|header| (header.stream_id.clone(), header.epoch)),
            principal: caller.name().cloned(),
            progress: watch::Sender::new(Progress {
                committed_seq: durable.seq,
                mark: durable.mark,
                ..Progress::default()
            }),
            books: books.clone(),
            metrics: metrics.clone(),
            door,
            notes: Mutex::default(),
            notes_limit: door.notes_limit(),
            seat,
        })
    }

    pub(super) fn stream(&self) -> Option<(StreamId, Epoch)> {
        self.stream.clone()
    }

    pub(super) fn principal(&self) -> Option<&PrincipalName> {
        self.principal.as_ref()
    }

    pub(super) fn owner(&self) -> Owner {
        match &self.stream {
            Some((stream, _)) => Owner::Stream(stream.clone()),
            None => Owner::Call(self.number),
        }
    }

    pub(super) fn set_slow(&self, is_slow: bool) {
        self.progress.send_if_modified(|progress| {
            std::mem::replace(&mut progress.is_slow, is_slow) != is_slow
        });
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn failure(&self) -> Option<IngestError> {
        self.progress.borrow().failure.clone()
    }

    pub(super) fn take_rejections(&self) -> Vec<RejectionNote> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note<'a>(&self, rejections: impl Iterator<Item = &'a Rejection>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.notes_limit.saturating_sub(notes.len());
        notes.extend(
            rejections
                .take(room)
                .map(|rejection| RejectionNote::of(rejection.seq, &rejection.fault)),
        );
    }

    /// A part whose first reading came at `since` is acknowledged now.
    pub(super) fn measure(&self, since: Instant, now: Instant) {
        self.metrics
            .acknowledged(self.door, now.duration_since(since));
    }

    /// Takes note of what became of a part. `rejections` are those that validation found in it.
    pub(super) fn settle(&self, part: &LoadPart, rejections: &[Rejection], outcome: PartOutcome) {
        match outcome {
            PartOutcome::Stored {
                committed,
                duplicate,
                rejected,
                found_by_database,
            } => {
                self.books.settle(committed, rejected, duplicate);
                let known_before = part.first_seq.plus(duplicate);
                let new = rejections
                    .iter()
                    .filter(|rejection| rejection.seq >= known_before);
                self.note(new.chain(&found_by_database));
                self.progress.send_modify(|progress| {
                    progress.committed += committed;
                    progress.duplicate += duplicate;
                    progress.rejected += rejected;
                    progress.messages += part.messages;
                    let known = progress.mark.as_ref().map(|mark| mark.seq);
                    if let Some(mark) = part.mark_after(known.unwrap_or_default()) {
                        progress.mark = Some(mark.clone());
                    }
                    progress.committed_seq = progress.committed_seq.max(part.last_seq());
                });
            }
            PartOutcome::Fenced { current } => {
                self.metrics.fenced();
                self.turn_away(part.readings, IngestError::Fenced { current });
            }
            PartOutcome::Gap { committed_seq } => self.turn_away(
                part.readings,
                IngestError::Gap {
                    first_seq: part.first_seq,
                    committed_seq,
                },
            ),
            PartOutcome::NotOpened => self.turn_away(part.readings, IngestError::NotOpened),
            PartOutcome::LedgerBehind { known, held } => {
                self.turn_away(part.readings, IngestError::LedgerBehind { known, held });
            }
        }
    }

    /// Hands readings back to the producer, with the reason. The first reason stands.
    pub(super) fn turn_away(&self, readings: u64, reason: IngestError) {
        self.books.turn_away(readings);
        self.progress.send_modify(|progress| {
            progress.turned_away += readings;
            progress.failure.get_or_insert(reason);
        });
    }
}

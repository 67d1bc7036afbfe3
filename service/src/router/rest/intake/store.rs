//! Stores what a request brings, as a conversation: the same admission, the same lanes, the same books as every door.

use sluicegate_decode::Position;

use super::{
    Intake,
    asked::{Asked, Place},
    body::Body,
    payloads::{Accounts, Payloads, Trouble},
};
use crate::{
    model::{Epoch, Seq, StreamHeader},
    router::{
        caller::caller,
        rest::{problem::Problem, request::Request},
    },
    usecase::ingest::{
        Caller, EntryDoor, Ingest, IngestError, RejectionNote,
        admission::Patience,
        conversation::{Acknowledgement, Audience, Bounds, Conversation, Manner},
    },
};

/// Rejections that an answer lists; the quarantine has all.
const MAX_TOLD: usize = 100;

/// What became of the readings of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub(super) received: u64,
    pub(super) committed: u64,
    pub(super) rejected: u64,
    pub(super) duplicate: u64,
    /// Values that are no numbers, which are no readings.
    pub(super) left_out: u64,
    /// The first of those that were rejected.
    pub(super) rejections: Vec<Rejected>,
    /// Where the stream stands, if the readings belong to one.
    pub(super) stream: Option<(Epoch, Seq)>,
}

/// A reading that was rejected, or a line that is none.
#[derive(Clone, Debug)]
pub(super) struct Rejected {
    /// None where it is not known any more: the database refused it later than all around it.
    pub(super) position: Option<Position>,
    pub(super) note: RejectionNote,
}

/// Hears what has become of the readings.
struct Listener {
    account: Accounts,
    stored: Stored,
    is_cut_off: bool,
}

impl Audience for Listener {
    async fn listens(&mut self) -> bool {
        true
    }

    async fn tell(&mut self, acknowledgement: Acknowledgement) {
        let Acknowledgement {
            progress,
            rejections,
            draining,
        } = acknowledgement;
        let mut account = self.account.lock();
        let told = &mut self.stored.rejections;
        // Each acknowledgement brings some, and a long body has many of them (P4).
        let room = MAX_TOLD.saturating_sub(told.len());
        told.extend(rejections.into_iter().take(room).map(|note| Rejected {
            position: account.places.of(note.seq),
            note,
        }));
        account.places.settle(progress.committed_seq);
        self.stored.committed = progress.committed;
        self.stored.rejected = progress.rejected;
        self.stored.duplicate = progress.duplicate;
        if let Some((_, committed_seq)) = &mut self.stored.stream {
            *committed_seq = progress.committed_seq;
        }
        self.is_cut_off = draining;
    }
}

/// Takes the readings in, and waits until they are committed.
pub(super) async fn store(
    ingest: &Ingest,
    intake: &Intake,
    request: Request,
    asked: Asked,
) -> Result<Stored, Problem> {
    let _place = intake.place()?;
    ingest.expect_commits()?;
    let caller = caller(request.admitted.as_ref());
    let body = Body::of(request.body, &request.headers, intake.max_write_bytes)?;
    let header = match &asked.place {
        Some(place) => Some(header(ingest, place, &caller).await?),
        None => None,
    };
    let account = Accounts::default();
    let mut listener = Listener {
        account: account.clone(),
        stored: Stored {
            stream: header
                .as_ref()
                .map(|header| (header.epoch, header.first_seq.before())),
            ..Stored::default()
        },
        is_cut_off: false,
    };
    let names = ingest.long_names().clone();
    let payloads = Payloads::new(
        body,
        asked,
        header,
        intake.limits(ingest),
        (account.clone(), names),
    );
    let manner = Manner {
        door: EntryDoor::Http,
        first: Patience::ComesBack,
        commit_deadline: Some(ingest.commit_deadline()),
    };
    let bounds: Bounds = intake.bounds.clone();
    let conversation = Conversation::new(ingest, caller, payloads, bounds, manner);
    let ended = conversation.store_and_tell(&mut listener).await;
    let Listener {
        mut stored,
        is_cut_off,
        ..
    } = listener;
    {
        let account = account.lock();
        stored.received = account.received;
        stored.left_out = account.left_out;
    }
    intake.leave_out(stored.left_out);
    match ended {
        Ok(()) if !is_cut_off => Ok(stored),
        Ok(()) if intake.bounds.draining.is_cancelled() => Err(IngestError::Draining.into()),
        // It was not the client who ended it, and not the service either.
        Ok(()) => {
            let limit = intake.bounds.idle_limit;
            Err(IngestError::Idle { limit }.into())
        }
        Err(Trouble::Ingest(error)) => Err(error.into()),
        Err(Trouble::Body(problem)) => Err(problem),
    }
}

/// The place of the readings. Where the writer holds no epoch, the stream is opened: whoever writes it still, such as the
/// same request before it was given up, is fenced.
async fn header(
    ingest: &Ingest,
    place: &Place,
    caller: &Caller,
) -> Result<StreamHeader, IngestError> {
    let epoch = match place.epoch {
        Some(epoch) => epoch,
        None => {
            let opened = ingest.open_stream(&place.stream, caller).await?;
            opened.position.epoch
        }
    };
    Ok(StreamHeader {
        stream_id: place.stream.clone(),
        epoch,
        first_seq: place.first_seq,
    })
}

//! What a call holds for as long as it is open.

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{idle::ActiveCall, unread::UnreadReply};
use crate::usecase::ingest::admission::Room;

/// A call that is open. Dropping it makes place for another one.
#[derive(Debug)]
pub(super) struct OpenCall {
    _place: OwnedSemaphorePermit,
    _token: Option<TaskTrackerToken>,
    _active: ActiveCall,
    unread: Option<UnreadReply>,
    room: Option<Room>,
}

impl OpenCall {
    /// A call with a token holds the shutdown up, and each its connection.
    pub(super) fn new(
        place: OwnedSemaphorePermit,
        active: ActiveCall,
        token: Option<TaskTrackerToken>,
    ) -> Self {
        Self {
            _place: place,
            _token: token,
            _active: active,
            unread: None,
            room: None,
        }
    }

    /// Its reply waits to be read.
    pub(super) fn count_unread(&mut self, reply: UnreadReply) {
        self.unread = Some(reply);
    }

    /// Memory for its reply.
    pub(super) fn take_room(&mut self, room: Option<Room>) {
        self.room = room;
    }
}

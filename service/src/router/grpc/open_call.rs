//! What a call holds for as long as it is open.

use sluicegate_transport::ActiveCall;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Code;

use super::{metrics::Measured, shares::Share, unread::UnreadReply};
use crate::usecase::ingest::admission::Room;

/// A call that is open. Dropping it makes place for another one.
#[derive(Debug)]
pub(super) struct OpenCall {
    _place: OwnedSemaphorePermit,
    token: Option<TaskTrackerToken>,
    /// None of a call that keeps no connection: its connection makes place for others.
    _active: Option<ActiveCall>,
    measured: Measured,
    unread: Option<UnreadReply>,
    room: Option<Room>,
    share: Option<Share>,
}

impl OpenCall {
    pub(super) fn new(
        place: OwnedSemaphorePermit,
        active: Option<ActiveCall>,
        measured: Measured,
    ) -> Self {
        Self {
            _place: place,
            token: None,
            _active: active,
            measured,
            unread: None,
            room: None,
            share: None,
        }
    }

    /// The shutdown waits for it, as its connection does for each.
    pub(super) fn holds_up(&mut self, token: TaskTrackerToken) {
        self.token = Some(token);
    }

    /// Its principal has one more.
    pub(super) fn counts_for(&mut self, share: Option<Share>) {
        self.share = share;
    }

    /// It has its status.
    pub(super) fn ends(&mut self, code: Code) {
        self.measured.ends(code);
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

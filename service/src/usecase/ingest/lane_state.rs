//! What a lane is doing, for readiness: a lane that does not commit never looks well (P7).

use tokio::{sync::watch, time::Instant};

use crate::repository::Refusal;

/// What the loader of a lane is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneActivity {
    /// Nothing waits to be loaded.
    Idle,
    /// A batch is being loaded for the first time.
    Loading { since: Instant },
    /// The batch was refused, and is loaded again with pauses in between. With [`Refusal::OfTheTable`] somebody has to mend
    /// what the reason says; the lane then goes on by itself.
    Retrying {
        /// When the batch was loaded first.
        since: Instant,
        attempt: u32,
        refusal: Refusal,
        /// For people, in the database's own words.
        reason: String,
    },
    /// The lane cannot go on: the process ends.
    Ended,
}

/// A lane, and what it is doing.
#[derive(Clone, Debug)]
pub struct LaneState {
    pub lane: usize,
    /// Whether it is the one beside it, for readings that only the database refuses.
    pub is_slow: bool,
    pub activity: LaneActivity,
}

impl LaneState {
    /// Its name in figures.
    #[must_use]
    pub fn label(&self) -> String {
        label(self.lane, self.is_slow)
    }
}

/// The name of a lane in figures.
pub(super) fn label(lane: usize, is_slow: bool) -> String {
    match is_slow {
        false => lane.to_string(),
        true => format!("slow-{lane}"),
    }
}

/// Told by the task that loads.
#[derive(Clone, Debug)]
pub(super) struct LaneTelltale(watch::Sender<LaneActivity>);

impl LaneTelltale {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(LaneActivity::Idle))
    }

    pub(super) fn tell(&self, activity: LaneActivity) {
        self.0.send_replace(activity);
    }

    pub(super) fn activity(&self) -> LaneActivity {
        self.0.borrow().clone()
    }
}

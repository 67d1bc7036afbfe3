//! What becomes of stored readings, for whoever wants to know: batches on their way into the table, and changes of what is there.
//! Bounded and lossy: ingestion waits for nobody, and who falls behind misses some, and is told so.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::{
    rollup_inbox::RollupInbox,
    watches::{CommittedRows, Watches},
};
use crate::model::IdPair;

/// Events that wait for a subscriber that is behind.
const BACKLOG: usize = 256;
/// Times that a batch tells at the most.
const TIMES: u32 = 32;

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitEvent {
    /// A batch is about to be loaded: what becomes of it is open.
    Sealed(BatchEvent),
    Committed(BatchEvent),
    /// Readings that were stored before were changed or removed: those of these pairs, or any.
    Changed(Option<Vec<IdPair>>),
}

/// What a batch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchEvent {
    /// Rows for the table.
    pub rows: u32,
    /// Where in time they lie: timestamps at even distances in their order, ascending, microseconds since the Unix epoch.
    /// Each stands for as many rows as the others; a small batch tells all of its own.
    pub times_us: Vec<i64>,
    /// The numbers of the series that are committed, where they have numbers; 0 stands for none.
    pub series: Arc<Vec<u32>>,
}

impl BatchEvent {
    /// Of `rows` rows, of which `time_us` tells the timestamp at a place in their order.
    pub(super) fn of(rows: u32, time_us: impl Fn(u32) -> i64) -> Self {
        let told = rows.min(TIMES);
        let places =
            (0..told).map(|n| (2 * u64::from(n) + 1) * u64::from(rows) / (2 * u64::from(told)));
        Self {
            rows,
            times_us: places.map(|place| time_us(place as u32)).collect(),
            series: Arc::default(),
        }
    }

    /// Rows that each of the times stands for.
    #[must_use]
    pub fn rows_each(&self) -> f64 {
        f64::from(self.rows) / self.times_us.len().max(1) as f64
    }
}

/// Hands events out, and to those who watch series, or gather what they come to, the readings themselves.
#[derive(Clone, Debug)]
pub struct CommitEvents {
    events: broadcast::Sender<Arc<CommitEvent>>,
    watches: Arc<Watches>,
    rollups: Arc<RollupInbox>,
}

impl Default for CommitEvents {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(BACKLOG),
            watches: Arc::default(),
            rollups: Arc::default(),
        }
    }
}

impl CommitEvents {
    /// Tells of something, if anybody listens.
    fn tell(&self, event: impl FnOnce() -> CommitEvent) {
        if self.events.receiver_count() > 0 {
            // Fails when the last one has just left.
            let _ = self.events.send(Arc::new(event()));
        }
    }

    /// Tells of a batch that is about to be loaded.
    pub(super) fn sealed(&self, event: impl FnOnce() -> BatchEvent) {
        self.tell(|| CommitEvent::Sealed(event()));
    }

    /// Tells of a batch that is in the table now.
    pub(super) fn committed(&self, event: impl FnOnce() -> BatchEvent, rows: &impl CommittedRows) {
        self.tell(|| CommitEvent::Committed(event()));
        self.watches.tell(rows);
        self.rollups.tell(rows);
    }

    /// Tells that readings of these pairs, or of any, were changed or removed.
    pub fn changed(&self, pairs: Option<&[IdPair]>) {
        self.tell(|| CommitEvent::Changed(pairs.map(<[IdPair]>::to_vec)));
        self.watches.change(pairs);
    }

    /// Tells of what somebody else has done.
    pub fn send(&self, event: CommitEvent) {
        self.tell(|| event);
    }

    /// Follows the events from now on. One that is behind by more than 256 misses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<CommitEvent>> {
        self.events.subscribe()
    }

    /// Where what is committed is gathered for rollups.
    #[must_use]
    pub fn rollups(&self) -> &Arc<RollupInbox> {
        &self.rollups
    }

    /// Who watches series.
    #[must_use]
    pub fn watches(&self) -> &Arc<Watches> {
        &self.watches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_tells_even_shares_of_its_times() {
        let event = BatchEvent::of(32_000, i64::from);
        assert_eq!(event.times_us.len(), 32);
        assert_eq!((event.times_us[0], event.times_us[31]), (500, 31_500));
        assert!((event.rows_each() - 1_000.0).abs() < f64::EPSILON);
        assert_eq!(BatchEvent::of(3, i64::from).times_us, [0, 1, 2]);
        assert!(BatchEvent::of(0, i64::from).times_us.is_empty());
        assert_eq!(BatchEvent::of(u32::MAX, i64::from).times_us.len(), 32);
    }

    #[tokio::test]
    async fn nobody_is_waited_for() {
        let events = CommitEvents::default();
        let mut behind = events.subscribe();
        let committed = |n| CommitEvent::Committed(BatchEvent::of(1, |_| n));
        for n in 0..1_000 {
            events.send(committed(n));
        }
        let missed = behind.recv().await.unwrap_err();
        assert_eq!(missed, broadcast::error::RecvError::Lagged(1_000 - 256));
        assert_eq!(*behind.recv().await.unwrap(), committed(744));
    }
}

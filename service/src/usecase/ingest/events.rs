//! What batches tell on their way into the table, to whoever wants to know. Bounded and lossy: ingestion waits for nobody,
//! and who falls behind misses some.

use std::sync::Arc;

use tokio::sync::broadcast;

/// Events that wait for a subscriber that is behind.
const BACKLOG: usize = 256;
/// Times that a batch tells at the most.
const TIMES: u32 = 32;

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// About to be loaded: what becomes of it is open.
    Sealed,
    Committed,
}

/// What a batch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchEvent {
    pub stage: Stage,
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
    pub(super) fn of(stage: Stage, rows: u32, time_us: impl Fn(u32) -> i64) -> Self {
        let told = rows.min(TIMES);
        let places =
            (0..told).map(|n| (2 * u64::from(n) + 1) * u64::from(rows) / (2 * u64::from(told)));
        Self {
            stage,
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

/// Hands events out.
#[derive(Clone, Debug)]
pub struct BatchEvents(broadcast::Sender<Arc<BatchEvent>>);

impl Default for BatchEvents {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl BatchEvents {
    /// Tells of a batch, if anybody listens.
    pub(super) fn tell(&self, event: impl FnOnce() -> BatchEvent) {
        if self.0.receiver_count() > 0 {
            // Fails when the last one has just left.
            let _ = self.0.send(Arc::new(event()));
        }
    }

    /// Tells of a batch that somebody else has committed.
    pub fn send(&self, event: BatchEvent) {
        self.tell(|| event);
    }

    /// Follows the batches from now on. One that is behind by more than 256 misses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<BatchEvent>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_tells_even_shares_of_its_times() {
        let event = BatchEvent::of(Stage::Committed, 32_000, i64::from);
        assert_eq!(event.times_us.len(), 32);
        assert_eq!((event.times_us[0], event.times_us[31]), (500, 31_500));
        assert!((event.rows_each() - 1_000.0).abs() < f64::EPSILON);
        assert_eq!(
            BatchEvent::of(Stage::Committed, 3, i64::from).times_us,
            [0, 1, 2]
        );
        assert!(
            BatchEvent::of(Stage::Committed, 0, i64::from)
                .times_us
                .is_empty()
        );
        assert_eq!(
            BatchEvent::of(Stage::Committed, u32::MAX, i64::from)
                .times_us
                .len(),
            32
        );
    }

    #[tokio::test]
    async fn nobody_is_waited_for() {
        let events = BatchEvents::default();
        let mut behind = events.subscribe();
        for n in 0..1_000 {
            events.send(BatchEvent::of(Stage::Committed, 1, |_| n));
        }
        let missed = behind.recv().await.unwrap_err();
        assert_eq!(missed, broadcast::error::RecvError::Lagged(1_000 - 256));
        assert_eq!(behind.recv().await.unwrap().times_us, [744]);
    }
}

//! What committed batches come to, gathered in memory until it is merged into the rollups. A lane tells of a batch here once it is
//! committed, and waits for nobody: what there is no room for is lost, and made anew from readings.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use super::watches::CommittedRows;
use crate::{
    model::rollup::{Edge, Rollup, RollupsByBucket, add, bucket_of},
    repository::NotedBatch,
};

/// Batches that are remembered at the most; those beyond are given up by their age.
const BATCHES_MAX: usize = 50_000;
/// From so many on it is time to merge.
const BATCHES_DUE: usize = 2_000;

/// What has been gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Of the shortest buckets.
    pub rollups: RollupsByBucket,
    pub batches: Vec<NotedBatch>,
    /// Batches of which it is not known what they stored, or for which there was no room.
    pub lost: Vec<NotedBatch>,
}

impl Gathered {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.lost.is_empty()
    }
}

/// Where it is gathered. Closed, and free of cost, until somebody opens it.
#[derive(Debug, Default)]
pub struct RollupInbox {
    /// Buckets of series that there is room for; 0 while it is closed.
    rollups_max: AtomicUsize,
    gathered: Mutex<Gathered>,
    due: Notify,
}

impl RollupInbox {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers from now on, up to so many buckets of series.
    pub fn open(&self, rollups_max: usize) {
        self.rollups_max.store(rollups_max, Ordering::Relaxed);
    }

    /// How many buckets of series wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gathered().rollups.len()
    }

    /// What has been gathered since the last time, in the order of the batches.
    #[must_use]
    pub fn take(&self) -> Gathered {
        let mut gathered = std::mem::take(&mut *self.gathered());
        gathered.batches.sort_unstable();
        gathered
    }

    /// Resolves when it is time to merge, for want of room.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// Takes a committed batch in.
    pub(crate) fn tell(&self, batch: &impl CommittedRows) {
        let most = self.rollups_max.load(Ordering::Relaxed);
        let Some(noted) = batch.noted().filter(|_| most > 0) else {
            return;
        };
        let rolled = rolled(batch, noted.every_us);
        let mut gathered = self.gathered();
        if gathered.batches.len() + gathered.lost.len() >= BATCHES_MAX {
            return;
        }
        match rolled {
            Some(rolled) if gathered.rollups.len() + rolled.len() <= most => {
                for (key, one) in &rolled {
                    add(&mut gathered.rollups, *key, one);
                }
                gathered.batches.push(noted.batch.clone());
            }
            _ => gathered.lost.push(noted.batch.clone()),
        }
        let is_due = gathered.rollups.len() > most / 2 || gathered.batches.len() > BATCHES_DUE;
        drop(gathered);
        if is_due {
            self.due.notify_one();
        }
    }
}

/// What the rows of a batch come to, some buckets perhaps in several pieces; None where it is not known which rows were stored.
fn rolled(batch: &impl CommittedRows, every_us: i64) -> Option<Vec<((u32, i64), Rollup)>> {
    // Of each series the bucket that its last row was in.
    let mut current: Vec<Option<(i64, Rollup)>> = vec![None; batch.series_count() as usize];
    let mut rolled = Vec::new();
    let is_known = batch.visit(|series, row| {
        let one = Rollup::of(Edge {
            timestamp_us: row.timestamp_us,
            id: row.id,
            value: row.sensor_value,
        });
        let place = &mut current[series as usize];
        match place {
            Some((start, known)) if (*start..*start + every_us).contains(&row.timestamp_us) => {
                known.add(&one);
            }
            _ => {
                let before = place.replace((bucket_of(row.timestamp_us, every_us), one));
                if let Some((start, known)) = before {
                    rolled.push(((batch.number(series), start), known));
                }
            }
        }
    });
    for (series, last) in (0..).zip(current) {
        if let Some((start, known)) = last {
            rolled.push(((batch.number(series), start), known));
        }
    }
    let are_numbered = rolled.iter().all(|((number, _), _)| *number != 0);
    (is_known && are_numbered).then_some(rolled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Seq, StreamId},
        repository::Noted,
        usecase::ingest::Fresh,
    };

    /// Series and time of each row; None where it is not known which were stored.
    struct Batch(u64, Option<Vec<(u32, i64)>>);

    impl CommittedRows for Batch {
        fn series_count(&self) -> u32 {
            3
        }

        fn series(&self, _index: u32) -> (i32, &str, &str) {
            (1, "a", "t")
        }

        fn number(&self, index: u32) -> u32 {
            index * 10
        }

        fn noted(&self) -> Option<&Noted> {
            let noted = Noted {
                batch: batch(self.0),
                every_us: 60,
            };
            Some(Box::leak(Box::new(noted)))
        }

        fn visit(&self, mut row: impl FnMut(u32, Fresh)) -> bool {
            for (id, &(series, timestamp_us)) in (0..).zip(self.1.iter().flatten()) {
                let one = Fresh {
                    sensor_value: timestamp_us as f64,
                    timestamp_us,
                    id,
                    readings: 1,
                };
                row(series, one);
            }
            self.1.is_some()
        }
    }

    fn batch(number: u64) -> NotedBatch {
        NotedBatch {
            lane: StreamId::of_lane("a", 0),
            number: Seq(number),
        }
    }

    #[test]
    fn batches_are_gathered_by_series_and_bucket() {
        let inbox = RollupInbox::default();
        inbox.tell(&Batch(1, Some(vec![(1, 5)])));
        assert!(inbox.take().is_empty(), "it was closed");
        inbox.open(100);
        inbox.tell(&Batch(
            3,
            Some(vec![(1, 5), (2, 130), (1, 59), (1, -1), (1, 6)]),
        ));
        inbox.tell(&Batch(2, Some(vec![(1, 7)])));
        inbox.tell(&Batch(4, None));
        let Gathered {
            rollups,
            batches,
            lost,
        } = inbox.take();
        assert_eq!(batches, [batch(2), batch(3)]);
        assert_eq!(lost, [batch(4)]);
        let counts = |key| rollups.get(&key).map(|one: &Rollup| one.readings);
        assert_eq!(counts((10, 0)), Some(4));
        assert_eq!((counts((10, -60)), counts((20, 120))), (Some(1), Some(1)));
        assert_eq!(rollups.len(), 3);
        assert_eq!(rollups[&(10, 0)].total, 5.0 + 59.0 + 6.0 + 7.0);
        assert!(inbox.take().is_empty());
    }

    #[test]
    fn what_there_is_no_room_for_is_lost_and_known_to_be() {
        let inbox = RollupInbox::default();
        inbox.open(2);
        inbox.tell(&Batch(1, Some(vec![(1, 0), (1, 60)])));
        inbox.tell(&Batch(2, Some(vec![(1, 0)])));
        // Of a series without a number.
        inbox.tell(&Batch(3, Some(vec![(0, 0)])));
        let gathered = inbox.take();
        assert_eq!(gathered.batches, [batch(1)]);
        assert_eq!(gathered.lost, [batch(2), batch(3)]);
        assert_eq!(gathered.rollups.len(), 2);
    }
}

//! Admission: memory is bounded (P4). A message is taken in two steps, and only what stands for its place lets it be
//! read: an [`Arrival`] lets its bytes come in, a [`Room`] lets it be decoded and kept until its batch is settled. An
//! exhausted budget stops the reading of streams, so that flow control slows their producers.
//!
//! Whoever has a room waits for no other; arrivals, which wait for rooms, have a share of the budget that leaves the
//! rest to rooms. So a budget that is full always empties itself.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::IngestError;
use crate::telemetry::metrics::{Histogram, durations};

/// One part in so many is for small messages only, which would otherwise wait behind those of a megabyte.
const SMALL_SHARE: u32 = 16;
/// At most one part in so many is taken by messages that are not whole yet.
const ARRIVING_SHARE: u32 = 4;
/// So much is small, unless the share for it is smaller still.
const SMALL_BYTES: u32 = 32 << 10;
/// Of messages larger than this only one stands in the queue for room; the others wait for their turn to do so. Whoever
/// sends less waits for one of them, and not for one of each call that saturates the service (P5).
const LARGE_BYTES: u32 = 256 << 10;
/// When a caller that is turned away may come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a caller does when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Waits: flow control slows its producer.
    Waits,
    /// Is told to come back.
    ComesBack,
}

/// The memory that readings on their way may take.
#[derive(Clone, Debug)]
pub struct Admission {
    free: Arc<Semaphore>,
    /// Beside `free`, for small messages that find nothing there.
    small: Arc<Semaphore>,
    /// The part of `free` that arrivals may take.
    arriving: Arc<Semaphore>,
    /// Whose large message stands in the queue of `free`.
    large: Arc<Mutex<()>>,
    budget_bytes: u32,
    waits: Histogram,
}

/// Place for the bytes of one message until it is decoded. Dropping it gives them back.
#[derive(Debug)]
#[must_use]
pub struct Arrival {
    _taken: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// Place for one message in memory until its batch is settled. Dropping it gives the bytes back.
#[derive(Debug)]
#[must_use]
pub struct Room(OwnedSemaphorePermit);

impl Room {
    /// Bytes that it stands for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Holds it to what its message takes now. What goes beyond it is taken as far as there is room: it is here already.
    pub(super) fn resize(&mut self, bytes: usize) {
        let held = self.bytes();
        if let Some(excess) = held.checked_sub(bytes) {
            drop(self.0.split(excess));
            return;
        }
        let semaphore = self.0.semaphore().clone();
        let more = (bytes - held).min(semaphore.available_permits());
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        // Another message may have been faster.
        if let Ok(more) = semaphore.try_acquire_many_owned(more) {
            self.0.merge(more);
        }
    }
}

/// Takes the share of `moved` in `of` readings out of the rooms that they have.
pub(super) fn divide(rooms: &mut Vec<Room>, moved: u64, of: u64) -> Vec<Room> {
    if moved == of {
        return std::mem::take(rooms);
    }
    rooms
        .iter_mut()
        .filter_map(|room| {
            let share = room.bytes() as u64 * moved / of;
            room.0.split(share as usize).map(Room)
        })
        .collect()
}

impl Admission {
    pub(super) fn new(budget_bytes: u32) -> Self {
        let small = budget_bytes / SMALL_SHARE;
        Self {
            free: Arc::new(Semaphore::new((budget_bytes - small) as usize)),
            small: Arc::new(Semaphore::new(small as usize)),
            arriving: Arc::new(Semaphore::new((budget_bytes / ARRIVING_SHARE) as usize)),
            large: Arc::default(),
            budget_bytes,
            waits: durations(),
        }
    }

    /// The waits for places are told there.
    pub(super) fn measured_by(self, waits: Histogram) -> Self {
        Self { waits, ..self }
    }

    /// A message has waited so long for its places.
    pub(super) fn note_wait(&self, waited: Duration) {
        self.waits.observe(waited.as_secs_f64());
    }

    /// The budget, bytes.
    #[must_use]
    pub fn budget_bytes(&self) -> u32 {
        self.budget_bytes
    }

    /// Place for the bytes of a message that are still to come.
    ///
    /// # Errors
    /// When there can never be place for so many, or there is none and the caller does not wait.
    pub async fn arrival(&self, bytes: usize, patience: Patience) -> Result<Arrival, IngestError> {
        if bytes == 0 {
            return Ok(Arrival { _taken: None });
        }
        let bytes = self.fitting(bytes, self.budget_bytes / ARRIVING_SHARE)?;
        let turn = take(&self.arriving, bytes, patience).await?;
        let taken = take(&self.free, bytes, patience).await?;
        Ok(Arrival {
            _taken: Some((turn, taken)),
        })
    }

    /// Room for a message that takes `bytes` in memory.
    ///
    /// # Errors
    /// When there can never be room for so many, or there is none and the caller does not wait.
    pub async fn room(&self, bytes: usize, patience: Patience) -> Result<Room, IngestError> {
        let bytes = self.fitting(bytes, self.largest_room())?;
        let small = self.budget_bytes / SMALL_SHARE;
        if bytes <= SMALL_BYTES.min(small) {
            for free in [&self.free, &self.small] {
                if let Ok(taken) = free.clone().try_acquire_many_owned(bytes) {
                    return Ok(Room(taken));
                }
            }
        }
        let _turn = match patience {
            Patience::Waits if bytes > LARGE_BYTES => Some(self.large.lock().await),
            _ => None,
        };
        take(&self.free, bytes, patience).await.map(Room)
    }

    /// What arrivals leave to rooms whatever they take.
    fn largest_room(&self) -> u32 {
        let budget = self.budget_bytes;
        budget - budget / SMALL_SHARE - budget / ARRIVING_SHARE
    }

    fn fitting(&self, needed_bytes: usize, limit_bytes: u32) -> Result<u32, IngestError> {
        match u32::try_from(needed_bytes) {
            Ok(bytes) if bytes <= limit_bytes => Ok(bytes),
            _ => Err(IngestError::TooLarge {
                needed_bytes,
                limit_bytes,
                budget_bytes: self.budget_bytes,
            }),
        }
    }

    /// Bytes taken now.
    pub(super) fn used_bytes(&self) -> u64 {
        let free = self.free.available_permits() + self.small.available_permits();
        u64::from(self.budget_bytes).saturating_sub(free as u64)
    }
}

async fn take(
    free: &Arc<Semaphore>,
    bytes: u32,
    patience: Patience,
) -> Result<OwnedSemaphorePermit, IngestError> {
    match patience {
        // The semaphores are never closed.
        Patience::Waits => {
            let taken = free.clone().acquire_many_owned(bytes).await;
            taken.map_err(|_| IngestError::Draining)
        }
        Patience::ComesBack => {
            let taken = free.clone().try_acquire_many_owned(bytes);
            taken.map_err(|_| IngestError::BudgetExhausted {
                retry_after: RETRY_AFTER,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Patience::{ComesBack, Waits};

    const BUDGET: u32 = 1 << 20;

    async fn room(admission: &Admission, bytes: u32, patience: Patience) -> Option<Room> {
        admission.room(bytes as usize, patience).await.ok()
    }

    #[tokio::test]
    async fn a_message_waits_until_the_budget_has_room() {
        let admission = Admission::new(BUDGET);
        let first = room(&admission, BUDGET / 2, Waits).await.unwrap();
        assert!(room(&admission, BUDGET / 2, ComesBack).await.is_none());
        assert_eq!(admission.used_bytes(), u64::from(BUDGET / 2));
        drop(first);
        let mut changing = room(&admission, BUDGET / 2, Waits).await.unwrap();
        changing.resize(100);
        assert_eq!(admission.used_bytes(), 100);
        changing.resize(200);
        assert_eq!(admission.used_bytes(), 200);
        changing.resize(2 * BUDGET as usize);
        let all = u64::from(BUDGET - BUDGET / SMALL_SHARE);
        assert_eq!(admission.used_bytes(), all, "as far as there is room");
        drop(changing);
        assert_eq!(admission.used_bytes(), 0);
    }

    #[tokio::test]
    async fn small_messages_have_a_share_of_their_own() {
        let admission = Admission::new(BUDGET);
        let largest = room(&admission, admission.largest_room(), Waits)
            .await
            .unwrap();
        let arriving = admission.arrival(BUDGET as usize / 4, Waits).await.unwrap();
        assert!(room(&admission, SMALL_BYTES + 1, ComesBack).await.is_none());
        let small = room(&admission, SMALL_BYTES, ComesBack).await.unwrap();
        drop((largest, arriving, small));
        assert_eq!(admission.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_message_waits_behind_one_large_message_and_not_behind_all() {
        let admission = Admission::new(4 * BUDGET);
        let mut held = Vec::new();
        while let Some(room) = room(&admission, LARGE_BYTES, ComesBack).await {
            held.push(room);
        }
        let waiting = [LARGE_BYTES + 1; 3].map(|bytes| Box::pin(room(&admission, bytes, Waits)));
        let [mut first, mut second, mut third] = waiting;
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut third).is_pending());
        let mut less = Box::pin(room(&admission, LARGE_BYTES, Waits));
        assert!(futures::poll!(&mut less).is_pending());
        held.truncate(held.len() - 3);
        let first = first.await;
        let less = tokio::time::timeout(Duration::from_secs(30), less).await;
        let less = less.expect("it does not wait behind all of them");
        assert!(futures::poll!(&mut second).is_pending(), "it came before");
        assert!(futures::poll!(&mut third).is_pending());
        drop((first, less, held));
        assert!(second.await.is_some() && third.await.is_some());
    }

    #[tokio::test]
    async fn what_is_larger_than_its_share_is_refused_rather_than_waited_for() {
        let admission = Admission::new(BUDGET);
        let largest = admission.largest_room() as usize;
        for refused in [
            admission.room(largest + 1, Waits).await.err(),
            admission
                .arrival(BUDGET as usize / 4 + 1, Waits)
                .await
                .err(),
            admission.room(usize::MAX, Waits).await.err(),
        ] {
            assert!(matches!(refused, Some(IngestError::TooLarge { .. })));
        }
    }

    /// A hundred messages that arrive whole only once they have a room.
    #[tokio::test]
    async fn arrivals_that_wait_for_rooms_do_not_block_each_other() {
        let admission = Admission::new(BUDGET);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let admission = admission.clone();
            calls.spawn(async move {
                let arrival = admission.arrival(BUDGET as usize / 8, Waits).await.unwrap();
                tokio::task::yield_now().await;
                let room = admission
                    .room(admission.largest_room() as usize, Waits)
                    .await;
                drop(arrival);
                tokio::task::yield_now().await;
                drop(room.unwrap());
            });
        }
        let all = async { while calls.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(30), all)
            .await
            .expect("no deadlock");
        assert_eq!(admission.used_bytes(), 0);
    }
}

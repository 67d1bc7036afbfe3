//! Admission: memory is bounded (P4). A message reserves its size before it is kept, and gives it back when its batch
//! is settled. An exhausted budget stops the reading of HTTP/2 streams, so that flow control slows the producer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory that readings in flight may take.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    free: Arc<Semaphore>,
    budget_bytes: u32,
}

/// A reservation; dropping it gives the bytes back.
pub(super) type Permit = OwnedSemaphorePermit;

/// Reserves more for a message that turns out to take more, as far as there is room now: it is here already.
pub(super) fn extend(permit: &mut Permit, bytes: usize) {
    if bytes == 0 {
        return;
    }
    let bytes = bytes.min(permit.semaphore().available_permits());
    let more = permit
        .semaphore()
        .clone()
        .try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
    // Another message may have been faster.
    if let Ok(more) = more {
        permit.merge(more);
    }
}

impl Admission {
    pub(super) fn new(budget_bytes: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(budget_bytes as usize)),
            budget_bytes,
        }
    }

    /// Waits until nothing else stands in the queue and `bytes` would fit, without taking them. Called before a
    /// message is read: one that cannot be kept should stay in the producer.
    pub(super) async fn gate(&self, bytes: usize) {
        let bytes = self.clamp(bytes);
        // The semaphore is never closed.
        let _ = self.free.acquire_many(bytes).await;
    }

    /// Waits for room.
    pub(super) async fn reserve(&self, bytes: usize) -> Option<Permit> {
        self.free
            .clone()
            .acquire_many_owned(self.clamp(bytes))
            .await
            .ok()
    }

    /// Takes room if there is any now.
    pub(super) fn try_reserve(&self, bytes: usize) -> Option<Permit> {
        self.free
            .clone()
            .try_acquire_many_owned(self.clamp(bytes))
            .ok()
    }

    /// Bytes reserved now.
    pub(super) fn used_bytes(&self) -> u64 {
        u64::from(self.budget_bytes) - self.free.available_permits() as u64
    }

    /// A message larger than the whole budget waits for all of it rather than for ever.
    fn clamp(&self, bytes: usize) -> u32 {
        u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(self.budget_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_waits_until_the_budget_has_room() {
        let admission = Admission::new(100);
        let first = admission.reserve(80).await.unwrap();
        assert!(admission.try_reserve(30).is_none());
        assert_eq!(admission.used_bytes(), 80);
        drop(first);
        let mut growing = admission.reserve(80).await.unwrap();
        extend(&mut growing, 10);
        assert_eq!(admission.used_bytes(), 90);
        extend(&mut growing, 1_000);
        assert_eq!(admission.used_bytes(), 100);
        drop(growing);
        assert!(
            admission.reserve(1_000).await.is_some(),
            "clamped to the budget"
        );
        assert_eq!(admission.used_bytes(), 0);
    }
}

//! Memory for pages: reserved before the database is asked, and held until the client has taken its answer (P4).

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};

/// How long a page waits for room before its client is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a reading or a bucket takes while a page is made of it: the driver's row, ours, and its JSON.
pub(super) const ROW_BYTES: usize = 512;
/// The same of a reading in quarantine, with what is kept of its texts.
pub(super) const QUARANTINED_BYTES: usize = 2 << 10;

/// What fills the memory, which setting says how much that is, and what to do when it is full.
pub(super) struct Purpose {
    filled_by: &'static str,
    setting: &'static str,
    advice: &'static str,
}

pub(super) const ANSWERS: Purpose = Purpose {
    filled_by: "Answers that others have not taken yet",
    setting: "rest.answer_bytes",
    advice: "try again in a moment, or ask for fewer rows",
};
pub(super) const TABLES: Purpose = Purpose {
    filled_by: "Exports as Parquet",
    setting: "rest.parquet_bytes",
    advice: "try again in a moment, or ask for another format",
};

/// The memory that something may take.
pub(super) struct Rooms {
    free: Arc<Semaphore>,
    budget_bytes: u32,
    purpose: Purpose,
}

/// Room for one page; dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

impl Rooms {
    pub(super) fn new(purpose: Purpose, budget_bytes: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(budget_bytes as usize)),
            budget_bytes,
            purpose,
        }
    }

    /// Waits for room for so many rows.
    pub(super) async fn take(&self, rows: usize, row_bytes: usize) -> Result<Room, Problem> {
        let bytes = u32::try_from(rows.saturating_mul(row_bytes)).unwrap_or(u32::MAX);
        let free = self.free.clone();
        let taken = free.acquire_many_owned(bytes.min(self.budget_bytes));
        match tokio::time::timeout(PATIENCE, taken).await {
            Ok(Ok(permit)) => Ok(Room(permit)),
            _ => {
                let Purpose {
                    filled_by,
                    setting,
                    advice,
                } = self.purpose;
                let bytes = self.budget_bytes;
                let detail = format!(
                    "{filled_by} fill the {bytes} bytes that there are ({setting}): {advice}."
                );
                Err(Problem::new(Kind::Busy, detail))
            }
        }
    }
}

impl Room {
    /// Keeps no more than the answer takes, now that it is made.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let spare = self.0.num_permits().saturating_sub(bytes);
        drop(self.0.split(spare));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_page_has_room_until_it_is_taken_and_others_wait_no_longer_than_they_should() {
        let rooms = Rooms::new(ANSWERS, 100);
        let mut first = rooms.take(9, 10).await.unwrap();
        let refused = rooms.take(2, 10).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Busy);
        assert!(
            refused
                .detail
                .contains("100 bytes that there are (rest.answer_bytes)")
        );
        first.shrink_to(30);
        let _second = rooms.take(7, 10).await.unwrap();
        drop(first);
        let _third = rooms.take(3, 10).await.unwrap();
        assert!(rooms.take(1, 1).await.is_err());
    }

    #[tokio::test]
    async fn a_page_larger_than_all_the_room_takes_all_of_it() {
        let rooms = Rooms::new(ANSWERS, 100);
        drop(rooms.take(usize::MAX, 2).await.unwrap());
        let _whole = rooms.take(101, 1).await.unwrap();
        assert!(rooms.free.available_permits() == 0);
    }
}

//! What is worth a line in the log, and no more than one in a while.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Between two lines that say the same.
const PAUSE: Duration = Duration::from_secs(10);

/// Something that may happen thousands of times in a second.
#[derive(Debug, Default)]
pub struct Complaint {
    made: Mutex<Option<Instant>>,
}

impl Complaint {
    /// Whether it is to be said now; then it is not for a while.
    pub fn is_due(&self) -> bool {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let due = made.is_none_or(|at| at.elapsed() > PAUSE);
        if due {
            *made = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_is_said_once_in_a_while() {
        let complaint = Complaint::default();
        assert!(complaint.is_due());
        assert!(!complaint.is_due());
        tokio::time::advance(2 * PAUSE).await;
        assert!(complaint.is_due());
    }
}

//! How much of the machine handshakes may take. Each costs the server a signature and the client next to nothing, so whoever
//! begins them by the thousand would take the processors from those who are let in already.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

/// All handshakes together work for one part in so many of one processor's time, once they have used up what follows.
const PART: u32 = 4;
/// What may be worked off at once, in time that others get afterwards: a crowd of honest clients is let in without a pause.
const BURST: Duration = Duration::from_millis(50);
/// A step that took longer was interrupted: that is not its own work.
const LONGEST_STEP: Duration = Duration::from_millis(10);

/// The pace of all handshakes of a program. They take their turns in the order in which they have something to do.
#[derive(Debug)]
pub(super) struct Pace {
    /// Until when the work that was done belongs to others.
    paid_at: Mutex<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            paid_at: Mutex::new(Instant::now()),
        }
    }
}

impl Pace {
    /// The handshake, step by step, each in its turn.
    pub(super) async fn keep<F: Future>(&self, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        loop {
            if let Poll::Ready(ended) = self.step(handshake.as_mut()).await {
                return ended;
            }
            woken().await;
        }
    }

    async fn step<F: Future>(&self, handshake: Pin<&mut F>) -> Poll<F::Output> {
        let mut paid_at = self.paid_at.lock().await;
        let early = paid_at.saturating_duration_since(Instant::now());
        if early > BURST {
            sleep(early - BURST).await;
        }
        let begun = Instant::now();
        let step = once(handshake).await;
        let took = begun.elapsed().min(LONGEST_STEP);
        *paid_at = begun.max(*paid_at) + took * PART;
        step
    }
}

/// Asks the future once.
async fn once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Resolves when what was asked before, by the same task, is worth asking again.
async fn woken() {
    let mut asked = false;
    poll_fn(|_| match std::mem::replace(&mut asked, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    /// Works for that long at once, then waits for the other side, and works again.
    async fn handshake(work: Duration) {
        for _ in 0..2 {
            tokio::time::advance(work).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_takes_its_part_of_the_time_and_no_more() {
        let pace = Arc::new(Pace::default());
        let begun = Instant::now();
        let mut crowd = JoinSet::new();
        for _ in 0..1_000 {
            let pace = pace.clone();
            crowd.spawn(async move { pace.keep(handshake(Duration::from_micros(500))).await });
        }
        crowd.join_all().await;
        // A second of work, of which each step makes the next ones wait.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(3_900), "{took:?}");
    }
}

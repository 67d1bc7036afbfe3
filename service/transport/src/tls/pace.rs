//! How much of the machine handshakes may take. Each costs the server a signature and the client next to nothing, so whoever
//! begins them by the thousand would take the processors from those who are let in already.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::idle::Activity;

/// All handshakes together work for one part in so many of one processor's time, once they have used up what follows. Not
/// less: whoever has a place has to have had a turn before that place is needed.
const PART: u32 = 2;
/// What may be worked off at once, in time that others get afterwards: a few honest clients wait for nothing.
const BURST: Duration = Duration::from_millis(10);

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
    /// The handshake, step by step, each in its turn. Until it has had its first one it is we who keep the client waiting:
    /// its connection is not idle. Later it is, and whoever sends a byte now and then keeps no place by that.
    pub(super) async fn keep<F: Future>(
        &self,
        handshake: F,
        activity: &Arc<Activity>,
    ) -> F::Output {
        let mut handshake = pin!(handshake);
        let mut waiting = Some(activity.call());
        loop {
            if let Poll::Ready(ended) = self.step(handshake.as_mut()).await {
                return ended;
            }
            waiting.take();
            woken().await;
        }
    }

    async fn step<F: Future>(&self, handshake: Pin<&mut F>) -> Poll<F::Output> {
        let mut paid_at = self.paid_at.lock().await;
        let early = paid_at.saturating_duration_since(Instant::now());
        if early > BURST {
            sleep(early - BURST).await;
        }
        let (now, worked) = (Instant::now(), thread_time());
        let step = once(handshake).await;
        let took = thread_time().saturating_sub(worked);
        *paid_at = now.max(*paid_at) + took * PART;
        step
    }
}

/// What this thread has worked. By the clock a step would take longer the more others there are to be spared.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
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
    use tokio::task::JoinSet;

    use super::*;
    use crate::idle::IdleConnections;

    const WORK: Duration = Duration::from_millis(1);

    /// Works for that long at once, then waits for the other side.
    async fn handshake() {
        let begun = thread_time();
        while thread_time().saturating_sub(begun) < WORK {
            std::hint::spin_loop();
        }
        std::future::pending().await
    }

    /// Time stands still but for the waits: what passes is what the crowd was made to wait.
    #[tokio::test(start_paused = true)]
    async fn a_crowd_takes_its_part_of_the_time_and_no_more() {
        let (pace, idle) = (Arc::new(Pace::default()), IdleConnections::default());
        let begun = Instant::now();
        let mut crowd = JoinSet::new();
        for _ in 0..200 {
            let (pace, activity) = (pace.clone(), idle.connection());
            crowd.spawn(async move { pace.keep(handshake(), &activity).await });
        }
        // Behind all of them, once each has asked for its turn.
        let activity = idle.connection();
        for _ in 0..crowd.len() {
            tokio::task::yield_now().await;
        }
        pace.keep(async {}, &activity).await;
        let waited = begun.elapsed();
        let least = 200 * WORK * PART - BURST;
        assert!(waited >= least, "{waited:?} of {least:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_makes_no_place() {
        let (pace, idle) = (Arc::new(Pace::default()), IdleConnections::default());
        let [first, second] = [(); 2].map(|()| idle.connection());
        let turn = pace.paid_at.lock().await;
        let both = [&first, &second].map(|activity| {
            let (pace, activity) = (pace.clone(), activity.clone());
            tokio::spawn(async move { pace.keep(handshake(), &activity).await })
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!idle.make_place(), "both wait for us");
        drop(turn);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(idle.make_place(), "now we wait for them");
        for each in both {
            each.abort();
        }
    }
}

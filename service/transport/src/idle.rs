//! Connections without an open call. When there is no place for a new one, the one that has been idle for longest makes
//! place: so nobody shuts others out by connecting and doing nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Who has just connected, or been answered, is probably about to call.
const IDLE_AT_LEAST: Duration = Duration::from_secs(1);

/// All connections that are idle, in the order in which they became so.
#[derive(Clone, Debug, Default)]
pub struct IdleConnections(Arc<Mutex<Order>>);

#[derive(Debug, Default)]
struct Order {
    /// Numbers follow time.
    idle: BTreeMap<u64, Idle>,
    next: u64,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    leave: CancellationToken,
}

impl IdleConnections {
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is new, and has no call yet.
    #[must_use]
    pub fn connection(&self) -> Arc<Activity> {
        let leave = CancellationToken::new();
        let number = self.add(leave.clone());
        Arc::new(Activity {
            all: self.clone(),
            leave,
            calls: Mutex::new(OpenCalls {
                open: 0,
                idle_number: Some(number),
            }),
        })
    }

    /// Tells the connection that has been idle for longest to leave. False when there is none that has been for long
    /// enough, which is a second.
    pub fn make_place(&self) -> bool {
        let mut order = self.lock();
        let longest = order.idle.first_entry();
        let Some(longest) = longest.filter(|idle| idle.get().since.elapsed() >= IDLE_AT_LEAST)
        else {
            return false;
        };
        longest.remove().leave.cancel();
        true
    }

    fn add(&self, leave: CancellationToken) -> u64 {
        let mut order = self.lock();
        let number = order.next;
        order.next += 1;
        let since = Instant::now();
        order.idle.insert(number, Idle { since, leave });
        number
    }

    fn remove(&self, number: u64) {
        self.lock().idle.remove(&number);
    }
}

/// What one connection does: whether it has an open call, and whether it is to leave.
#[derive(Debug, Default)]
pub struct Activity {
    all: IdleConnections,
    leave: CancellationToken,
    calls: Mutex<OpenCalls>,
}

#[derive(Debug, Default)]
struct OpenCalls {
    open: usize,
    /// Among the connections that are idle, while it is one of them.
    idle_number: Option<u64>,
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, OpenCalls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the call is dropped, the connection is not idle.
    #[must_use]
    pub fn call(self: &Arc<Self>) -> ActiveCall {
        let mut calls = self.lock();
        calls.open += 1;
        if let Some(number) = calls.idle_number.take() {
            self.all.remove(number);
        }
        ActiveCall(self.clone())
    }

    /// Resolves when its place is needed.
    pub async fn is_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// Resolves when it was to leave, had this time to close by itself, and is idle still. A call that came in meanwhile is
    /// answered.
    pub async fn overstays(&self, leave_deadline: Duration) {
        self.is_to_leave().await;
        loop {
            sleep(leave_deadline).await;
            if self.lock().open == 0 {
                return;
            }
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if let Some(number) = self.lock().idle_number.take() {
            self.all.remove(number);
        }
    }
}

/// An open call, as its connection sees it.
#[derive(Debug)]
pub struct ActiveCall(Arc<Activity>);

impl Drop for ActiveCall {
    fn drop(&mut self) {
        let Self(activity) = self;
        let mut calls = activity.lock();
        calls.open -= 1;
        // One that leaves already makes no second place.
        if calls.open == 0 && !activity.leave.is_cancelled() {
            calls.idle_number = Some(activity.all.add(activity.leave.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_been_idle_for_longest_makes_place() {
        let all = IdleConnections::default();
        let [first, second, third] = [(); 3].map(|()| all.connection());
        assert!(!all.make_place(), "all are new");
        tokio::time::advance(IDLE_AT_LEAST).await;
        // The first was idle for longer, until now.
        drop(first.call());
        let call = second.call();
        assert!(all.make_place());
        assert!(third.leave.is_cancelled());
        assert!(!all.make_place(), "one has a call, one had one just now");
        tokio::time::advance(IDLE_AT_LEAST).await;
        assert!(all.make_place());
        assert!(first.leave.is_cancelled());
        assert!(!all.make_place(), "one has a call");
        drop(call);
        drop(third.call());
        tokio::time::advance(IDLE_AT_LEAST).await;
        drop(second);
        assert!(!all.make_place(), "they leave, or are gone");
    }
}

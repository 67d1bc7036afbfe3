//! Named moments at which a test can end the program, and one at which it can turn the ledger check off. The variable
//! FAILPOINTS says which. Without the feature `failpoints`, which no build has unless it asks for it, none of this exists.
//!
//! | name | moment |
//! |---|---|
//! | `seal` | a batch is closed, and nothing of it has been sent to the database |
//! | `halve` | a batch was too big, and nothing of its halves has been sent to the database |
//! | `move` | readings that the database refuses were taken out of a batch, and nothing of them has been sent again |
//! | `load` | its rows are loaded, and not committed |
//! | `commit` | COMMIT has been answered, and nobody knows yet |
//! | `ack` | the calls know, and their acknowledgements may be on the way |
//! | the name of a long-lived task | it is at work, and can be made to panic |
//! | `ledger-ignored` | the ledger is not looked at: for the control of the fault suite, which has to find it |

/// Reads FAILPOINTS, for as long as the result lives.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn setup() -> impl Sized {
    fail::FailScenario::setup()
}

/// Does nothing without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[must_use]
pub fn setup() -> impl Sized {}

/// Ends the process as a crash does, where FAILPOINTS says `NAME=return`.
#[cfg(feature = "failpoints")]
pub(crate) fn crash(name: &str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Does nothing without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn crash(_: &str) {}

/// The task, which panics within a blink where FAILPOINTS says `NAME=panic`, or later: `NAME=20*off->panic`.
#[cfg(feature = "failpoints")]
pub(crate) async fn mortal<T>(name: &str, task: impl Future<Output = T>) -> T {
    const BLINK: std::time::Duration = std::time::Duration::from_millis(50);
    let death = async {
        loop {
            fail::fail_point!(name);
            tokio::time::sleep(BLINK).await;
        }
    };
    tokio::select! {
        ended = task => ended,
        never = death => never,
    }
}

/// The task as it is, without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn mortal<T>(_: &str, task: impl Future<Output = T>) -> impl Future<Output = T> {
    task
}

/// Whether FAILPOINTS says `NAME=return`.
#[cfg(feature = "failpoints")]
pub(crate) fn is_set(name: &str) -> bool {
    fail::fail_point!(name, |_| true);
    false
}

/// Never, without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) const fn is_set(_: &str) -> bool {
    false
}

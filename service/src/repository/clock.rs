//! The database's clock, and what is stored about the time.

use async_trait::async_trait;

use super::RepositoryError;

/// How far the clock was believed, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptClock {
    /// The latest time that was ever taken for now, microseconds since the Unix epoch.
    pub trusted_us: i64,
    /// What a clock said last that has jumped ahead, microseconds since the Unix epoch.
    pub waiting_us: Option<i64>,
    /// For how long that clock has been steady.
    pub steady_s: u32,
}

/// What storage knows of the time.
#[async_trait]
pub trait ClockStore: Send + Sync {
    /// The database's clock, microseconds since the Unix epoch.
    async fn now_us(&self) -> Result<i64, RepositoryError>;
    /// What was stored last; None when nothing was.
    async fn kept(&self) -> Result<Option<KeptClock>, RepositoryError>;
    /// Stores it. A later time that is believed already stays, unless this one was `confirmed`.
    async fn keep(&self, clock: KeptClock, confirmed: bool) -> Result<(), RepositoryError>;
}

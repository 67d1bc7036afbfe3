//! What a generator has done since it was started.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{rejections::Rejection, report::AckMs};

/// Where a generator stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Sends nothing.
    #[default]
    Stopped,
    /// Tries to reach its target, or to have it take readings.
    Connecting,
    /// Sends.
    Running,
    /// Sends no more and waits for acknowledgements.
    Stopping,
}

/// The target of a generator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetStats {
    /// Its address.
    pub address: String,
    /// Whether it took a connection when it was last tried; null while the generator is stopped.
    pub reachable: Option<bool>,
    /// What goes wrong with it; null while nothing does.
    pub trouble: Option<String>,
}

/// Readings per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RateStats {
    /// As configured; null for max.
    pub target: Option<f64>,
    /// Acknowledged per second over the last second.
    pub now: f64,
    /// Acknowledged per second since the start.
    pub overall: f64,
}

/// The figures of a generator since it was last started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// True from start to stop.
    pub running: bool,
    /// Where it stands.
    pub state: State,
    /// Where the readings go.
    pub target: TargetStats,
    /// Calls, or chunks handed to a stream.
    pub requests: u64,
    /// Readings that were sent.
    pub sent: u64,
    /// Readings that are stored.
    pub acknowledged: u64,
    /// Readings that the target rejected.
    pub rejected: u64,
    /// Why it rejected readings, in its own words; the most frequent reason first.
    pub rejections: Vec<Rejection>,
    /// Readings whose fate is unknown because a call failed for good.
    pub failed: u64,
    /// Readings that wait for an answer.
    pub in_flight: u64,
    /// Attempts to go on, or to connect again, after a failure.
    pub reconnects: u64,
    /// Readings per second.
    pub rate: RateStats,
    /// Since the start, or from the start to the stop.
    pub uptime_s: f64,
    /// From the intended send time to the acknowledgement.
    pub ack_ms: AckMs,
}

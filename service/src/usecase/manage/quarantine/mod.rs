//! The quarantine: held to its limits, looked at, and worked off.

mod dropping;
mod keeping;
mod mappings;
mod metrics;
mod replaying;
mod revival;

pub use self::{
    keeping::keep_quarantine,
    mappings::{KnownMappings, own_json},
    metrics::QuarantineMetrics,
    replaying::{Kept, Replay, ReplayError, ReplayOrder, ReplayPlace},
};

//! What readings come to, kept beside them: so that years are answered in the time of a page, and outlive the readings.
//!
//! Lanes tell of what they commit ([`RollupInbox`](super::ingest::RollupInbox)), the keeper merges it twice a minute. What it does not
//! know of, after a kill, a change or for want of room, the database does: such buckets are made anew from readings, and until then
//! nobody is answered from them. `repository/mysql/rollups` has how that is held together.

mod keeper;
mod metrics;

pub use self::{
    keeper::{RollupKeeper, keep},
    metrics::RollupMetrics,
};

//! What the service tells of itself: logs and metrics.

mod logs;
pub mod metrics;

pub use self::logs::{LogFormat, init};

//! Which program this is.

/// The commit that it was built from, or `unknown`.
pub const COMMIT: &str = env!("SLUICEGATE_COMMIT");
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// For people.
pub const VERSION_AND_COMMIT: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("SLUICEGATE_COMMIT"),
    ")"
);

//! The layout of every table that a case works with.

use std::sync::OnceLock;

/// The same for all of a run.
static LAYOUT: OnceLock<String> = OnceLock::new();

pub(crate) fn set(name: &str) {
    let _ = LAYOUT.set(name.to_owned());
}

pub(crate) fn name() -> &'static str {
    LAYOUT.get().map_or("partitioned", String::as_str)
}

/// Whether readings have the numbers of their series: `sensor_readings` is a view then.
pub(crate) fn has_numbers() -> bool {
    name() == "series"
}

//! What the service reads from message brokers, with real ones. `common/brokers/mod.rs` says which are tried out.

#[path = "../common/mod.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared with tests that need more of it"
)]
mod common;

mod kafka;
mod mosquitto;

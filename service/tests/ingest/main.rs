//! Ingestion through its front door, against real MariaDB and real MySQL. `common/engines.rs` says which those are.

#[path = "../common/mod.rs"]
mod common;

mod crashes;
mod lost_connections;
mod streams;

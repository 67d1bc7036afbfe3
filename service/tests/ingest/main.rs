//! Ingestion through its front door, against real MariaDB and real MySQL. `common/engines.rs` says which those are.

#[path = "../common/mod.rs"]
mod common;

mod backpressure;
mod bad_input;
mod bad_readings;
mod crashes;
mod lost_connections;
mod streams;
mod timestamps;
mod values;

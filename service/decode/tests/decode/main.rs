//! What the crate makes of payloads, from outside.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod csv;
mod hostile;
mod json;
mod line_protocol;
mod mappings;
mod messages;
mod requests;
mod written_lines;

//! What the crate makes of payloads, from outside.

mod common;
mod requests;

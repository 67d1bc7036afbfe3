//! Readings as the contract writes them in protobuf: weighed before they are decoded (P4), and put into the model's words. Calls
//! bring them, and payloads of sources.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod read;
mod weigh;

pub(crate) use self::{
    read::{columns, header, message, reading, rows, stream_id},
    weigh::{Unreadable, Weighed, Weight},
};

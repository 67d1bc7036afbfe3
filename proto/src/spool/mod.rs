//! A spool on a disk in front of a [`Producer`](crate::producer::Producer): readings are durable here before they are sent, survive
//! restarts of this process and weeks without the service, and are stored exactly once.
//!
//! ```no_run
//! use sluicegate_proto::{producer::Producer, spool::{SpoolError, SpoolOptions}};
//!
//! # async fn example() -> Result<(), SpoolError> {
//! let mut spool = Producer::builder("http://gate.example:50051")
//!     .stream_id("gateway-7")
//!     .spool(SpoolOptions::new("/var/lib/gateway/spool").max_bytes(4 << 30))
//!     .await?; // whether the service can be reached or not
//! let boiler = spool.series(7, "boiler", "temperature");
//! spool.push(boiler, 71.5, 1_767_225_600_000_000).await?;
//! spool.sync().await?; // from here on the reading survives this process, and its machine
//! spool.close().await?; // what the service has not got yet is sent by whoever opens the folder next
//! # Ok(())
//! # }
//! ```
//!
//! The service keeps, with the readings and in one transaction, which record of which spool it has stored last. So the spool
//! never guesses: after any crash it asks, and goes on behind that. What it finds is held to what it has: a folder that was
//! made anew, or came back from an old copy, a database that was restored, and a second writer are errors, with a sentence.

mod bytes;
mod error;
mod folder;
mod forwarder;
mod inbox;
mod log;
mod options;
mod position;
mod progress;
mod reader;
mod record;
mod recovery;
mod resume;
mod segment;
mod shared;
mod spooled;
mod state;
#[cfg(test)]
mod tests;
mod writer;

pub use error::SpoolError;
pub use options::{SpoolOptions, WhenFull};
pub use progress::{Books, SpoolProgress};
pub use spooled::{SourcePosition, SpoolSummary, SpooledProducer};

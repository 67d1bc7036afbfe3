//! Commands that ask a running service over REST.

mod client;
mod quarantine;

pub use self::{
    client::{Access, RemoteError},
    quarantine::QuarantineCommand,
};

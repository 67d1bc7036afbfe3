//! Commands that ask a running service over REST.

mod client;
mod quarantine;
mod series;

pub use self::{
    client::{Access, RemoteError},
    quarantine::QuarantineCommand,
    series::SeriesCommand,
};

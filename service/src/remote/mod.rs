//! Commands that ask a running service over REST, and one that sends readings to it over gRPC.

mod client;
mod export;
mod import;
mod quarantine;
mod series;

pub use self::{
    client::{Access, RemoteError},
    export::ExportCommand,
    import::ImportCommand,
    quarantine::QuarantineCommand,
    series::SeriesCommand,
};

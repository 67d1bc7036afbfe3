//! What Sluicegate does, without a word of HTTP, gRPC or SQL.

pub mod clock;
pub mod ingest;
pub mod manage;
pub mod readiness;

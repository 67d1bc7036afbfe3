use std::{net::SocketAddr, path::PathBuf};

/// A setting that cannot be used. One sentence, with where it stands.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error(
        "{key} is {addr}, where others than this host can reach it, and there is {missing}: add what is missing, listen on a \
         loopback address, or say --insecure"
    )]
    Exposed {
        key: &'static str,
        addr: SocketAddr,
        missing: &'static str,
    },
    #[error("{key} is {value}, but must be {must}")]
    Value {
        key: &'static str,
        value: String,
        must: &'static str,
    },
    #[error("rest.mappings.{name}: {reason}. A payload with its mapping: {example}")]
    Mapping {
        name: String,
        reason: String,
        example: &'static str,
    },
    #[error("sources.{name}: {key}: {reason}")]
    Source {
        name: String,
        key: String,
        reason: String,
    },
    #[error("{0} is not a setting: see `sluicegate serve --help` for all of them")]
    UnknownVariable(String),
    #[error(
        "no database: give --database-url mysql://user:password@host:3306/database, or --embedded-db"
    )]
    NoDatabase,
    /// What the sentence says of the address shows nothing of its password.
    #[error("{0}")]
    Address(String),
    #[error("--database-url and --embedded-db exclude each other")]
    TwoDatabases,
}

//! Settings under `database:`, and which database is meant.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError};
use crate::repository::mysql::{Access, TlsFiles};

/// Which database is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    Url(String),
    Embedded {
        data_dir: PathBuf,
        binary: Option<PathBuf>,
    },
}

/// As given by one source.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseOverrides {
    /// Whose signatures prove the database: a file of certificates in PEM. With it, an address without an ssl-mode means
    /// verify-identity; without it, verify-ca and verify-identity go by the public authorities [default: none]
    #[arg(
        id = "database_ca",
        long = "database-ca",
        env = "SLUICEGATE_DATABASE_CA",
        value_name = "FILE"
    )]
    pub ca: Option<PathBuf>,

    /// What proves this service to the database: its certificate in PEM, and then those up to its authority
    /// [default: none]
    #[arg(
        id = "database_client_cert",
        long = "database-client-cert",
        env = "SLUICEGATE_DATABASE_CLIENT_CERT",
        value_name = "FILE"
    )]
    pub client_cert: Option<PathBuf>,

    /// The key of that certificate, in PEM; both or neither [default: none]
    #[arg(
        id = "database_client_key",
        long = "database-client-key",
        env = "SLUICEGATE_DATABASE_CLIENT_KEY",
        value_name = "FILE"
    )]
    pub client_key: Option<PathBuf>,

    /// Whether a password may go to a database on another host that TLS does not verify: whoever answers there can read it
    /// [default: false]
    #[arg(
        id = "database_insecure",
        long = "database-insecure",
        env = "SLUICEGATE_DATABASE_INSECURE",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub insecure: Option<bool>,
}

/// In effect.
#[derive(Clone, Debug, Serialize)]
pub struct DatabaseConfig {
    ca: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    insecure: bool,
}

impl DatabaseConfig {
    pub(super) fn merge(given: DatabaseOverrides, file: DatabaseOverrides) -> Self {
        Self {
            ca: given.ca.or(file.ca),
            client_cert: given.client_cert.or(file.client_cert),
            client_key: given.client_key.or(file.client_key),
            insecure: given.insecure.or(file.insecure).unwrap_or(false),
        }
    }

    /// How to reach a database at `url`.
    #[must_use]
    pub fn access(&self, url: String) -> Access {
        let tls = TlsFiles {
            ca: self.ca.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
        };
        Access::of(url, tls, self.insecure)
    }
}

impl Config {
    /// The addresses can be used, and give no password away.
    pub(super) fn check_databases(&self) -> Result<(), ConfigError> {
        let own = match &self.database {
            Some(Database::Url(url)) => Some(self.to_database.access(url.clone())),
            _ => None,
        };
        for access in own.into_iter().chain(self.manage_access()) {
            let checked = access.check();
            checked.map_err(|error| ConfigError::Address(error.to_string()))?;
        }
        Ok(())
    }

    /// How questions and changes of management reach the database, if that is not as everything else does.
    pub(super) fn manage_access(&self) -> Option<Access> {
        let url = self.manage_url.clone()?;
        Some(self.to_database.access(String::new()).for_management(url))
    }
}

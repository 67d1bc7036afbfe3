//! Settings under `tls:`, for both ports.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use sluicegate_transport::tls::{NamedFile, TlsFiles};

use super::ConfigError;

/// As given by one source.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsOverrides {
    /// Certificate of the service in PEM, its own first, then those up to its authority: with it and its key both ports
    /// speak TLS and nothing else. Read anew when the files change [default: none]
    #[arg(long = "tls-cert", env = "SLUICEGATE_TLS_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// Private key of the certificate in PEM [default: none]
    #[arg(long = "tls-key", env = "SLUICEGATE_TLS_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Certificates in PEM of those whose certificates are taken from clients [default: none]
    #[arg(
        long = "tls-client-ca",
        env = "SLUICEGATE_TLS_CLIENT_CA",
        value_name = "FILE"
    )]
    pub client_ca: Option<PathBuf>,
}

/// In effect.
#[derive(Clone, Debug, Serialize)]
pub struct TlsConfig {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
}

impl TlsConfig {
    pub(super) fn merge(given: TlsOverrides, file: TlsOverrides) -> Self {
        Self {
            cert: given.cert.or(file.cert),
            key: given.key.or(file.key),
            client_ca: given.client_ca.or(file.client_ca),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let missing = |key, must| {
            let value = "absent".to_owned();
            Err(ConfigError::Value { key, value, must })
        };
        match (&self.cert, &self.key, &self.client_ca) {
            (Some(_), None, _) => missing("tls.key", "the key of tls.cert"),
            (None, Some(_), _) => missing("tls.cert", "the certificate of tls.key"),
            (None, None, Some(_)) => missing(
                "tls.cert",
                "there where tls.client_ca is: certificates are shown within TLS alone",
            ),
            _ => Ok(()),
        }
    }

    /// Whether certificates are taken from clients.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some()
    }

    /// The files, if the ports speak TLS.
    #[must_use]
    pub fn files(&self) -> Option<TlsFiles> {
        let named = |setting, path: &PathBuf| NamedFile {
            setting,
            path: path.clone(),
        };
        Some(TlsFiles {
            cert: named("tls.cert", self.cert.as_ref()?),
            key: named("tls.key", self.key.as_ref()?),
            client_ca: self
                .client_ca
                .as_ref()
                .map(|path| named("tls.client_ca", path)),
        })
    }
}

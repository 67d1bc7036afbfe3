//! How to get in: a token, whom to trust, and what to prove oneself with.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use clap::Args;
use sluicegate_proto::producer::ProducerBuilder;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::error::Error;

/// Flags of whoever asks the service, or generators.
#[derive(Clone, Default, Args)]
pub struct Access {
    /// Sent as `authorization: Bearer TOKEN`.
    #[arg(long, env = "SLUICEGEN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// A file with the token, which other users of the machine do not see.
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICEGEN_TOKEN_FILE",
        conflicts_with = "token"
    )]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    pub tls: TlsFlags,
}

/// Whom to trust, and what to prove oneself with, at addresses that begin with `https://`.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsFlags {
    /// Trust the authorities in this file, PEM, instead of those of the system.
    #[arg(long, value_name = "FILE", env = "SLUICEGEN_TLS_CA", global = true)]
    pub tls_ca: Option<PathBuf>,
    /// Certificate to prove oneself with, PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICEGEN_TLS_CERT",
        requires = "tls_key",
        global = true
    )]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate, PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICEGEN_TLS_KEY",
        requires = "tls_cert",
        global = true
    )]
    pub tls_key: Option<PathBuf>,
}

impl Access {
    /// The token, read anew from its file if it has one.
    pub(crate) fn token(&self) -> Result<Option<String>, Error> {
        let Some(path) = &self.token_file else {
            return Ok(self.token.clone());
        };
        secret_in("--token-file", path).map(Some)
    }

    /// A producer that goes by the flags.
    pub(crate) fn on_producer(&self, builder: ProducerBuilder) -> Result<ProducerBuilder, Error> {
        let mut builder = builder;
        // Whether there is one is said at once; later ones are read by the producer itself.
        match (self.token()?, &self.token_file) {
            (Some(_), Some(path)) => builder = builder.bearer_token_file(path),
            (Some(token), None) => builder = builder.bearer_token(&token),
            (None, _) => {}
        }
        if let Some(ca) = self.tls.ca()? {
            builder = builder.tls_ca(ca);
        }
        if let Some((cert, key)) = self.tls.identity()? {
            builder = builder.tls_identity(cert, key);
        }
        Ok(builder)
    }

    /// A connection of gRPC that goes by the flags, if its address asks for TLS.
    pub(crate) fn on_endpoint(&self, endpoint: Endpoint) -> Result<Endpoint, Error> {
        let config = match self.tls.ca()? {
            Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let config = match self.tls.identity()? {
            Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
            None => config,
        };
        if endpoint.uri().scheme_str() != Some("https") {
            return Ok(endpoint);
        }
        endpoint.tls_config(config).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let reason = cause.unwrap_or_else(|| error.to_string());
            match self.tls.tls_cert {
                Some(_) => self.tls.refuse_identity(&reason),
                None => self.tls.refuse_ca(&reason),
            }
        })
    }
}

/// Both in PEM.
type CertAndKey = (Vec<u8>, Vec<u8>);

impl TlsFlags {
    /// What stands in the file of `--tls-ca`.
    pub(crate) fn ca(&self) -> Result<Option<Vec<u8>>, Error> {
        read("--tls-ca", self.tls_ca.as_ref())
    }

    /// Certificate and key.
    pub(crate) fn identity(&self) -> Result<Option<CertAndKey>, Error> {
        let cert = read("--tls-cert", self.tls_cert.as_ref())?;
        let key = read("--tls-key", self.tls_key.as_ref())?;
        Ok(cert.zip(key))
    }

    pub(crate) fn refuse_ca(&self, reason: &str) -> Error {
        refuse("--tls-ca", self.tls_ca.as_ref(), reason)
    }

    pub(crate) fn refuse_identity(&self, reason: &str) -> Error {
        refuse("--tls-cert", self.tls_cert.as_ref(), reason)
    }
}

/// What stands in a file that holds a secret and nothing else.
pub(crate) fn secret_in(flag: &str, path: &PathBuf) -> Result<String, Error> {
    let refused = |reason: &str| refuse(flag, Some(path), reason);
    let text = fs::read_to_string(path).map_err(|error| refused(&error.to_string()))?;
    match text.trim() {
        "" => Err(refused("it is empty")),
        secret => Ok(secret.to_owned()),
    }
}

fn read(flag: &str, path: Option<&PathBuf>) -> Result<Option<Vec<u8>>, Error> {
    let read = path
        .map(|path| fs::read(path).map_err(|reason| refuse(flag, Some(path), &reason.to_string())));
    read.transpose()
}

/// A token in the place of its file is not shown.
fn shown(path: &Path) -> String {
    match path.to_string_lossy() {
        text if text.starts_with("sg_") && !path.exists() => "sg_***".to_owned(),
        text => text.into_owned(),
    }
}

fn refuse(flag: &str, path: Option<&PathBuf>, reason: &str) -> Error {
    let path = path.map_or_else(String::new, |path| format!(" {}", shown(path)));
    Error::Usage(format!("{flag}{path}: {reason}"))
}

impl fmt::Debug for Access {
    /// Nothing of the token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Access")
            .field("token", &self.token.is_some())
            .field("token_file", &self.token_file)
            .field("tls", &self.tls)
            .finish()
    }
}

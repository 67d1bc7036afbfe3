//! Whom a producer trusts, and what it proves itself with.

use std::fmt;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::error::{ProducerError, wrong};

/// How a certificate begins in PEM.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The meaning of each stands with [`ProducerBuilder`](super::ProducerBuilder).
#[derive(Clone, Default)]
pub(super) struct Tls {
    ca: Option<Certificate>,
    identity: Option<Identity>,
    server_name: Option<String>,
}

impl Tls {
    /// False when no certificate is there.
    pub(super) fn trust(&mut self, pem: &[u8]) -> bool {
        self.ca = Some(Certificate::from_pem(pem));
        // Whoever trusts nobody would only hear of an unknown issuer.
        pem.windows(BEGIN.len()).any(|window| window == BEGIN)
    }

    pub(super) fn identify(&mut self, cert_pem: &[u8], key_pem: &[u8]) {
        self.identity = Some(Identity::from_pem(cert_pem, key_pem));
    }

    pub(super) fn expect_name(&mut self, name: String) {
        self.server_name = Some(name);
    }

    /// The endpoint, with TLS if its address asks for it.
    pub(super) fn on(&self, endpoint: Endpoint) -> Result<Endpoint, ProducerError> {
        if endpoint.uri().scheme_str() != Some("https") {
            return match (&self.ca, &self.identity, &self.server_name) {
                (None, None, None) => Ok(endpoint),
                _ => Err(wrong(
                    "target",
                    "must begin with https:// where settings of TLS are given",
                )),
            };
        }
        let mut config = ClientTlsConfig::new();
        config = match &self.ca {
            Some(ca) => config.ca_certificate(ca.clone()),
            None => config.with_native_roots(),
        };
        if let Some(identity) = &self.identity {
            config = config.identity(identity.clone());
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name.clone());
        }
        let failed = |error: tonic::transport::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let reason = cause.unwrap_or_else(|| error.to_string());
            // What of it does not fit is one of three.
            let setting = match (&self.ca, &self.identity) {
                (_, Some(_)) => "tls_identity",
                (Some(_), None) => "tls_ca",
                (None, None) => "target",
            };
            wrong(setting, &reason)
        };
        endpoint.tls_config(config).map_err(failed)
    }
}

impl fmt::Debug for Tls {
    /// Nothing of the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

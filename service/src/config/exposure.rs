//! Who can reach the ports, and whom they let in.

use std::net::SocketAddr;

use super::{Config, ConfigError};

impl Config {
    /// Refuses a port that others than this host can reach and that lets everybody in, unless that is wanted.
    pub(super) fn check_exposure(&self) -> Result<(), ConfigError> {
        if self.tls.asks_for_certificates() && !self.auth.is_on() {
            return Err(ConfigError::Value {
                key: "tls.client_ca",
                value: "given".to_owned(),
                must: "absent while auth.tokens is: that file says whose a certificate is",
            });
        }
        match self.exposed() {
            Some((key, addr)) if !self.insecure => Err(ConfigError::Exposed {
                key,
                addr,
                missing: self.missing_protection(),
            }),
            _ => Ok(()),
        }
    }

    /// What is to be said at each start of a service that lets everybody in who reaches it.
    #[must_use]
    pub fn warning_of_exposure(&self) -> Option<String> {
        let (key, addr) = self.exposed()?;
        Some(format!(
            "{key} is {addr}: whoever reaches it gets in, for there is {} (insecure)",
            self.missing_protection()
        ))
    }

    /// A port that others can reach without TLS or without being asked who they are.
    fn exposed(&self) -> Option<(&'static str, SocketAddr)> {
        if self.tls.files().is_some() && self.auth.is_on() {
            return None;
        }
        let ports = [("grpc_addr", self.grpc_addr), ("rest_addr", self.rest_addr)];
        ports
            .into_iter()
            .find(|(_, addr)| !addr.ip().to_canonical().is_loopback())
    }

    fn missing_protection(&self) -> &'static str {
        match (self.tls.files().is_some(), self.auth.is_on()) {
            (false, false) => "no TLS (tls.cert, tls.key) and no authentication (auth.tokens)",
            (false, true) => "no TLS (tls.cert, tls.key), so that tokens can be read on their way",
            _ => "no authentication (auth.tokens)",
        }
    }
}

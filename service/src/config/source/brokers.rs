//! What the settings of all kinds of brokers have.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where to begin of which nothing was stored yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceStart {
    #[default]
    Earliest,
    Latest,
}

/// What to do where messages are gone that were not stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDataLoss {
    /// It stops, and the source says so.
    #[default]
    Stop,
    /// It goes on with what there is, and the log says what is gone.
    Continue,
}

/// With it, brokers are spoken to over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerTls {
    /// Whose signatures prove the brokers; without it, the authorities of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// What proves this service, with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl BrokerTls {
    pub(super) fn check(tls: Option<&Self>) -> Result<(), (String, String)> {
        match tls {
            Some(tls) if tls.cert.is_some() != tls.key.is_some() => {
                Err(("tls".to_owned(), "cert and key belong together".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// Host and port of HOST:PORT. A host that is an IPv6 address stands in brackets.
#[must_use]
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port))
}

/// Whether the broker is on this host, so that nobody else hears what is sent to it.
pub(super) fn is_here(address: &str) -> bool {
    host_and_port(address)
        .is_some_and(|(host, _)| host == "localhost" || host == "::1" || host.starts_with("127."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(host_and_port("a.example:1"), Some(("a.example", 1)));
        assert_eq!(host_and_port("[::1]:5672"), Some(("::1", 5672)));
        for wrong in [
            "a.example",
            "a:0",
            "a:65536",
            ":1",
            "::1:5672",
            "[::1:5672",
            "a:b",
        ] {
            assert_eq!(host_and_port(wrong), None, "{wrong}");
        }
        assert!(is_here("localhost:1") && is_here("127.0.0.2:1") && is_here("[::1]:1"));
        assert!(!is_here("a.example:1"));
    }
}

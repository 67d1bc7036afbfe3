//! Settings under `auth:`.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{ConfigError, check::within};
use crate::auth::{GateSettings, OpenMetrics, TokenFile};

/// As given by one source.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthOverrides {
    /// The file of tokens and client certificates, which `sluicegate token` writes and nobody but its owner may read (mode 600).
    /// It is read anew when it changes. Without it nobody is asked who they are [default: none]
    #[arg(
        long = "auth-tokens",
        env = "SLUICEGATE_AUTH_TOKENS",
        value_name = "FILE"
    )]
    pub tokens: Option<PathBuf>,

    /// Who reads /metrics without a token, where there are tokens; behind a proxy on this host, everybody asks from loopback
    /// [default: loopback]
    #[arg(
        long = "auth-open-metrics",
        env = "SLUICEGATE_AUTH_OPEN_METRICS",
        value_enum
    )]
    pub open_metrics: Option<OpenMetrics>,

    /// Tokens from one address, in IPv6 from one /64, that may be wrong within a minute: those beyond are answered that there
    /// were too many. Good ones are let in all the same; 1 to 1000000 [default: 30]
    #[arg(
        long = "auth-max-failures",
        env = "SLUICEGATE_AUTH_MAX_FAILURES",
        value_name = "N"
    )]
    pub max_failures: Option<u32>,
}

/// In effect.
#[derive(Clone, Debug, Serialize)]
pub struct AuthConfig {
    tokens: Option<PathBuf>,
    open_metrics: OpenMetrics,
    max_failures: u32,
}

impl AuthConfig {
    pub(super) fn merge(given: AuthOverrides, file: AuthOverrides) -> Self {
        Self {
            tokens: given.tokens.or(file.tokens),
            open_metrics: given.open_metrics.or(file.open_metrics).unwrap_or_default(),
            max_failures: given.max_failures.or(file.max_failures).unwrap_or(30),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within(
            "auth.max_failures",
            self.max_failures.into(),
            1,
            1_000_000,
            "1 to 1000000",
        )
    }

    /// Whether anybody is asked who they are.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.tokens.is_some()
    }

    /// How the gate is kept; None when nobody is asked who they are.
    #[must_use]
    pub fn gate(&self) -> Option<GateSettings> {
        Some(GateSettings {
            file: TokenFile::new(self.tokens.clone()?),
            open_metrics: self.open_metrics,
            max_failures: self.max_failures,
        })
    }
}

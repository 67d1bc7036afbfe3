//! Settings under `auth:`.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{ConfigError, check::within};
use crate::{
    auth::{GateSettings, OpenMetrics, Token, TokenFile},
    usecase::ingest::QuotaSettings,
};

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

    /// Readings a second that one principal may bring: streams are read more slowly beyond, and unary calls told when to come
    /// back; 1 to 4294967295 [default: none]
    #[arg(
        long = "auth-max-rows-per-s",
        env = "SLUICEGATE_AUTH_MAX_ROWS_PER_S",
        value_name = "ROWS"
    )]
    pub max_rows_per_s: Option<u32>,

    /// The same in memory that readings take, bytes a second: some 20 for one in columns, more in rows; 1 to 4294967295
    /// [default: none]
    #[arg(
        long = "auth-max-bytes-per-s",
        env = "SLUICEGATE_AUTH_MAX_BYTES_PER_S",
        value_name = "BYTES"
    )]
    pub max_bytes_per_s: Option<u32>,

    /// Calls of gRPC that one principal may have open; 1 to 1048576 [default: none]
    #[arg(
        id = "auth_max_open_calls",
        long = "auth-max-open-calls",
        env = "SLUICEGATE_AUTH_MAX_OPEN_CALLS",
        value_name = "N"
    )]
    pub max_open_calls: Option<usize>,
}

/// In effect.
#[derive(Clone, Debug, Serialize)]
pub struct AuthConfig {
    tokens: Option<PathBuf>,
    open_metrics: OpenMetrics,
    max_failures: u32,
    max_rows_per_s: Option<u32>,
    max_bytes_per_s: Option<u32>,
    max_open_calls: Option<usize>,
}

impl AuthConfig {
    pub(super) fn merge(given: AuthOverrides, file: AuthOverrides) -> Self {
        Self {
            tokens: given.tokens.or(file.tokens),
            open_metrics: given.open_metrics.or(file.open_metrics).unwrap_or_default(),
            max_failures: given.max_failures.or(file.max_failures).unwrap_or(30),
            max_rows_per_s: given.max_rows_per_s.or(file.max_rows_per_s),
            max_bytes_per_s: given.max_bytes_per_s.or(file.max_bytes_per_s),
            max_open_calls: given.max_open_calls.or(file.max_open_calls),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let tokens = self.tokens.as_deref().map(Path::to_string_lossy);
        if tokens.is_some_and(|text| Token::parse(&text).is_ok()) {
            return Err(ConfigError::Value {
                key: "auth.tokens",
                value: "a token".to_owned(),
                must: "the file that has the tokens",
            });
        }
        let most = u64::from(u32::MAX);
        for (key, value, to, must) in [
            (
                "auth.max_failures",
                Some(self.max_failures.into()),
                1_000_000,
                "1 to 1000000",
            ),
            (
                "auth.max_rows_per_s",
                self.max_rows_per_s.map(u64::from),
                most,
                "1 to 4294967295",
            ),
            (
                "auth.max_bytes_per_s",
                self.max_bytes_per_s.map(u64::from),
                most,
                "1 to 4294967295",
            ),
            (
                "auth.max_open_calls",
                self.max_open_calls.map(|it| it as u64),
                1 << 20,
                "1 to 1048576",
            ),
        ] {
            within(key, value.unwrap_or(1), 1, to, must)?;
        }
        Ok(())
    }

    /// How fast each principal may bring readings.
    pub(super) fn quotas(&self) -> QuotaSettings {
        QuotaSettings {
            rows_per_s: self.max_rows_per_s.and_then(NonZeroU32::new),
            bytes_per_s: self.max_bytes_per_s.and_then(NonZeroU32::new),
        }
    }

    /// Calls that one principal may have open.
    #[must_use]
    pub fn max_open_calls(&self) -> Option<usize> {
        self.max_open_calls
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

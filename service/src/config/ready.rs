//! Settings under `ready:`.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::model::TimeSpan;

/// As given by one source.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadyOverrides {
    /// How long a reading may wait for its commit before the service says that it is not ready, such as 30s; 1s to 1d
    /// [default: 30s]
    #[arg(
        long = "ready-max-lag",
        env = "SLUICEGATE_READY_MAX_LAG",
        value_name = "TIME"
    )]
    pub max_lag: Option<TimeSpan>,
}

/// In effect.
#[derive(Clone, Debug, Serialize)]
pub struct ReadyConfig {
    max_lag: TimeSpan,
}

impl ReadyConfig {
    const MAX_LAG: TimeSpan = TimeSpan::of_seconds(30);

    pub(super) fn merge(given: ReadyOverrides, file: ReadyOverrides) -> Self {
        Self {
            max_lag: given.max_lag.or(file.max_lag).unwrap_or(Self::MAX_LAG),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.max_lag <= TimeSpan::DAY {
            return Ok(());
        }
        Err(ConfigError::Value {
            key: "ready.max_lag",
            value: self.max_lag.to_string(),
            must: "1s to 1d",
        })
    }

    /// How long a reading may wait for its commit.
    #[must_use]
    pub fn max_lag(&self) -> Duration {
        Duration::from_secs(self.max_lag.seconds())
    }
}

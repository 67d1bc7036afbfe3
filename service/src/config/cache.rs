//! Settings under `cache:`.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{ConfigError, mask_password};
use crate::repository::cache::{CacheAddress, CacheSettings};

/// As given by one source.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheOverrides {
    /// A Redis or Valkey server that keeps the newest readings of those pairs that somebody asks for:
    /// redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// with TLS, or unix://PATH. All instances on a database have the same one
    /// [default: none]
    #[arg(
        id = "cache_url",
        long = "cache-url",
        env = "SLUICEGATE_CACHE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub url: Option<String>,

    /// How old an answer from the cache may be, milliseconds; 200 to 60000 [default: 1000]
    #[arg(
        id = "cache_max_staleness_ms",
        long = "cache-max-staleness-ms",
        env = "SLUICEGATE_CACHE_MAX_STALENESS_MS",
        value_name = "MS"
    )]
    pub max_staleness_ms: Option<u64>,

    /// Pairs of ids that are kept at once, those that somebody asked for within 10 minutes; 1 to 1000000 [default: 100000]
    #[arg(
        id = "cache_max_pairs",
        long = "cache-max-pairs",
        env = "SLUICEGATE_CACHE_MAX_PAIRS",
        value_name = "N"
    )]
    pub max_pairs: Option<usize>,
}

/// In effect.
#[derive(Clone, Debug, Serialize)]
pub struct CacheConfig {
    /// Only for print; the password is masked.
    url: Option<String>,
    #[serde(skip)]
    given_url: Option<String>,
    max_staleness_ms: u64,
    max_pairs: usize,
}

impl CacheConfig {
    pub(super) fn merge(given: CacheOverrides, file: CacheOverrides) -> Self {
        let url = given.url.or(file.url);
        Self {
            url: url.as_deref().map(mask_password),
            given_url: url,
            max_staleness_ms: given
                .max_staleness_ms
                .or(file.max_staleness_ms)
                .unwrap_or(1_000),
            max_pairs: given.max_pairs.or(file.max_pairs).unwrap_or(100_000),
        }
    }

    pub(super) fn check(&self, insecure: bool) -> Result<(), ConfigError> {
        let refused = |key, value, must| Err(ConfigError::Value { key, value, must });
        if let (Some(url), Some(shown)) = (&self.given_url, &self.url) {
            let shown = format!("{shown:?}");
            let Ok(address) = CacheAddress::parse(url) else {
                let must =
                    "redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// with TLS, or unix://PATH";
                return refused("cache.url", shown, must);
            };
            if address.tells_password() && !insecure {
                let must =
                    "rediss:// where a password goes to another host, unless insecure is set";
                return refused("cache.url", shown, must);
            }
        }
        if !(200..=60_000).contains(&self.max_staleness_ms) {
            let value = self.max_staleness_ms.to_string();
            return refused("cache.max_staleness_ms", value, "200 to 60000");
        }
        if !(1..=1_000_000).contains(&self.max_pairs) {
            let value = self.max_pairs.to_string();
            return refused("cache.max_pairs", value, "1 to 1000000");
        }
        Ok(())
    }

    /// What to do; None without a cache.
    #[must_use]
    pub fn settings(&self) -> Option<CacheSettings> {
        let address = CacheAddress::parse(self.given_url.as_deref()?).ok()?;
        Some(CacheSettings {
            address,
            max_staleness: Duration::from_millis(self.max_staleness_ms),
            max_pairs: self.max_pairs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_over_no_open_network_and_is_not_shown() {
        let check = |url: &str, insecure| {
            let given = CacheOverrides {
                url: Some(url.to_owned()),
                ..CacheOverrides::default()
            };
            CacheConfig::merge(given, CacheOverrides::default()).check(insecure)
        };
        for good in [
            "redis://127.0.0.1",
            "redis://:secret@localhost:6380/2",
            "redis://cache.example",
            "rediss://user:secret@cache.example",
            "unix:///run/valkey.sock",
        ] {
            assert!(check(good, false).is_ok(), "{good}");
        }
        let open = "redis://:secret@cache.example";
        let error = check(open, false).unwrap_err().to_string();
        assert!(error.starts_with("cache.url is "), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(check(open, true).is_ok());
        for wrong in ["", "cache.example:6379", "http://cache.example", "redis://"] {
            assert!(check(wrong, false).is_err(), "{wrong}");
        }
    }
}

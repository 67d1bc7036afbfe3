//! Which values are possible.

use super::{Config, ConfigError, PartitionConfig, QuarantineConfig, SeriesConfig};
use crate::{
    model::{OrNone, TimeSpan},
    usecase::manage::partitions::WidthSetting,
};

impl Config {
    /// Names the first setting that is out of range.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let ingest = &self.ingest;
        within(
            "connect_deadline_s",
            self.connect_deadline_s,
            0,
            86_400,
            "0 to 86400",
        )?;
        self.grpc.check()?;
        self.ready.check()?;
        self.cache.check(self.insecure)?;
        within("ingest.lanes", ingest.lanes as u64, 1, 64, "1 to 64")?;
        within(
            "ingest.linger_ms",
            ingest.linger_ms,
            0,
            10_000,
            "0 to 10000",
        )?;
        within(
            "ingest.max_batch_rows",
            ingest.max_batch_rows as u64,
            1,
            4_000_000,
            "1 to 4000000",
        )?;
        within(
            "ingest.budget_bytes",
            ingest.budget_bytes.into(),
            1 << 20,
            1 << 31,
            "1048576 to 2147483648",
        )?;
        within(
            "ingest.dictionary_bytes",
            ingest.dictionary_bytes as u64,
            1 << 20,
            1 << 32,
            "1048576 to 4294967296",
        )?;
        within(
            "ingest.series_cache_bytes",
            ingest.series_cache_bytes as u64,
            1 << 20,
            1 << 32,
            "1048576 to 4294967296",
        )?;
        within(
            "ingest.commit_deadline_ms",
            ingest.commit_deadline_ms,
            1,
            3_600_000,
            "1 to 3600000",
        )?;
        self.check_databases()?;
        self.rest.check()?;
        super::source::check(&self.sources)?;
        self.partitions.check()?;
        self.check_rollups()?;
        self.series.check()?;
        self.quarantine.check()?;
        self.telemetry.check()?;
        self.tls.check()?;
        self.check_exposure()?;
        self.auth.check()?;
        if self.instance.is_empty()
            || self.instance.len() > 64
            || self.instance.contains(char::is_control)
        {
            return Err(ConfigError::Value {
                key: "instance",
                value: format!("{:?}", self.instance),
                must: "1 to 64 printable bytes",
            });
        }
        Ok(())
    }
}

impl Config {
    /// A bucket is made before retention drops what it is made of.
    fn check_rollups(&self) -> Result<(), ConfigError> {
        let longest = self.rollups.coarsest();
        let retention = self.partitions.retention.0;
        match longest.zip(retention) {
            Some((longest, retention)) if longest.every > retention => Err(ConfigError::Value {
                key: "rollups",
                value: self.rollups.to_string(),
                must: "of buckets that are no longer than partitions.retention keeps readings",
            }),
            _ => Ok(()),
        }
    }
}

impl SeriesConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let bounds = [
            ("series.max", self.max),
            ("series.new_per_hour", self.new_per_hour),
        ];
        for (key, value) in bounds {
            within(key, value.into(), 1, u32::MAX.into(), "1 to 4294967295")?;
        }
        Ok(())
    }
}

impl QuarantineConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let refused = |key, value, must| Err(ConfigError::Value { key, value, must });
        if !(1_000..=1_000_000_000).contains(&self.max_rows) {
            let value = self.max_rows.to_string();
            return refused("quarantine.max_rows", value, "1000 to 1000000000");
        }
        match self.retention.0 {
            Some(retention) if retention < TimeSpan::MINUTE => {
                refused("quarantine.retention", retention.to_string(), "at least 1m")
            }
            _ => Ok(()),
        }
    }
}

impl PartitionConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let refused = |key, value, must| Err(ConfigError::Value { key, value, must });
        if !(1..=60).contains(&self.interval_s) {
            let value = self.interval_s.to_string();
            return refused("partitions.interval_s", value, "1 to 60");
        }
        if !(0.01..=1.0).contains(&self.buffer_pool_share) {
            let value = self.buffer_pool_share.to_string();
            return refused("partitions.buffer_pool_share", value, "0.01 to 1");
        }
        if !(0.0001..=1.0).contains(&self.alter_share) {
            let value = self.alter_share.to_string();
            return refused("partitions.alter_share", value, "0.0001 to 1");
        }
        match (self.retention, self.width) {
            (OrNone(Some(_)), _) if !self.enabled => {
                let must = "none while partitions.enabled is false";
                refused("partitions.retention", self.retention.to_string(), must)
            }
            (OrNone(Some(retention)), WidthSetting::Fixed(width)) if retention < width => {
                let must = "at least partitions.width";
                refused("partitions.retention", retention.to_string(), must)
            }
            (OrNone(Some(retention)), _) if retention < TimeSpan::MINUTE => {
                let must = "at least 1m";
                refused("partitions.retention", retention.to_string(), must)
            }
            _ => Ok(()),
        }
    }
}

/// Refuses what is out of range.
pub(super) fn within(
    key: &'static str,
    value: u64,
    from: u64,
    to: u64,
    must: &'static str,
) -> Result<(), ConfigError> {
    if (from..=to).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        value: value.to_string(),
        must,
    })
}

//! Configuration: defaults < YAML file < environment < flags. [`Settings`] names every setting; the command line, the
//! environment and the file are all read into it, and [`Config`] is what comes of them.

mod audit;
mod auth;
mod cache;
mod check;
mod database;
mod error;
mod exposure;
mod grpc;
mod known_mappings;
mod mappings;
mod origins;
mod ready;
mod reference;
mod rest;
mod rest_bounds;
mod settings;
mod source;
mod telemetry;
mod template;
mod tls;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use self::origins::{DEFAULT_REST_ADDR, read_file, refuse_unknown_variables};
pub use self::{
    audit::{AuditConfig, AuditOverrides},
    auth::{AuthConfig, AuthOverrides},
    cache::{CacheConfig, CacheOverrides},
    database::{Database, DatabaseConfig, DatabaseOverrides},
    error::ConfigError,
    grpc::{GrpcConfig, GrpcOverrides},
    origins::{mask_password, rest_place},
    ready::{ReadyConfig, ReadyOverrides},
    reference::reference,
    rest::{RestConfig, RestOverrides},
    settings::{IngestOverrides, PartitionOverrides, Settings},
    source::{
        BrokerSettings, BrokerTls, GroupProtocol, KafkaSasl, KafkaSettings, MqttSettings,
        OnDataLoss, PayloadSettings, Protobuf, RabbitMqSettings, SaslMechanism, Secret,
        SecretError, SourceSettings, SourceStart, host_and_port,
    },
    telemetry::{TelemetryConfig, TelemetryOverrides},
    template::template,
    tls::{TlsConfig, TlsOverrides},
};
use crate::{
    model::{AbsentValue, OrNone, PointInTime, SeriesBounds, TimeSpan, rollup::RollupLevels},
    repository::{
        Awaits, QuarantineLimits,
        mysql::{ColumnNames, DatabaseSettings, Layout, StorageMetrics, TableName},
    },
    telemetry::LogFormat,
    usecase::{
        clock::TimeSettings,
        ingest::IngestSettings,
        manage::partitions::{PartitionSettings, Retention, WidthSetting},
    },
};

/// The configuration in effect.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    #[serde(skip)]
    pub database: Option<Database>,
    /// Only for print; the password is masked.
    database_url: Option<String>,
    #[serde(skip)]
    manage_url: Option<String>,
    /// As `database_url`.
    manage_database_url: Option<String>,
    embedded_db: Option<PathBuf>,
    embedded_db_bin: Option<PathBuf>,
    pub layout: Layout,
    /// The layout, unless it is only the default.
    #[serde(skip)]
    wanted_layout: Option<Layout>,
    table: Option<TableName>,
    columns: Option<ColumnNames>,
    pub migrate: bool,
    pub instance: String,
    pub connect_deadline_s: u64,
    pub grpc_addr: SocketAddr,
    pub rest_addr: SocketAddr,
    pub ready_file: Option<PathBuf>,
    pub shutdown_deadline_s: u64,
    pub log: String,
    pub log_format: LogFormat,
    pub insecure: bool,
    #[serde(rename = "database")]
    pub to_database: DatabaseConfig,
    pub grpc: GrpcConfig,
    pub ingest: IngestConfig,
    pub rest: RestConfig,
    pub partitions: PartitionConfig,
    pub series: SeriesConfig,
    pub quarantine: QuarantineConfig,
    pub rollups: RollupLevels,
    pub cache: CacheConfig,
    pub ready: ReadyConfig,
    pub telemetry: TelemetryConfig,
    pub tls: TlsConfig,
    pub auth: AuthConfig,
    pub audit: AuditConfig,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceSettings>,
}

#[derive(Clone, Debug, Serialize)]
pub struct IngestConfig {
    pub lanes: usize,
    pub linger_ms: u64,
    pub max_batch_rows: usize,
    pub budget_bytes: u32,
    pub dictionary_bytes: usize,
    pub series_cache_bytes: usize,
    pub commit_deadline_ms: u64,
    pub earliest: OrNone<PointInTime>,
    pub max_ahead: OrNone<TimeSpan>,
    pub absent_value: AbsentValue,
}

#[derive(Clone, Debug, Serialize)]
pub struct PartitionConfig {
    pub enabled: bool,
    pub width: WidthSetting,
    pub buffer_pool_share: f64,
    pub retention: Retention,
    pub alter_share: f64,
    pub interval_s: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct SeriesConfig {
    pub max: u32,
    pub new_per_hour: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct QuarantineConfig {
    pub max_rows: u64,
    pub retention: Retention,
}

impl Config {
    /// Puts the sources together. `given` holds flags and environment; clap lets flags win.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown or a value is out of range.
    pub fn resolve(given: Settings, file: Option<&Path>) -> Result<Self, ConfigError> {
        refuse_unknown_variables(std::env::vars_os())?;
        let from_file = file.map(read_file).transpose()?.unwrap_or_default();
        let config = Self::merge(given, from_file)?;
        config.check()?;
        Ok(config)
    }

    fn merge(given: Settings, file: Settings) -> Result<Self, ConfigError> {
        // A database named on the command line displaces the other kind in the file.
        let given_database = given.database_url.is_some() || given.embedded_db.is_some();
        let (url, embedded) = if given_database {
            (given.database_url, given.embedded_db)
        } else {
            (file.database_url, file.embedded_db)
        };
        let binary = given.embedded_db_bin.or(file.embedded_db_bin);
        let database = match (url.clone(), embedded.clone()) {
            (Some(_), Some(_)) => return Err(ConfigError::TwoDatabases),
            (Some(url), None) => Some(Database::Url(url)),
            (None, Some(data_dir)) => Some(Database::Embedded {
                data_dir,
                binary: binary.clone(),
            }),
            (None, None) => None,
        };
        let manage_url = given.manage_database_url.or(file.manage_database_url);
        let (ingest, file_ingest) = (given.ingest, file.ingest);
        let (partitions, file_partitions) = (given.partitions, file.partitions);
        let (series, file_series) = (given.series, file.series);
        let (quarantine, file_quarantine) = (given.quarantine, file.quarantine);
        Ok(Self {
            database,
            database_url: url.as_deref().map(mask_password),
            manage_database_url: manage_url.as_deref().map(mask_password),
            manage_url,
            embedded_db: embedded,
            embedded_db_bin: binary,
            layout: given.layout.or(file.layout).unwrap_or_default(),
            wanted_layout: given.layout.or(file.layout),
            table: given.table.or(file.table),
            columns: given.columns.or(file.columns),
            migrate: given.migrate.or(file.migrate).unwrap_or(true),
            instance: given
                .instance
                .or(file.instance)
                .unwrap_or_else(random_instance),
            connect_deadline_s: given
                .connect_deadline_s
                .or(file.connect_deadline_s)
                .unwrap_or(60),
            grpc_addr: given
                .grpc_addr
                .or(file.grpc_addr)
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 50051))),
            rest_addr: given
                .rest_addr
                .or(file.rest_addr)
                .unwrap_or(DEFAULT_REST_ADDR),
            ready_file: given.ready_file.or(file.ready_file),
            shutdown_deadline_s: given
                .shutdown_deadline_s
                .or(file.shutdown_deadline_s)
                .unwrap_or(30),
            log: given.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: given.log_format.or(file.log_format).unwrap_or_default(),
            insecure: given.insecure.or(file.insecure).unwrap_or(false),
            to_database: DatabaseConfig::merge(given.database, file.database),
            grpc: GrpcConfig::merge(given.grpc, file.grpc),
            ingest: IngestConfig {
                lanes: ingest
                    .lanes
                    .or(file_ingest.lanes)
                    .unwrap_or_else(default_lanes),
                linger_ms: ingest.linger_ms.or(file_ingest.linger_ms).unwrap_or(1),
                max_batch_rows: ingest
                    .max_batch_rows
                    .or(file_ingest.max_batch_rows)
                    .unwrap_or(250_000),
                budget_bytes: ingest
                    .budget_bytes
                    .or(file_ingest.budget_bytes)
                    .unwrap_or(64 << 20),
                dictionary_bytes: ingest
                    .dictionary_bytes
                    .or(file_ingest.dictionary_bytes)
                    .unwrap_or(32 << 20),
                series_cache_bytes: ingest
                    .series_cache_bytes
                    .or(file_ingest.series_cache_bytes)
                    .unwrap_or(64 << 20),
                commit_deadline_ms: ingest
                    .commit_deadline_ms
                    .or(file_ingest.commit_deadline_ms)
                    .unwrap_or(30_000),
                earliest: ingest
                    .earliest
                    .or(file_ingest.earliest)
                    .unwrap_or(OrNone(Some(PointInTime::YEAR_1971))),
                max_ahead: ingest
                    .max_ahead
                    .or(file_ingest.max_ahead)
                    .unwrap_or(OrNone(Some(TimeSpan::DAY))),
                absent_value: ingest
                    .absent_value
                    .or(file_ingest.absent_value)
                    .unwrap_or_default(),
            },
            rest: RestConfig::merge(given.rest, file.rest),
            partitions: PartitionConfig {
                enabled: partitions
                    .enabled
                    .or(file_partitions.enabled)
                    .unwrap_or(true),
                width: partitions
                    .width
                    .or(file_partitions.width)
                    .unwrap_or_default(),
                buffer_pool_share: partitions
                    .buffer_pool_share
                    .or(file_partitions.buffer_pool_share)
                    .unwrap_or(0.25),
                retention: partitions
                    .retention
                    .or(file_partitions.retention)
                    .unwrap_or_default(),
                alter_share: partitions
                    .alter_share
                    .or(file_partitions.alter_share)
                    .unwrap_or(0.01),
                interval_s: partitions
                    .interval_s
                    .or(file_partitions.interval_s)
                    .unwrap_or(10),
            },
            series: SeriesConfig {
                max: series.max.or(file_series.max).unwrap_or(10_000_000),
                new_per_hour: series
                    .new_per_hour
                    .or(file_series.new_per_hour)
                    .unwrap_or(1_000_000),
            },
            quarantine: QuarantineConfig {
                max_rows: quarantine
                    .max_rows
                    .or(file_quarantine.max_rows)
                    .unwrap_or(1_000_000),
                retention: quarantine
                    .retention
                    .or(file_quarantine.retention)
                    .unwrap_or(OrNone(Some(TimeSpan::minutes(90 * 24 * 60)))),
            },
            rollups: given.rollups.or(file.rollups).unwrap_or_default(),
            cache: CacheConfig::merge(given.cache, file.cache),
            ready: ReadyConfig::merge(given.ready, file.ready),
            telemetry: TelemetryConfig::merge(given.telemetry, file.telemetry),
            tls: TlsConfig::merge(given.tls, file.tls),
            auth: AuthConfig::merge(given.auth, file.auth),
            audit: AuditConfig::merge(given.audit, file.audit),
            sources: given.sources.or(file.sources).unwrap_or_default(),
        })
    }

    /// How to reach the database at `url`.
    #[must_use]
    pub fn database_settings(&self, url: String) -> DatabaseSettings {
        DatabaseSettings {
            access: self.to_database.access(url),
            manage: self.manage_access(),
            statement_limit: Duration::from_secs(self.rest.statement_limit_s.into()),
            series_cache_bytes: self.ingest.series_cache_bytes,
            series_bounds: SeriesBounds {
                max: self.series.max,
                new_per_hour: self.series.new_per_hour,
            },
            connect_deadline: Duration::from_secs(self.connect_deadline_s),
            wanted_layout: self.wanted_layout,
            table: self.table.clone(),
            columns: self.columns.clone().unwrap_or_default(),
            instance: self.instance.clone(),
            awaits: Awaits::default(),
            metrics: StorageMetrics::default(),
        }
    }

    #[must_use]
    pub fn quarantine_limits(&self) -> QuarantineLimits {
        QuarantineLimits {
            max_rows: self.quarantine.max_rows,
            retention: self.quarantine.retention.0,
        }
    }

    #[must_use]
    pub fn ingest_settings(&self) -> IngestSettings {
        IngestSettings {
            lanes: self.ingest.lanes,
            linger: Duration::from_millis(self.ingest.linger_ms),
            max_batch_rows: self.ingest.max_batch_rows,
            budget_bytes: self.ingest.budget_bytes,
            dictionary_bytes: self.ingest.dictionary_bytes,
            commit_deadline: Duration::from_millis(self.ingest.commit_deadline_ms),
            quotas: self.auth.quotas(),
        }
    }

    /// What the time of a reading has to fit.
    #[must_use]
    pub fn time_settings(&self) -> TimeSettings {
        TimeSettings {
            earliest_us: self.ingest.earliest.0.map(PointInTime::us),
            max_ahead: self.ingest.max_ahead.0,
            retention: self.partitions.retention.0,
            absent_value: self.ingest.absent_value,
        }
    }
}

impl PartitionConfig {
    /// What to do with partitions; None to leave them alone.
    #[must_use]
    pub fn settings(&self) -> Option<PartitionSettings> {
        self.enabled.then_some(PartitionSettings {
            width: self.width,
            buffer_pool_share: self.buffer_pool_share,
            retention: self.retention.0,
            alter_share: self.alter_share,
            interval: Duration::from_secs(self.interval_s),
        })
    }
}

fn default_lanes() -> usize {
    std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(8)
}

fn random_instance() -> String {
    format!("{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let yaml = file("layout: hashed\ningest:\n  lanes: 3\n  linger_ms: 9\n");
        let mut given = Settings::default();
        given.ingest.lanes = Some(5);
        let config = Config::resolve(given, Some(yaml.path())).unwrap();
        assert_eq!(config.ingest.lanes, 5);
        assert_eq!(config.ingest.linger_ms, 9);
        assert_eq!(config.layout, Layout::Hashed);
        assert_eq!(config.ingest.max_batch_rows, 250_000);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_line() {
        let yaml = file("layout: seed\ningest:\n  lains: 3\n");
        let error = Config::resolve(Settings::default(), Some(yaml.path())).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&*yaml.path().to_string_lossy()), "{text}");
        assert!(text.contains("lains") && text.contains("line 3"), "{text}");
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let mut given = Settings::default();
        given.ingest.lanes = Some(0);
        let text = Config::resolve(given, None).unwrap_err().to_string();
        assert_eq!(text, "ingest.lanes is 0, but must be 1 to 64");
    }

    #[test]
    fn partitions_are_set_in_words_that_people_use() {
        let yaml = file("partitions:\n  width: 15m\n  retention: 30d\n");
        let config = Config::resolve(Settings::default(), Some(yaml.path())).unwrap();
        let shown = serde_norway::to_string(&config.partitions).unwrap();
        assert_eq!(
            shown,
            "enabled: true\nwidth: 15m\nbuffer_pool_share: 0.25\nretention: 30d\nalter_share: 0.01\n\
             interval_s: 10\n"
        );
        let yaml = file("partitions:\n  width: 20s\n");
        let error = Config::resolve(Settings::default(), Some(yaml.path())).unwrap_err();
        assert!(error.to_string().contains("1m to 1d"), "{error}");
        let yaml = file("partitions:\n  width: 6h\n  retention: 1h\n");
        let error = Config::resolve(Settings::default(), Some(yaml.path())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "partitions.retention is 1h, but must be at least partitions.width"
        );
    }

    #[test]
    fn times_are_bounded_unless_none_is_said() {
        let config = Config::resolve(Settings::default(), None).unwrap();
        let times = config.time_settings();
        assert_eq!(times.earliest_us, Some(PointInTime::YEAR_1971.us()));
        assert_eq!(times.max_ahead, Some(TimeSpan::DAY));
        assert_eq!(times.absent_value, AbsentValue::Reject);
        let yaml = file("ingest:\n  earliest: none\n  max_ahead: none\n  absent_value: zero\n");
        let config = Config::resolve(Settings::default(), Some(yaml.path())).unwrap();
        let times = config.time_settings();
        assert_eq!((times.earliest_us, times.max_ahead), (None, None));
        assert_eq!(times.absent_value, AbsentValue::Zero);
        let shown = serde_norway::to_string(&config.ingest).unwrap();
        assert!(
            shown.contains("max_ahead: none\nabsent_value: zero\n"),
            "{shown}"
        );
        let yaml = file("ingest:\n  max_ahead: 1w\n");
        let error = Config::resolve(Settings::default(), Some(yaml.path())).unwrap_err();
        assert!(error.to_string().contains("1h or 30d"), "{error}");
    }
}

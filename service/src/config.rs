//! Configuration: defaults < YAML file < environment < flags. One struct names every setting; the command line, the
//! environment and the file are all read into it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde::{Deserialize, Serialize};
use warp::http::uri::Authority;

use crate::{
    model::TimeSpan,
    repository::mysql::{DatabaseSettings, Layout},
    usecase::{
        ingest::IngestSettings,
        manage::partitions::{PartitionSettings, Retention, WidthSetting},
    },
};

/// A setting that cannot be used. One sentence, with where it stands.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("{key} is {value}, but must be {must}")]
    Value {
        key: &'static str,
        value: String,
        must: &'static str,
    },
    #[error("{0} is not a setting: see `sluicegate serve --help` for all of them")]
    UnknownVariable(String),
    #[error(
        "no database: give --database-url mysql://user:password@host:3306/database, or --embedded-db"
    )]
    NoDatabase,
    #[error("--database-url and --embedded-db exclude each other")]
    TwoDatabases,
}

/// Every setting, as given by one source; what is absent is left to the next.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the readings go: mysql://user:password@host:3306/database
    #[arg(
        long,
        env = "SLUICEGATE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Option<String>,

    /// Runs a private MariaDB or MySQL server as a child; data stays in DIR between runs
    #[arg(long, env = "SLUICEGATE_EMBEDDED_DB", value_name = "DIR", num_args = 0..=1,
          require_equals = true, default_missing_value = "sluicegate-data")]
    pub embedded_db: Option<PathBuf>,

    /// The server program for --embedded-db [default: mariadbd or mysqld, as found on PATH]
    #[arg(long, env = "SLUICEGATE_EMBEDDED_DB_BIN", value_name = "PATH")]
    pub embedded_db_bin: Option<PathBuf>,

    /// Layout of sensor_readings, used when the table is created [default: partitioned]
    #[arg(long, env = "SLUICEGATE_LAYOUT", value_enum)]
    pub layout: Option<Layout>,

    /// Whether to create missing tables at start [default: true]
    #[arg(long, env = "SLUICEGATE_MIGRATE", value_name = "BOOL")]
    pub migrate: Option<bool>,

    /// Name of this instance, unique among those that share a database [default: random]
    #[arg(long, env = "SLUICEGATE_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,

    /// How long to wait at start for a database that does not answer, seconds [default: 60]
    #[arg(long, env = "SLUICEGATE_CONNECT_DEADLINE_S", value_name = "SECONDS")]
    pub connect_deadline_s: Option<u64>,

    /// Where gRPC listens; port 0 takes a free one [default: 127.0.0.1:50051]
    #[arg(long, env = "SLUICEGATE_GRPC_ADDR", value_name = "HOST:PORT")]
    pub grpc_addr: Option<SocketAddr>,

    /// Where REST listens; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "SLUICEGATE_REST_ADDR", value_name = "HOST:PORT")]
    pub rest_addr: Option<SocketAddr>,

    /// Written as JSON with the addresses in use once the service is ready
    #[arg(long, env = "SLUICEGATE_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// How long a shutdown may take to commit what is in flight, seconds [default: 30]
    #[arg(long, env = "SLUICEGATE_SHUTDOWN_DEADLINE_S", value_name = "SECONDS")]
    pub shutdown_deadline_s: Option<u64>,

    /// What to log: error, warn, info, debug, trace, or per module as in "info,sluicegate=debug" [default: info]
    #[arg(long, env = "SLUICEGATE_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How to log [default: text]
    #[arg(long, env = "SLUICEGATE_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    #[command(flatten)]
    pub grpc: GrpcOverrides,

    #[command(flatten)]
    pub ingest: IngestOverrides,

    #[command(flatten)]
    pub rest: RestOverrides,

    #[command(flatten)]
    pub partitions: PartitionOverrides,
}

/// Settings under `grpc:`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcOverrides {
    /// Largest message taken, bytes; 65536 to 67108864 [default: 4194304]
    #[arg(
        long = "grpc-max-message-bytes",
        env = "SLUICEGATE_GRPC_MAX_MESSAGE_BYTES",
        value_name = "BYTES"
    )]
    pub max_message_bytes: Option<usize>,

    /// Calls at once on one connection [default: 1024]
    #[arg(
        long = "grpc-max-concurrent-calls",
        env = "SLUICEGATE_GRPC_MAX_CONCURRENT_CALLS",
        value_name = "N"
    )]
    pub max_concurrent_calls: Option<u32>,

    /// Ends a stream that brings nothing for so long, seconds [default: 600]
    #[arg(
        long = "grpc-idle-limit-s",
        env = "SLUICEGATE_GRPC_IDLE_LIMIT_S",
        value_name = "SECONDS"
    )]
    pub idle_limit_s: Option<u64>,

    /// Pings silent connections, seconds between pings [default: 30]
    #[arg(
        long = "grpc-keepalive-s",
        env = "SLUICEGATE_GRPC_KEEPALIVE_S",
        value_name = "SECONDS"
    )]
    pub keepalive_s: Option<u64>,
}

/// Settings under `ingest:`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestOverrides {
    /// Lanes, each with one database connection for loading; 1 to 64 [default: cores, at most 8]
    #[arg(
        long = "ingest-lanes",
        env = "SLUICEGATE_INGEST_LANES",
        value_name = "N"
    )]
    pub lanes: Option<usize>,

    /// How long a lane waits for company before it loads, milliseconds; 0 to 10000 [default: 2]
    #[arg(
        long = "ingest-linger-ms",
        env = "SLUICEGATE_INGEST_LINGER_MS",
        value_name = "MS"
    )]
    pub linger_ms: Option<u64>,

    /// Readings of one batch at the most; 1 to 4000000 [default: 250000]
    #[arg(
        long = "ingest-max-batch-rows",
        env = "SLUICEGATE_INGEST_MAX_BATCH_ROWS",
        value_name = "ROWS"
    )]
    pub max_batch_rows: Option<usize>,

    /// Memory for readings in flight, bytes; beyond it producers are slowed; from 1048576 [default: 67108864]
    #[arg(
        long = "ingest-budget-bytes",
        env = "SLUICEGATE_INGEST_BUDGET_BYTES",
        value_name = "BYTES"
    )]
    pub budget_bytes: Option<u32>,

    /// Memory for the series dictionaries of open streams, bytes; from 1048576 [default: 33554432]
    #[arg(
        long = "ingest-dictionary-bytes",
        env = "SLUICEGATE_INGEST_DICTIONARY_BYTES",
        value_name = "BYTES"
    )]
    pub dictionary_bytes: Option<usize>,

    /// How long a unary or batch call may wait for its commit, milliseconds [default: 30000]
    #[arg(
        long = "ingest-commit-deadline-ms",
        env = "SLUICEGATE_INGEST_COMMIT_DEADLINE_MS",
        value_name = "MS"
    )]
    pub commit_deadline_ms: Option<u64>,
}

/// Settings under `rest:`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestOverrides {
    /// Origins whose pages may use REST, as in https://dash.example, or * for all; separated by commas [default: none]
    #[arg(
        long = "rest-cors-origins",
        env = "SLUICEGATE_REST_CORS_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Option<Vec<String>>,
}

/// Settings under `partitions:`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartitionOverrides {
    /// Whether to make partitions ahead and drop old ones; not on the layout seed, which has none [default: true]
    #[arg(
        long = "partitions-enabled",
        env = "SLUICEGATE_PARTITIONS_ENABLED",
        value_name = "BOOL"
    )]
    pub enabled: Option<bool>,

    /// Time that one partition holds: auto, or whole minutes such as 15m, 1h or 1d; for new partitions [default: auto]
    #[arg(
        long = "partitions-width",
        env = "SLUICEGATE_PARTITIONS_WIDTH",
        value_name = "auto|TIME"
    )]
    pub width: Option<WidthSetting>,

    /// Share of the InnoDB buffer pool that the newest partition may take, for the width auto [default: 0.25]
    #[arg(
        long = "partitions-buffer-pool-share",
        env = "SLUICEGATE_PARTITIONS_BUFFER_POOL_SHARE",
        value_name = "SHARE"
    )]
    pub buffer_pool_share: Option<f64>,

    /// Drops partitions that are older, such as 30d; none keeps all; not on the layout seed [default: none]
    #[arg(
        long = "partitions-retention",
        env = "SLUICEGATE_PARTITIONS_RETENTION",
        value_name = "none|TIME"
    )]
    pub retention: Option<Retention>,

    /// Pause between looks at the partitions, seconds; 1 to 60 [default: 10]
    #[arg(
        long = "partitions-interval-s",
        env = "SLUICEGATE_PARTITIONS_INTERVAL_S",
        value_name = "SECONDS"
    )]
    pub interval_s: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Which database is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    Url(String),
    Embedded {
        data_dir: PathBuf,
        binary: Option<PathBuf>,
    },
}

/// The configuration in effect.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    #[serde(skip)]
    pub database: Option<Database>,
    /// Only for print; the password is masked.
    database_url: Option<String>,
    embedded_db: Option<PathBuf>,
    embedded_db_bin: Option<PathBuf>,
    pub layout: Layout,
    pub migrate: bool,
    pub instance: String,
    pub connect_deadline_s: u64,
    pub grpc_addr: SocketAddr,
    pub rest_addr: SocketAddr,
    pub ready_file: Option<PathBuf>,
    pub shutdown_deadline_s: u64,
    pub log: String,
    pub log_format: LogFormat,
    pub grpc: GrpcConfig,
    pub ingest: IngestConfig,
    pub rest: RestConfig,
    pub partitions: PartitionConfig,
}

#[derive(Clone, Debug, Serialize)]
pub struct GrpcConfig {
    pub max_message_bytes: usize,
    pub max_concurrent_calls: u32,
    pub idle_limit_s: u64,
    pub keepalive_s: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct RestConfig {
    /// Empty: none but pages of the service itself.
    pub cors_origins: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct IngestConfig {
    pub lanes: usize,
    pub linger_ms: u64,
    pub max_batch_rows: usize,
    pub budget_bytes: u32,
    pub dictionary_bytes: usize,
    pub commit_deadline_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct PartitionConfig {
    pub enabled: bool,
    pub width: WidthSetting,
    pub buffer_pool_share: f64,
    pub retention: Retention,
    pub interval_s: u64,
}

impl Config {
    /// Puts the sources together. `given` holds flags and environment; clap lets flags win.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown or a value is out of range.
    pub fn resolve(given: Settings, file: Option<&Path>) -> Result<Self, ConfigError> {
        refuse_unknown_variables(std::env::vars().map(|(name, _)| name))?;
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
        let (grpc, file_grpc) = (given.grpc, file.grpc);
        let (ingest, file_ingest) = (given.ingest, file.ingest);
        let (partitions, file_partitions) = (given.partitions, file.partitions);
        Ok(Self {
            database,
            database_url: url.as_deref().map(mask_password),
            embedded_db: embedded,
            embedded_db_bin: binary,
            layout: given.layout.or(file.layout).unwrap_or_default(),
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
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            ready_file: given.ready_file.or(file.ready_file),
            shutdown_deadline_s: given
                .shutdown_deadline_s
                .or(file.shutdown_deadline_s)
                .unwrap_or(30),
            log: given.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: given.log_format.or(file.log_format).unwrap_or_default(),
            grpc: GrpcConfig {
                max_message_bytes: grpc
                    .max_message_bytes
                    .or(file_grpc.max_message_bytes)
                    .unwrap_or(4 << 20),
                max_concurrent_calls: grpc
                    .max_concurrent_calls
                    .or(file_grpc.max_concurrent_calls)
                    .unwrap_or(1024),
                idle_limit_s: grpc.idle_limit_s.or(file_grpc.idle_limit_s).unwrap_or(600),
                keepalive_s: grpc.keepalive_s.or(file_grpc.keepalive_s).unwrap_or(30),
            },
            ingest: IngestConfig {
                lanes: ingest
                    .lanes
                    .or(file_ingest.lanes)
                    .unwrap_or_else(default_lanes),
                linger_ms: ingest.linger_ms.or(file_ingest.linger_ms).unwrap_or(2),
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
                commit_deadline_ms: ingest
                    .commit_deadline_ms
                    .or(file_ingest.commit_deadline_ms)
                    .unwrap_or(30_000),
            },
            rest: RestConfig {
                cors_origins: given
                    .rest
                    .cors_origins
                    .or(file.rest.cors_origins)
                    .unwrap_or_default(),
            },
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
                interval_s: partitions
                    .interval_s
                    .or(file_partitions.interval_s)
                    .unwrap_or(10),
            },
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let within = |key, value: u64, from: u64, to: u64, must| {
            if (from..=to).contains(&value) {
                return Ok(());
            }
            Err(ConfigError::Value {
                key,
                value: value.to_string(),
                must,
            })
        };
        let (grpc, ingest) = (&self.grpc, &self.ingest);
        within(
            "grpc.max_message_bytes",
            grpc.max_message_bytes as u64,
            1 << 16,
            64 << 20,
            "65536 to 67108864",
        )?;
        within(
            "grpc.max_concurrent_calls",
            grpc.max_concurrent_calls.into(),
            1,
            1 << 20,
            "1 to 1048576",
        )?;
        within(
            "grpc.idle_limit_s",
            grpc.idle_limit_s,
            1,
            86_400,
            "1 to 86400",
        )?;
        within(
            "grpc.keepalive_s",
            grpc.keepalive_s,
            1,
            86_400,
            "1 to 86400",
        )?;
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
            "ingest.commit_deadline_ms",
            ingest.commit_deadline_ms,
            1,
            3_600_000,
            "1 to 3600000",
        )?;
        let origin_fits = |origin: &String| {
            let host = origin
                .split_once("://")
                .map(|(scheme, host)| (scheme, host.parse()));
            let fits = matches!(host, Some(("http" | "https", Ok(Authority { .. }))));
            origin == "*" || fits
        };
        if let Some(origin) = self.rest.cors_origins.iter().find(|it| !origin_fits(it)) {
            return Err(ConfigError::Value {
                key: "rest.cors_origins",
                value: format!("{origin:?}"),
                must: "http://HOST[:PORT], https://HOST[:PORT] or *, each",
            });
        }
        self.partitions.check()?;
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

    /// How to reach the database at `url`.
    #[must_use]
    pub fn database_settings(&self, url: String) -> DatabaseSettings {
        DatabaseSettings {
            url,
            connect_deadline: Duration::from_secs(self.connect_deadline_s),
            instance: self.instance.clone(),
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
        match (self.retention, self.width) {
            (Retention(Some(_)), _) if !self.enabled => {
                let must = "none while partitions.enabled is false";
                refused("partitions.retention", self.retention.to_string(), must)
            }
            (Retention(Some(retention)), WidthSetting::Fixed(width)) if retention < width => {
                let must = "at least partitions.width";
                refused("partitions.retention", retention.to_string(), must)
            }
            (Retention(Some(retention)), _) if retention < TimeSpan::MINUTE => {
                let must = "at least 1m";
                refused("partitions.retention", retention.to_string(), must)
            }
            _ => Ok(()),
        }
    }

    /// What to do with partitions; None to leave them alone.
    #[must_use]
    pub fn settings(&self) -> Option<PartitionSettings> {
        self.enabled.then_some(PartitionSettings {
            width: self.width,
            buffer_pool_share: self.buffer_pool_share,
            retention: self.retention.0,
            interval: Duration::from_secs(self.interval_s),
        })
    }
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let failed = |reason: String| ConfigError::File {
        path: path.to_owned(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    if text.trim().is_empty() {
        return Ok(Settings::default());
    }
    // The parser's messages name key, line and column.
    serde_norway::from_str(&text).map_err(|error| failed(error.to_string()))
}

/// A misspelt variable would silently leave the default in force.
fn refuse_unknown_variables(names: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    let command = Settings::augment_args(clap::Command::new("settings"));
    let known: Vec<_> = command
        .get_arguments()
        .filter_map(clap::Arg::get_env)
        .collect();
    for name in names {
        let ours = name.starts_with("SLUICEGATE_") && name != "SLUICEGATE_CONFIG";
        // What scripts and tests of this project use is not the service's to judge.
        let others = ["SLUICEGATE_TEST_", "SLUICEGATE_CACHE_"];
        let foreign = others.iter().any(|prefix| name.starts_with(prefix));
        if ours && !foreign && !known.iter().any(|&variable| variable == name.as_str()) {
            return Err(ConfigError::UnknownVariable(name));
        }
    }
    Ok(())
}

fn default_lanes() -> usize {
    std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(8)
}

fn random_instance() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// `mysql://user:secret@host/db` as `mysql://user:***@host/db`.
#[must_use]
pub fn mask_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_end].rfind('@') else {
        return url.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => url.to_owned(),
    }
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
    fn an_unknown_variable_is_refused() {
        let names = |name: &str| std::iter::once(name.to_owned());
        assert!(refuse_unknown_variables(names("SLUICEGATE_INGEST_LANES")).is_ok());
        assert!(refuse_unknown_variables(names("SLUICEGATE_INGEST_LAINS")).is_err());
        assert!(refuse_unknown_variables(names("PATH")).is_ok());
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
            "enabled: true\nwidth: 15m\nbuffer_pool_share: 0.25\nretention: 30d\ninterval_s: 10\n"
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
    fn a_password_is_masked() {
        assert_eq!(
            mask_password("mysql://u:s@e:c@h:1/d?x=a:b@c"),
            "mysql://u:***@h:1/d?x=a:b@c"
        );
        assert_eq!(mask_password("mysql://u@h/d"), "mysql://u@h/d");
    }
}

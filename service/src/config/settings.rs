//! Every setting, by its name on the command line, in the environment and in the file.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use serde::Deserialize;

use super::{
    AuditOverrides, AuthOverrides, CacheOverrides, DatabaseOverrides, GrpcOverrides,
    ReadyOverrides, RestOverrides, SourceSettings, TelemetryOverrides, TlsOverrides,
};
use crate::{
    model::{AbsentValue, OrNone, PointInTime, TimeSpan, rollup::RollupLevels},
    repository::mysql::{ColumnNames, Layout, TableName},
    telemetry::LogFormat,
    usecase::manage::partitions::{Retention, WidthSetting},
};

/// Every setting, as given by one source; what is absent is left to the next.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the readings go: mysql://user:password@host:3306/database. ?ssl-mode=verify-identity behind it demands TLS and
    /// proves the server; other modes are disabled, preferred (the default), required and verify-ca
    #[arg(
        long,
        env = "SLUICEGATE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Option<String>,

    /// Another address of the same database, for questions and changes of management: an account that may change readings,
    /// so that the one of --database-url need not [default: as --database-url]
    #[arg(
        long,
        env = "SLUICEGATE_MANAGE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub manage_database_url: Option<String>,

    /// Runs a private MariaDB or MySQL server as a child; data stays in DIR between runs [without DIR:
    /// sluicegate-data in the current folder]
    #[arg(long, env = "SLUICEGATE_EMBEDDED_DB", value_name = "DIR", num_args = 0..=1,
          require_equals = true, default_missing_value = "sluicegate-data")]
    pub embedded_db: Option<PathBuf>,

    /// The server program for --embedded-db [default: mariadbd or mysqld, as found on PATH]
    #[arg(long, env = "SLUICEGATE_EMBEDDED_DB_BIN", value_name = "PATH")]
    pub embedded_db_bin: Option<PathBuf>,

    /// Layout of sensor_readings, used when the table is created [default: partitioned]
    #[arg(long, env = "SLUICEGATE_LAYOUT", value_enum)]
    pub layout: Option<Layout>,

    /// A table of your own that readings go to, in the place of sensor_readings: one that is there, and fits; it is never made,
    /// and nothing of it is altered but its partitions by time, if it has any (partitions.enabled) [default: sensor_readings]
    #[arg(long, env = "SLUICEGATE_TABLE", value_name = "NAME")]
    pub table: Option<TableName>,

    /// Which of its columns stand for id, sensor_value, sensor_type, id1, id2 and ts, as in sensor_value=temp,ts=measured_at;
    /// others are left alone, if they have defaults or may be NULL [default: those of the same names]
    #[arg(long, env = "SLUICEGATE_COLUMNS", value_name = "COLUMN=NAME,...")]
    pub columns: Option<ColumnNames>,

    /// Whether to create missing tables at start [default: true]
    #[arg(long, env = "SLUICEGATE_MIGRATE", value_name = "BOOL")]
    pub migrate: Option<bool>,

    /// Name of this instance, unique among those that share a database; each name has a row for each lane in
    /// ingest_streams, which stays for 7 days, so a restart had better keep it [default: random]
    #[arg(long, env = "SLUICEGATE_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,

    /// How long to wait at start for a database that does not answer, seconds; 0 to 86400 [default: 60]
    #[arg(long, env = "SLUICEGATE_CONNECT_DEADLINE_S", value_name = "SECONDS")]
    pub connect_deadline_s: Option<u64>,

    /// Where gRPC listens; port 0 takes a free one [default: 127.0.0.1:50051]
    #[arg(long, env = "SLUICEGATE_GRPC_ADDR", value_name = "HOST:PORT")]
    pub grpc_addr: Option<SocketAddr>,

    /// Where REST listens; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "SLUICEGATE_REST_ADDR", value_name = "HOST:PORT")]
    pub rest_addr: Option<SocketAddr>,

    /// Written as JSON with the addresses in use once the service is ready, and removed when it starts and when it stops
    #[arg(long, env = "SLUICEGATE_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// How long a shutdown may take to commit what is in flight, seconds; an embedded database then has as long again to end
    /// before it is killed [default: 30]
    #[arg(long, env = "SLUICEGATE_SHUTDOWN_DEADLINE_S", value_name = "SECONDS")]
    pub shutdown_deadline_s: Option<u64>,

    /// What to log: error, warn, info, debug, trace, or per module as in "info,sluicegate=debug" [default: info]
    #[arg(long, env = "SLUICEGATE_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How to log [default: text]
    #[arg(long, env = "SLUICEGATE_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// Whether to listen where others than this host can reach the service although it has no TLS or asks nobody who they are
    /// [default: false]
    #[arg(
        long,
        env = "SLUICEGATE_INSECURE",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub insecure: Option<bool>,

    #[command(flatten)]
    pub database: DatabaseOverrides,

    #[command(flatten)]
    pub grpc: GrpcOverrides,

    #[command(flatten)]
    pub ingest: IngestOverrides,

    #[command(flatten)]
    pub rest: RestOverrides,

    #[command(flatten)]
    pub partitions: PartitionOverrides,

    #[command(flatten)]
    pub series: SeriesOverrides,

    #[command(flatten)]
    pub quarantine: QuarantineOverrides,

    #[command(flatten)]
    pub cache: CacheOverrides,

    #[command(flatten)]
    pub ready: ReadyOverrides,

    #[command(flatten)]
    pub telemetry: TelemetryOverrides,

    #[command(flatten)]
    pub tls: TlsOverrides,

    #[command(flatten)]
    pub auth: AuthOverrides,

    #[command(flatten)]
    pub audit: AuditOverrides,

    /// Figures of each series by buckets of time, kept beside the readings, and for longer where that is asked for: EVERY:KEEP,... such
    /// as 1m:30d,1h:5y; EVERY is a part of a day, 1m to 1d, and a multiple of the one before; on the layout series alone [default: none]
    #[arg(long, env = "SLUICEGATE_ROLLUPS", value_name = "EVERY:KEEP,...")]
    pub rollups: Option<RollupLevels>,

    /// What readings are fetched from. In the file alone.
    #[arg(skip)]
    pub sources: Option<Vec<SourceSettings>>,
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

    /// How long a lane waits for company before it loads, milliseconds; 0 to 10000 [default: 1]
    #[arg(
        long = "ingest-linger-ms",
        env = "SLUICEGATE_INGEST_LINGER_MS",
        value_name = "MS"
    )]
    pub linger_ms: Option<u64>,

    /// Readings from which on a batch takes no further message, and messages are never divided; 1 to 4000000
    /// [default: 250000]
    #[arg(
        long = "ingest-max-batch-rows",
        env = "SLUICEGATE_INGEST_MAX_BATCH_ROWS",
        value_name = "ROWS"
    )]
    pub max_batch_rows: Option<usize>,

    /// Memory for readings in flight, bytes; beyond it producers are slowed; 1048576 to 2147483648 [default: 67108864]
    #[arg(
        long = "ingest-budget-bytes",
        env = "SLUICEGATE_INGEST_BUDGET_BYTES",
        value_name = "BYTES"
    )]
    pub budget_bytes: Option<u32>,

    /// Memory for the series dictionaries of open streams, bytes; 1048576 to 4294967296 [default: 33554432]
    #[arg(
        long = "ingest-dictionary-bytes",
        env = "SLUICEGATE_INGEST_DICTIONARY_BYTES",
        value_name = "BYTES"
    )]
    pub dictionary_bytes: Option<usize>,

    /// Memory for the numbers of series that all lanes remember together, on the layout series, bytes; 1048576 to 4294967296
    /// [default: 67108864]
    #[arg(
        long = "ingest-series-cache-bytes",
        env = "SLUICEGATE_INGEST_SERIES_CACHE_BYTES",
        value_name = "BYTES"
    )]
    pub series_cache_bytes: Option<usize>,

    /// How long a unary or batch call may wait for its commit, and a stream for its position at the beginning,
    /// milliseconds; 1 to 3600000 [default: 30000]
    #[arg(
        long = "ingest-commit-deadline-ms",
        env = "SLUICEGATE_INGEST_COMMIT_DEADLINE_MS",
        value_name = "MS"
    )]
    pub commit_deadline_ms: Option<u64>,

    /// Rejects readings of an earlier time: a date, an instant such as 2000-01-01T00:00:00Z, or none
    /// [default: 1971-01-01]
    #[arg(
        long = "ingest-earliest",
        env = "SLUICEGATE_INGEST_EARLIEST",
        value_name = "none|DATE"
    )]
    pub earliest: Option<OrNone<PointInTime>>,

    /// Rejects readings that are further ahead of now, such as 1h; none takes all [default: 1d]
    #[arg(
        long = "ingest-max-ahead",
        env = "SLUICEGATE_INGEST_MAX_AHEAD",
        value_name = "none|TIME"
    )]
    pub max_ahead: Option<OrNone<TimeSpan>>,

    /// What a sensor_value or a timestamp_us that is absent is taken for; zero serves clients of the contract that left
    /// a 0 out [default: reject]
    #[arg(
        long = "ingest-absent-value",
        env = "SLUICEGATE_INGEST_ABSENT_VALUE",
        value_enum
    )]
    pub absent_value: Option<AbsentValue>,
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

    /// Share of the InnoDB buffer pool that the newest partition may take, for the width auto; 0.01 to 1
    /// [default: 0.25]
    #[arg(
        long = "partitions-buffer-pool-share",
        env = "SLUICEGATE_PARTITIONS_BUFFER_POOL_SHARE",
        value_name = "SHARE"
    )]
    pub buffer_pool_share: Option<f64>,

    /// Drops partitions that are older, such as 30d, and rejects readings that are; none keeps all; not on the layout
    /// seed [default: none]
    #[arg(
        long = "partitions-retention",
        env = "SLUICEGATE_PARTITIONS_RETENTION",
        value_name = "none|TIME"
    )]
    pub retention: Option<Retention>,

    /// Share of the time that altering the table may take beside live ingestion, which waits meanwhile; 0.0001 to 1
    /// [default: 0.01]
    #[arg(
        long = "partitions-alter-share",
        env = "SLUICEGATE_PARTITIONS_ALTER_SHARE",
        value_name = "SHARE"
    )]
    pub alter_share: Option<f64>,

    /// Pause between looks at the partitions, seconds; 1 to 60 [default: 10]
    #[arg(
        long = "partitions-interval-s",
        env = "SLUICEGATE_PARTITIONS_INTERVAL_S",
        value_name = "SECONDS"
    )]
    pub interval_s: Option<u64>,
}

/// Settings under `series:`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeriesOverrides {
    /// Series that the table holds at most, on the layout series: readings of others are rejected; 1 to 4294967295
    /// [default: 10000000]
    #[arg(
        id = "series_max",
        long = "series-max",
        env = "SLUICEGATE_SERIES_MAX",
        value_name = "COUNT"
    )]
    pub max: Option<u32>,

    /// New series that this instance lets in from each principal within an hour, on the layout series; 1 to 4294967295
    /// [default: 1000000]
    #[arg(
        id = "series_new_per_hour",
        long = "series-new-per-hour",
        env = "SLUICEGATE_SERIES_NEW_PER_HOUR",
        value_name = "COUNT"
    )]
    pub new_per_hour: Option<u32>,
}

/// Settings under `quarantine:`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuarantineOverrides {
    /// Rejected readings that are kept, the newest ones; 1000 to 1000000000 [default: 1000000]
    #[arg(
        id = "quarantine_max_rows",
        long = "quarantine-max-rows",
        env = "SLUICEGATE_QUARANTINE_MAX_ROWS",
        value_name = "ROWS"
    )]
    pub max_rows: Option<u64>,

    /// How long rejected readings are kept, such as 30d; none keeps them at any age [default: 90d]
    #[arg(
        id = "quarantine_retention",
        long = "quarantine-retention",
        env = "SLUICEGATE_QUARANTINE_RETENTION",
        value_name = "none|TIME"
    )]
    pub retention: Option<Retention>,
}

//! Settings under `rest:`.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use serde::{Deserialize, Serialize};
use sluicegate_decode::MappingSettings;
use sluicegate_transport::Lifetime;

use crate::usecase::manage::ManageSettings;

/// Settings under `rest:`, as given by one source.
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

    /// Names that REST answers to besides addresses, localhost and the name of this host, as in gate.example or *.example, or *
    /// for all; separated by commas. No page gets in under a name that its own server points here [default: none]
    #[arg(
        long = "rest-allowed-hosts",
        env = "SLUICEGATE_REST_ALLOWED_HOSTS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allowed_hosts: Option<Vec<String>>,

    /// Connections at once; 1 to 65536. When all are taken, those that have been without a request for longest are closed for
    /// new ones, and while all have one, new ones wait [default: 400]
    #[arg(
        id = "rest_max_connections",
        long = "rest-max-connections",
        env = "SLUICEGATE_REST_MAX_CONNECTIONS",
        value_name = "N"
    )]
    pub max_connections: Option<usize>,

    /// Connections at once from one address, in IPv6 from one /64; those beyond are closed; 1 to 65536. Without it as many as
    /// come: behind a proxy or a NAT all have one address [default: none]
    #[arg(
        id = "rest_max_connections_per_address",
        long = "rest-max-connections-per-address",
        env = "SLUICEGATE_REST_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N"
    )]
    pub max_connections_per_address: Option<usize>,

    /// Longest life of a connection, seconds; 1 to 31536000, or up to a tenth less. Then its client is told to open another
    /// one, which meets balancers and certificates anew [default: none]
    #[arg(
        id = "rest_max_connection_age_s",
        long = "rest-max-connection-age-s",
        env = "SLUICEGATE_REST_MAX_CONNECTION_AGE_S",
        value_name = "SECONDS"
    )]
    pub max_connection_age_s: Option<u64>,

    /// How long requests on a connection that has reached its age may take to be answered, seconds; 0 to 86400
    /// [default: 30]
    #[arg(
        id = "rest_connection_grace_s",
        long = "rest-connection-grace-s",
        env = "SLUICEGATE_REST_CONNECTION_GRACE_S",
        value_name = "SECONDS"
    )]
    pub connection_grace_s: Option<u64>,

    /// Cuts off a client that takes nothing of its answer for so long, seconds; 1 to 3600 [default: 60]
    #[arg(
        long = "rest-write-deadline-s",
        env = "SLUICEGATE_REST_WRITE_DEADLINE_S",
        value_name = "SECONDS"
    )]
    pub write_deadline_s: Option<u64>,

    /// Headers of a request with its address, bytes, in HTTP/2 with 32 for each beside its name and value; 8192 to 1048576. A
    /// request with more is refused, in HTTP/1 at the latest one with twice as much [default: 65536]
    #[arg(
        id = "rest_max_header_bytes",
        long = "rest-max-header-bytes",
        env = "SLUICEGATE_REST_MAX_HEADER_BYTES",
        value_name = "BYTES"
    )]
    pub max_header_bytes: Option<u32>,

    /// Ends a statement of a query, an export or a change that waits for a locked table for so long, or that the database works
    /// on for so long, in MySQL but for changes; seconds, 1 to 3600 [default: 60]
    #[arg(
        long = "rest-statement-limit-s",
        env = "SLUICEGATE_REST_STATEMENT_LIMIT_S",
        value_name = "SECONDS"
    )]
    pub statement_limit_s: Option<u32>,

    /// Memory for pages that are made or wait for their clients, bytes; from 16777216 [default: 33554432]
    #[arg(
        long = "rest-answer-bytes",
        env = "SLUICEGATE_REST_ANSWER_BYTES",
        value_name = "BYTES"
    )]
    pub answer_bytes: Option<u32>,

    /// Memory for those who watch readings as they come (/live, WatchReadings), bytes: 16 KiB for each, and 1 KiB for each series; from 1048576
    /// [default: 33554432]
    #[arg(
        long = "rest-live-bytes",
        env = "SLUICEGATE_REST_LIVE_BYTES",
        value_name = "BYTES"
    )]
    pub live_bytes: Option<u32>,

    /// Memory for exports as Parquet, bytes: 16 MiB for each; from 16777216 [default: 67108864]
    #[arg(
        long = "rest-parquet-bytes",
        env = "SLUICEGATE_REST_PARQUET_BYTES",
        value_name = "BYTES"
    )]
    pub parquet_bytes: Option<u32>,

    /// Exports at once; 1 to 1024 [default: 16]
    #[arg(
        long = "rest-max-exports",
        env = "SLUICEGATE_REST_MAX_EXPORTS",
        value_name = "N"
    )]
    pub max_exports: Option<usize>,

    /// Aggregates, counts (dry_run) and pages of one sensor_type at once, each with a database connection; 1 to 64
    /// [default: 4]
    #[arg(
        long = "rest-max-heavy-queries",
        env = "SLUICEGATE_REST_MAX_HEAVY_QUERIES",
        value_name = "N"
    )]
    pub max_heavy_queries: Option<usize>,

    /// Time buckets in the range of an aggregate at the most; from 1 [default: 10000000]
    #[arg(
        long = "rest-max-buckets",
        env = "SLUICEGATE_REST_MAX_BUCKETS",
        value_name = "N"
    )]
    pub max_buckets: Option<u64>,

    /// Readings that the database may expect to read for a page of an aggregate; from 1 [default: 10000000]
    #[arg(
        long = "rest-max-scanned-rows",
        env = "SLUICEGATE_REST_MAX_SCANNED_ROWS",
        value_name = "ROWS"
    )]
    pub max_scanned_rows: Option<u64>,

    /// Requests that bring readings at once; 1 to 1024 [default: 64]
    #[arg(
        long = "rest-max-writes",
        env = "SLUICEGATE_REST_MAX_WRITES",
        value_name = "N"
    )]
    pub max_writes: Option<usize>,

    /// What one request may bring, unpacked, bytes; from 65536 [default: 1073741824]
    #[arg(
        long = "rest-max-write-bytes",
        env = "SLUICEGATE_REST_MAX_WRITE_BYTES",
        value_name = "BYTES"
    )]
    pub max_write_bytes: Option<u64>,

    /// Longest line of what a request brings, bytes; 1024 to 1048576. A longer one is rejected, and hurts no other
    /// [default: 65536]
    #[arg(
        long = "rest-max-line-bytes",
        env = "SLUICEGATE_REST_MAX_LINE_BYTES",
        value_name = "BYTES"
    )]
    pub max_line_bytes: Option<usize>,

    /// Largest document of JSON that a request brings, bytes, and no more than a quarter of ingest.budget_bytes; 65536 to
    /// 67108864 [default: 4194304]
    #[arg(
        long = "rest-max-document-bytes",
        env = "SLUICEGATE_REST_MAX_DOCUMENT_BYTES",
        value_name = "BYTES"
    )]
    pub max_document_bytes: Option<usize>,

    /// Ends a request that brings no readings for so long, or not to the end of a line, seconds; 1 to 3600. What came before
    /// is stored as far as it was good [default: 30]
    #[arg(
        long = "rest-write-idle-limit-s",
        env = "SLUICEGATE_REST_WRITE_IDLE_LIMIT_S",
        value_name = "SECONDS"
    )]
    pub write_idle_limit_s: Option<u64>,

    /// How requests are read: by format where the name is one, and by `?mapping=NAME` otherwise. In the file alone.
    #[arg(skip)]
    pub mappings: Option<BTreeMap<String, MappingSettings>>,
}

/// The settings in effect.
#[derive(Clone, Debug, Serialize)]
pub struct RestConfig {
    /// Empty: none but pages of the service itself.
    pub cors_origins: Vec<String>,
    /// Empty: addresses, localhost and the name of this host.
    pub allowed_hosts: Vec<String>,
    pub max_connections: usize,
    /// None: as many as come.
    pub max_connections_per_address: Option<usize>,
    /// None: for as long as both sides keep them.
    pub max_connection_age_s: Option<u64>,
    pub connection_grace_s: u64,
    pub write_deadline_s: u64,
    pub max_header_bytes: u32,
    pub statement_limit_s: u32,
    pub answer_bytes: u32,
    pub live_bytes: u32,
    pub parquet_bytes: u32,
    pub max_exports: usize,
    pub max_heavy_queries: usize,
    pub max_buckets: u64,
    pub max_scanned_rows: u64,
    pub max_writes: usize,
    pub max_write_bytes: u64,
    pub max_line_bytes: usize,
    pub max_document_bytes: usize,
    pub write_idle_limit_s: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mappings: BTreeMap<String, MappingSettings>,
}

impl RestConfig {
    pub(super) fn merge(given: RestOverrides, file: RestOverrides) -> Self {
        Self {
            cors_origins: given.cors_origins.or(file.cors_origins).unwrap_or_default(),
            allowed_hosts: given
                .allowed_hosts
                .or(file.allowed_hosts)
                .unwrap_or_default(),
            max_connections: given
                .max_connections
                .or(file.max_connections)
                .unwrap_or(400),
            max_connections_per_address: given
                .max_connections_per_address
                .or(file.max_connections_per_address),
            max_connection_age_s: given.max_connection_age_s.or(file.max_connection_age_s),
            connection_grace_s: given
                .connection_grace_s
                .or(file.connection_grace_s)
                .unwrap_or(30),
            write_deadline_s: given
                .write_deadline_s
                .or(file.write_deadline_s)
                .unwrap_or(60),
            max_header_bytes: given
                .max_header_bytes
                .or(file.max_header_bytes)
                .unwrap_or(64 << 10),
            statement_limit_s: given
                .statement_limit_s
                .or(file.statement_limit_s)
                .unwrap_or(60),
            answer_bytes: given.answer_bytes.or(file.answer_bytes).unwrap_or(32 << 20),
            live_bytes: given.live_bytes.or(file.live_bytes).unwrap_or(32 << 20),
            parquet_bytes: given
                .parquet_bytes
                .or(file.parquet_bytes)
                .unwrap_or(64 << 20),
            max_exports: given.max_exports.or(file.max_exports).unwrap_or(16),
            max_heavy_queries: given
                .max_heavy_queries
                .or(file.max_heavy_queries)
                .unwrap_or(4),
            max_buckets: given.max_buckets.or(file.max_buckets).unwrap_or(10_000_000),
            max_scanned_rows: given
                .max_scanned_rows
                .or(file.max_scanned_rows)
                .unwrap_or(10_000_000),
            max_writes: given.max_writes.or(file.max_writes).unwrap_or(64),
            max_write_bytes: given
                .max_write_bytes
                .or(file.max_write_bytes)
                .unwrap_or(1 << 30),
            max_line_bytes: given
                .max_line_bytes
                .or(file.max_line_bytes)
                .unwrap_or(64 << 10),
            max_document_bytes: given
                .max_document_bytes
                .or(file.max_document_bytes)
                .unwrap_or(4 << 20),
            write_idle_limit_s: given
                .write_idle_limit_s
                .or(file.write_idle_limit_s)
                .unwrap_or(30),
            mappings: given.mappings.or(file.mappings).unwrap_or_default(),
        }
    }

    /// How much management does at once.
    #[must_use]
    pub fn manage_settings(&self) -> ManageSettings {
        ManageSettings {
            max_exports: self.max_exports,
            max_heavy_queries: self.max_heavy_queries,
            max_buckets: self.max_buckets,
            max_scanned_rows: self.max_scanned_rows,
        }
    }

    /// How long connections live.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        Lifetime {
            max_age: self.max_connection_age_s.map(Duration::from_secs),
            grace: Duration::from_secs(self.connection_grace_s),
        }
    }

    /// How long a client may take nothing of its answer.
    #[must_use]
    pub fn write_deadline(&self) -> Duration {
        Duration::from_secs(self.write_deadline_s)
    }
}

//! Ingestion through its front door, against real MariaDB and real MySQL. `common/engines.rs` says which those are.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod common;

#[path = "../common/stranger.rs"]
mod stranger;

#[path = "../common/certificates.rs"]
mod certificates;

#[path = "../common/fake_mysql.rs"]
mod fake_mysql;

mod access;
mod accounts;
mod backpressure;
mod bad_input;
mod bad_readings;
mod clusters;
mod config_errors;
mod core_dumps;
mod crashes;
mod crowds;
mod database_tls;
#[cfg(feature = "failpoints")]
mod failpoints;
mod fake_database;
mod forgotten_lanes;
mod gone_instances;
mod grants;
mod layouts;
mod logs;
mod lost_connections;
mod memory;
mod moving;
mod neighbours;
mod odd_calls;
mod offenders;
mod own_table;
mod positions;
mod producers;
mod quarantine;
mod quotas;
mod readiness;
mod series;
mod series_bounds;
mod series_dictionary;
mod server_limits;
mod server_settings;
mod service_manager;
mod shutdown;
mod start;
mod strangers;
mod streams;
#[cfg(feature = "failpoints")]
mod supervision;
mod table_changes;
mod timestamps;
mod tls;
mod traces;
mod values;

//! The REST API through its front door, against real MariaDB and real MySQL. `common/engines.rs` says which those are.

#[path = "../common/mod.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared with tests that need more of it"
)]
mod common;

mod api;
mod browser;
mod sample;

mod absent;
mod access;
mod analysis;
mod audit;
mod cache_kills;
mod changes;
mod collisions;
mod commands;
mod document;
mod errors;
mod export;
mod headers;
mod heavy_queries;
mod import;
mod influx;
mod intake;
mod intake_limits;
mod latest_cache;
mod ledger;
mod live;
mod metrics;
mod moving;
mod names;
mod page;
mod pages;
mod paging;
mod plans;
mod quarantine;
mod query_strings;
mod readiness;
mod rollup_kills;
mod rollups;
mod same_answers;
mod series;
mod stalled_clients;
mod swagger;
mod tables;
mod told_tags;
mod watching;
mod workers;

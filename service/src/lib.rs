//! Sluicegate: streaming-first sensor ingestion for MySQL.

pub mod app;
pub mod audit;
pub mod auth;
pub mod build_info;
pub mod certs;
pub mod cli;
pub mod columnar;
pub mod config;
mod contract;
pub mod embedded_db;
pub mod failpoint;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod healthcheck;
pub mod ledger;
pub mod model;
pub mod ready_file;
pub mod remote;
pub mod repository;
pub mod router;
pub mod shutdown;
pub mod source;
pub mod supervisor;
pub mod telemetry;
pub mod usecase;

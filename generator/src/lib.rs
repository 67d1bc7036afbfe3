//! The load generator of Sluicegate as a library: every command is a call that takes options and returns a report.

pub mod access;
pub mod api_token;
pub mod cli;
mod door;
pub mod error;
pub mod export;
mod files;
mod flags;
pub mod fleet;
mod follower;
pub mod forward;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod healthcheck;
mod journal;
mod latency;
mod metrics;
mod pace;
pub mod patterns;
mod progress;
pub mod rejections;
pub mod replay;
pub mod report;
pub mod run;
pub mod serve;
mod tables;
mod trouble;
pub mod verify;
mod waiting;
mod web;
mod workload;

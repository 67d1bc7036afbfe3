//! `sluicegate`: parse, telemetry, run.

use std::process::ExitCode;

use clap::Parser as _;
use sluicegate::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    let _failpoints = sluicegate::failpoint::setup();
    match cli::run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sluicegate: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

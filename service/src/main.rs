//! `sluicegate`: parse, telemetry, run.

use std::process::ExitCode;

use clap::Parser as _;
use sluicegate::{
    app,
    cli::{self, Cli},
};

#[tokio::main]
async fn main() -> ExitCode {
    let _failpoints = sluicegate::failpoint::setup();
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() {
            app::tell_why(error.to_string().lines().next().unwrap_or_default());
        }
        error.exit()
    });
    match cli::run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let sentence = failure.to_string();
            eprintln!("sluicegate: {sentence}");
            app::tell_why(&sentence);
            ExitCode::from(failure.exit_code())
        }
    }
}

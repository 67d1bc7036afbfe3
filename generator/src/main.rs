//! The command line of the generator.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    match sluicegen::cli::dispatch(sluicegen::cli::Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sluicegen: {error}");
            error.exit_code()
        }
    }
}

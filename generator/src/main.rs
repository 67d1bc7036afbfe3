//! The command line of the generator.

use std::process::ExitCode;

use sluicegen::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    sluicegate_transport::core_dumps::turn_off();
    let done = match Cli::read() {
        Ok(cli) => cli::dispatch(cli).await,
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error| {
        eprintln!("sluicegen: {error}");
        error.exit_code()
    })
}

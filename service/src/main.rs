//! `sluicegate`: parse, telemetry, run.

use std::process::ExitCode;

use sluicegate::{
    app,
    cli::{self, Cli},
};

#[tokio::main]
async fn main() -> ExitCode {
    sluicegate_transport::core_dumps::turn_off();
    let _failpoints = sluicegate::failpoint::setup();
    let done = match Cli::read() {
        Ok(cli) => cli::run(cli).await,
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let sentence = failure.to_string();
            eprintln!("sluicegate: {sentence}");
            app::tell_why(&sentence);
            ExitCode::from(failure.exit_code())
        }
    }
}

//! The command line: each command is one call into the library.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args as _, CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;

use crate::{
    error::Error,
    export::{self, ExportOptions},
    fleet::{self, FleetOptions},
    forward::{self, ForwardOptions},
    healthcheck::{self, HealthcheckOptions},
    replay::{self, ReplayOptions},
    run::{self, RunOptions},
    serve::{self, ServeOptions},
    verify::{self, VerifyOptions},
};

/// Drives Sluicegate with readings, measures it and checks its books.
#[derive(Debug, Parser)]
#[command(name = "sluicegen", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send generated readings and measure how long they take to become durable.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunOptions>),
    /// Send the readings of a CSV file, all of which is checked before.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Box<ReplayOptions>),
    /// Keep readings in a spool on disk, and send them from there: exactly once, over restarts and weeks without network.
    #[command(after_help = FORWARD_EXAMPLES)]
    Forward(Box<ForwardOptions>),
    /// Serve a generator that is told what to do over REST.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeOptions>),
    /// Drive many generators at once.
    #[command(after_help = FLEET_EXAMPLES, mut_subcommand("up", asks_nobody), mut_subcommand("down", asks_nobody))]
    Fleet(Box<FleetOptions>),
    /// Reconcile the journals of runs with the database: lost, duplicated, altered and unexpected readings.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Box<VerifyOptions>),
    /// Write the readings of a run to files for LOAD DATA, to measure other ways of loading with.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Box<ExportOptions>),
    /// Ask a generator that is served whether it answers, for container engines.
    #[command(after_help = HEALTHCHECK_EXAMPLES)]
    Healthcheck(HealthcheckOptions),
    /// Print a completion script, such as: sluicegen completions bash > /etc/bash_completion.d/sluicegen
    Completions {
        /// The shell to complete for.
        shell: Shell,
    },
    /// Write man pages, one for each command.
    ManPages {
        /// The folder that they go into.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Flags of all commands of a fleet that this one has no use for: its help is without them.
fn asks_nobody(command: clap::Command) -> clap::Command {
    let fleet = FleetOptions::augment_args(clap::Command::new("fleet"));
    let of_others = fleet
        .get_arguments()
        .filter(|arg| ["endpoints", "patience"].contains(&arg.get_id().as_str()))
        .map(|arg| arg.clone().hide(true));
    command.args(of_others.collect::<Vec<_>>())
}

const RUN_EXAMPLES: &str = "\
Examples:
  As fast as the service takes them, for 30 seconds over 4 connections:
    sluicegen run --duration 30s --connections 4
  200,000 readings per second, with the report as JSON:
    sluicegen run --rate 200000 --duration 1m --connections 2 --json
  Single readings from 256 callers:
    sluicegen run --mode unary --concurrency 256 --count 100000
  Weighted types with values of their own, some readings late, sent twice or bad, and a journal to verify with:
    sluicegen run --types temperature:3=normal:20:5,rain=uniform:0:10 --late 0.01 --duplicates 0.001 --bad 0.0001 \\
      --journal run.journal

Exit status: 0 when every reading is accounted for, 1 when not or when the service is away, 2 for wrong flags.";

const FORWARD_EXAMPLES: &str = "\
Examples:
  What Telegraf writes to its standard output, kept in 4 GiB at the most:
    telegraf | sluicegen forward --stream-id edge-7 --spool /var/lib/edge/spool --spool-bytes 4GiB
  A file that is appended to and rotated, each line exactly once:
    sluicegen forward /var/log/readings.ndjson --format ndjson --follow --stream-id edge-7 --spool /var/lib/edge/spool
  What is left in a spool, and nothing else:
    sluicegen forward /dev/null --stream-id edge-7 --spool /var/lib/edge/spool

It ends with its input, once all is stored; SIGTERM ends it at once, and what is not stored stays in the spool.

Exit status: 0 when it ended as it was told to, 1 when the spool or the input cannot be used, or the stream is not as the spool
left it, 2 for wrong flags. What was dropped, rejected or is a bad line is counted, and no failure.";

const SERVE_EXAMPLES: &str = "\
Examples:
  A generator on port 9000 that waits for its start, and its start:
    sluicegen serve --target http://127.0.0.1:50051 --rate 5000
    curl -X POST http://127.0.0.1:9000/api/v1/start
  Twice as fast, at once:
    curl -X POST http://127.0.0.1:9000/api/v1/frequency -d '{\"rate\":10000}'

The API is described at http://127.0.0.1:9000/swagger/swagger-ui/index.html.

Exit status: 0 when it was told to end, 1 when it cannot listen, 2 for wrong flags.";

const FLEET_EXAMPLES: &str = "\
Examples:
  Ten generators on ports 9000 to 9009, their start, their figures, and their end:
    sluicegen fleet up --count 10 -- --target http://127.0.0.1:50051 --rate 2000
    sluicegen fleet start
    sluicegen fleet frequency --rate 500
    sluicegen fleet stats --watch
    sluicegen fleet stop
    sluicegen fleet down
  Generators on other machines:
    sluicegen fleet --endpoints lab-1:9000,lab-2:9000-9003,@fleet.txt stats --json
  Containers behind one name:
    sluicegen fleet --endpoints dns:generator:9000 stats

Exit status: 0 when all generators did it, 1 when one did not (the others still do), 2 for wrong flags.";

const HEALTHCHECK_EXAMPLES: &str = "\
Examples:
  The generator on port 9000 of this host:
    sluicegen healthcheck
  One that listens elsewhere, as SLUICEGEN_ADDR says to both commands:
    SLUICEGEN_ADDR=0.0.0.0:9100 sluicegen healthcheck

A generator whose target is away is well: it tells so in its figures, and goes on by itself.

Exit status: 0 when it answers, 1 when it does not, 2 for wrong flags.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  A run with a journal, and whether the service has stored it:
    sluicegen run --count 1000000 --journal run.journal
    sluicegen verify --journal run.journal --rest http://127.0.0.1:8080
  Two runs that shared series and time, against the table itself:
    sluicegen verify --journal one.journal two.journal --database-url mysql://root@127.0.0.1/sluicegate

Readings without an acknowledgement, as after a crash, may be stored or not.

Exit status: 0 when nothing is lost, unproven, duplicated, altered or unexpected, 1 when something is or the database
cannot be read, 2 for wrong flags or a file that is no journal.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  What `sluicegen run --count 1000000 --connections 2` sends, as two files:
    sluicegen export --out rows --count 1000000 --connections 2

Columns: id, id1, id2, sensor_type, sensor_value, ts (UTC), separated by tabs.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  One reading per line, with columns sensor_value, sensor_type, id1, id2, timestamp:
    sluicegen replay readings.csv
  One column per sensor type:
    sluicegen replay weather.csv --wide --time-column date --id1 1 --id2 seattle
  As German spreadsheets write it, with local times:
    sluicegen replay werte.csv --delimiter ';' --decimal , --time-format '%d.%m.%Y %H:%M' --time-zone Europe/Berlin
  From a pipe, with times in seconds, and NaN for no value:
    zcat readings.csv.gz | sluicegen replay - --time-unit s --null NaN

Exit status: 0 when every reading is accounted for, 1 when not or when the service is away, 2 for wrong flags or a
file that cannot be read; nothing is sent of such a file.";

impl Cli {
    /// Reads the command line. Help and versions are printed, and end the process.
    ///
    /// # Errors
    /// When it is wrong, with one sentence.
    pub fn read() -> Result<Self, Error> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Error::Usage(one_sentence(&error.to_string())),
        })
    }
}

/// clap's first paragraph in one line; the usage and the hints behind it are in `--help`.
fn one_sentence(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let first = first.join(" ");
    first.strip_prefix("error: ").unwrap_or(&first).to_owned()
}

/// Does what the command line says.
///
/// # Errors
/// When the command could not do its work; see [`Error::exit_code`].
pub async fn dispatch(cli: Cli) -> Result<ExitCode, Error> {
    let (report, json) = match cli.command {
        Command::Run(options) => {
            let json = options.json;
            (Box::pin(run::run(*options)).await?, json)
        }
        Command::Replay(options) => {
            let json = options.json;
            (Box::pin(replay::replay(*options)).await?, json)
        }
        Command::Forward(options) => {
            let json = options.json;
            let report = Box::pin(forward::forward(*options)).await?;
            report.print(json)?;
            return Ok(report.exit_code());
        }
        Command::Verify(options) => {
            let report = Box::pin(verify::verify(&options)).await?;
            report.print(options.json)?;
            return Ok(report.exit_code());
        }
        Command::Serve(options) => {
            let figures = fleet::figures(&options)?;
            Box::pin(serve::serve(&options, figures)).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Fleet(options) => return Box::pin(fleet::fleet(&options)).await,
        Command::Healthcheck(options) => {
            healthcheck::ask(&options).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Export(options) => {
            export::export(&options)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Completions { shell } => {
            let mut command = Cli::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "sluicegen", &mut script);
            // Who reads it may have seen enough.
            let _ = std::io::stdout().write_all(&script);
            return Ok(ExitCode::SUCCESS);
        }
        Command::ManPages { dir } => {
            clap_mangen::generate_to(Cli::command(), &dir)
                .map_err(|error| Error::Usage(format!("{}: {error}", dir.display())))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    report.print(json)?;
    Ok(report.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_asks_no_generator_says_nothing_of_whom_to_ask() {
        let mut cli = Cli::command();
        cli.build();
        let fleet = cli.find_subcommand_mut("fleet").unwrap();
        for (command, asks) in [("up", false), ("down", false), ("stats", true)] {
            let command = fleet.find_subcommand_mut(command).unwrap();
            let help = command.render_long_help().to_string();
            assert_eq!(help.contains("--endpoints"), asks, "{help}");
            assert_eq!(help.contains("--patience"), asks, "{help}");
            assert!(help.contains("--state-dir"), "{help}");
        }
    }

    #[test]
    fn the_help_of_a_command_has_its_own_flags_only() {
        let cli = Cli::command();
        let flags = |command: &str, heading: Option<&str>| -> Vec<String> {
            let command = cli.find_subcommand(command).unwrap();
            command
                .get_arguments()
                .filter(|arg| arg.get_help_heading() == heading)
                .filter_map(|arg| arg.get_long().map(str::to_owned))
                .collect()
        };
        assert_eq!(
            flags("export", None),
            ["out", "count", "connections", "rate"]
        );
        // What is sent stands below its heading, and how it is sent does not.
        for command in ["run", "serve", "export"] {
            let readings = flags(command, Some("Readings"));
            assert!(readings.iter().any(|flag| flag == "seed"));
            for how in flags(command, None) {
                assert!(!readings.contains(&how), "{command}: {how}");
            }
        }
        for how in ["mode", "json", "journal", "connect-timeout"] {
            assert!(flags("run", None).iter().any(|flag| flag == how), "{how}");
        }
        assert!(flags("serve", None).iter().any(|flag| flag == "start"));
    }
}

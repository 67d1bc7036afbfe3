//! The command line.

mod complaint;
mod migrate;
mod rollups;

use std::{io::Write as _, os::unix::process::CommandExt as _, path::PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use secrecy::ExposeSecret as _;

pub use self::{migrate::Migrate, rollups::RollupsCommand};
use crate::{
    app::{self, AppError, Listeners},
    auth::{Said, TokenCommand, TokenError},
    build_info::VERSION_AND_COMMIT,
    certs::{self, Certs, CertsError},
    config::{self, Config, ConfigError, Settings},
    healthcheck::{self, Probe},
    remote::{ExportCommand, ImportCommand, QuarantineCommand, RemoteError, SeriesCommand},
    router::rest,
    shutdown::Shutdown,
    telemetry,
};

const EXAMPLES: &str = "\
Examples:
  sluicegate serve --embedded-db
  sluicegate serve --database-url mysql://ingest:secret@db.example:3306/sensors
  SLUICEGATE_INGEST_LANES=4 sluicegate serve --config sluicegate.yaml
  sluicegate migrate --database-url mysql://admin:secret@db.example:3306/sensors --layout hashed
  sluicegate config --config sluicegate.yaml
  sluicegate config --template > sluicegate.yaml
  sluicegate openapi > openapi.json
  sluicegate healthcheck --rest-addr 127.0.0.1:8080
  sluicegate certs tls --names gate.example
  sluicegate token new --name press-4 --scopes ingest:plant/ --file tokens.yaml
  sluicegate quarantine list --stream press-0
  sluicegate series list --tags site:north
  sluicegate export --from 2026-01-01 --to 2026-02-01 --out january.parquet
  sluicegate import january.parquet

Exit status: 0 when it was told to end, or has done its work; 1 when it failed, and may do better when it is started again;
2 when flags, file, environment or the database have to be mended before that.";

const SERVE_EXAMPLES: &str = "\
Examples:
  sluicegate serve --embedded-db
  sluicegate serve --database-url mysql://ingest:secret@db.example:3306/sensors
  SLUICEGATE_INGEST_LANES=4 sluicegate serve --config sluicegate.yaml --grpc-addr 0.0.0.0:50051";

const CONFIG_EXAMPLES: &str = "\
Examples:
  sluicegate config --config sluicegate.yaml
  SLUICEGATE_INGEST_LANES=4 sluicegate config";

const CERTS_EXAMPLES: &str = "\
Examples:
  sluicegate certs tls --names gate.example,192.0.2.7
  sluicegate certs tls --client press-4
  sluicegate serve --embedded-db --tls-cert tls/server.pem --tls-key tls/server.key --tls-client-ca tls/ca.pem

Clients trust tls/ca.pem. Whoever has tls/ca.key can make certificates that they take: keep it away from the service, or let an
authority that you have already sign instead.";

/// Streaming-first sensor ingestion for MySQL
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version = VERSION_AND_COMMIT, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line and the variables beside it. Help and versions are printed, and end the process.
    ///
    /// # Errors
    /// When they are wrong.
    pub fn read() -> Result<Self, Failure> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Failure::Usage(complaint::complaint(&error)),
        })
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Takes readings in over gRPC and serves the management API
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Sources),
    /// Creates the tables that are missing, and ends; or moves readings into another layout, while others come in
    #[command(after_help = migrate::EXAMPLES, mut_args = migrate::hide_others)]
    Migrate(Migrate),
    /// Has rollups made anew from readings, or gives some up
    #[command(subcommand, after_help = rollups::EXAMPLES)]
    Rollups(RollupsCommand),
    /// Prints the configuration in effect, passwords masked
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(Shown),
    /// Prints every setting with its default and what it does, in Markdown
    Settings,
    /// Prints the OpenAPI document of the REST API
    Openapi,
    /// Asks a running service whether it is ready, or alive: exit code 0 when it is, 1 when it is not
    Healthcheck(Probe),
    /// Makes certificates for a first try: an authority, and one for the service or for a client
    #[command(after_help = CERTS_EXAMPLES)]
    Certs(Certs),
    /// Makes, lists and revokes the tokens of those who may use the service
    #[command(subcommand)]
    Token(TokenCommand),
    /// Looks at readings that were not stored, stores them after all, or removes them: asks a running service
    Quarantine(Box<QuarantineCommand>),
    /// Lists series, changes their tags, or removes those that have no readings: asks a running service
    Series(Box<SeriesCommand>),
    /// Writes readings of a stretch of time into a file, as Parquet, Arrow, CSV or NDJSON: asks a running service
    Export(Box<ExportCommand>),
    /// Sends the readings of files to a running service, each file once, however often it is imported
    Import(Box<ImportCommand>),
    /// Prints a completion script
    Completions { shell: clap_complete::Shell },
    /// Writes man pages, one for each command
    ManPages {
        /// The folder that they go into
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Clone, Debug, clap::Args)]
pub struct Shown {
    /// Prints a file with every setting and its default instead, to begin with
    #[arg(long)]
    pub template: bool,

    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Sources {
    /// YAML file with the same settings, those of groups nested: `ingest: {lanes: 4}`
    #[arg(long, env = "SLUICEGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub settings: Settings,
}

impl Sources {
    fn resolve(self) -> Result<Config, ConfigError> {
        Config::resolve(self.settings, self.config.as_deref())
    }
}

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Flags or variables that cannot be read.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Telemetry(String),
    #[error("{0}")]
    App(#[from] AppError),
    #[error("{0}")]
    Unhealthy(#[from] healthcheck::Unhealthy),
    #[error("{0}")]
    Certs(#[from] CertsError),
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("{0}")]
    Remote(#[from] RemoteError),
    #[error("{0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// 2 for what somebody has to mend first in flags, files or the database, 1 for everything else. A service manager need
    /// not start it again after 2.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Telemetry(_) => 2,
            Self::App(error) if error.has_to_be_mended() => 2,
            Self::Remote(error) if error.has_to_be_mended() => 2,
            Self::App(_)
            | Self::Unhealthy(_)
            | Self::Certs(_)
            | Self::Token(_)
            | Self::Remote(_)
            | Self::Output(_) => 1,
        }
    }
}

/// Runs a command.
///
/// # Errors
/// When the command fails; the text is one sentence for the user.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(sources) => {
            // Whatever fails or waits from here on, nobody takes the file of an earlier process for this one's.
            app::remove_old_ready_file(sources.settings.ready_file.as_deref())?;
            let config = sources.resolve()?;
            app::remove_old_ready_file(config.ready_file.as_deref())?;
            let _telemetry = telemetry::init(
                &config.log,
                config.log_format,
                config.telemetry.traces(&config.instance),
            )
            .map_err(Failure::Telemetry)?;
            let shutdown =
                Shutdown::new(std::time::Duration::from_secs(config.shutdown_deadline_s));
            shutdown.on_signal()?;
            let listeners = Listeners::bind(&config).await?;
            match Box::pin(app::run(listeners, config, shutdown)).await {
                Err(AppError::TablesMoved) => Err(start_anew()),
                ended => Ok(ended?),
            }
        }
        Command::Migrate(wanted) => {
            let config = wanted.sources.clone().resolve()?;
            let _telemetry = telemetry::init(&config.log, config.log_format, None)
                .map_err(Failure::Telemetry)?;
            Ok(Box::pin(migrate::migrate(&config, &wanted)).await?)
        }
        Command::Rollups(wanted) => {
            let config = wanted.sources().clone().resolve()?;
            let _telemetry = telemetry::init(&config.log, config.log_format, None)
                .map_err(Failure::Telemetry)?;
            Ok(Box::pin(rollups::run(&config, &wanted)).await?)
        }
        Command::Config(Shown { template: true, .. }) => print(config::template()?.as_bytes()),
        Command::Config(Shown { sources, .. }) => {
            let config = sources.resolve()?;
            let text = serde_norway::to_string(&config).map_err(std::io::Error::other)?;
            print(text.as_bytes())
        }
        Command::Settings => print(config::reference().as_bytes()),
        Command::Openapi => print(format!("{}\n", rest::openapi_json()).as_bytes()),
        Command::Healthcheck(probe) => {
            let speaks_tls = probe.tls || probe.tls_cert.is_some();
            let (addr, tls) =
                config::rest_place(probe.rest_addr, speaks_tls, probe.config.as_deref())?;
            Ok(healthcheck::ask(addr, tls, &probe).await?)
        }
        Command::Certs(wanted) => {
            let written = certs::make(&wanted)?;
            let lines = written.iter().map(|path| format!("{}\n", path.display()));
            print(lines.collect::<String>().as_bytes())
        }
        Command::Token(command) => say(command.run()?),
        Command::Quarantine(command) => said(command.run(&mut std::io::stdout()).await),
        Command::Series(command) => said(command.run(&mut std::io::stdout()).await),
        Command::Export(command) => said(command.run(&mut std::io::stdout()).await),
        Command::Import(command) => said(command.run(&mut std::io::stdout()).await),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sluicegate", &mut script);
            print(&script)
        }
        Command::ManPages { dir } => Ok(clap_mangen::generate_to(Cli::command(), dir)?),
    }
}

fn said(done: Result<(), RemoteError>) -> Result<(), Failure> {
    match done {
        // Who reads it has seen enough.
        Err(RemoteError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

fn say(said: Said) -> Result<(), Failure> {
    match said {
        Said::Lines(lines) => print(lines.as_bytes()),
        Said::Token(token) => {
            print(format!("{}\n", token.expose_secret()).as_bytes())?;
            eprintln!("this is the only time that the token is shown: its secret is not kept");
            Ok(())
        }
    }
}

/// The same program in the place of this one, with the same arguments: whoever watches over the process sees none end. Returns
/// only when that fails.
fn start_anew() -> Failure {
    let program = std::env::current_exe().map(|program| match program.exists() {
        true => program,
        // Its file was replaced or removed: what runs is still there.
        false => PathBuf::from("/proc/self/exe"),
    });
    let failed = program.map(|program| {
        std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .exec()
    });
    let (Ok(reason) | Err(reason)) = failed;
    tracing::warn!(%reason, "cannot start the program again");
    AppError::TablesMoved.into()
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text).and_then(|()| out.flush()) {
        // Who reads it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_settings_share_a_name() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_migrate_shows_what_it_goes_by() {
        let mut cli = Cli::command();
        let mut help = |command: &str| {
            let command = cli.find_subcommand_mut(command).unwrap();
            command.render_long_help().to_string()
        };
        for others in ["--grpc-addr", "--ingest-lanes", "--partitions-width"] {
            assert!(help("serve").contains(others));
            assert!(!help("migrate").contains(others));
        }
        for own in migrate::OWN {
            let own = format!("--{}", own.replace('_', "-"));
            assert!(help("migrate").contains(&own), "{own}");
        }
    }
}

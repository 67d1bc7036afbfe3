//! `sluicegen fleet`: one command line over many generators.

mod client;
mod endpoints;
mod local;
mod summary;

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use self::{
    client::{Answer, Fleet},
    endpoints::resolve,
    local::StateFile,
};
pub use self::{
    endpoints::Endpoints,
    summary::{Member, Missing, Spread, Summary},
};
use crate::{
    access::TlsFlags,
    api_token::ApiTokenFlag,
    error::Error,
    flags,
    report::Report,
    run::{Mode, Rate},
    serve::{DEFAULT_ADDR, FleetFigures, Frequency, ServeOptions, Settings, Spam, Stats},
    web,
};

/// How long one generator may take to answer a page, which looks again and again.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);

/// Which generators, and what they are to do.
#[derive(Debug, Clone, Args)]
pub struct FleetOptions {
    /// Generators: 9000-9009, HOST:PORT, HOST:PORT-PORT, dns:NAME:PORT for each address of a name, or @FILE [default: those
    /// that are up, or else 9000].
    #[arg(long, value_name = "LIST", value_delimiter = ',', global = true)]
    pub endpoints: Vec<Endpoints>,
    /// How long one generator may take to answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = flags::duration, global = true)]
    pub patience: Duration,
    /// Where `up` keeps what `down` has to stop [default: ~/.local/state/sluicegen].
    #[arg(long, value_name = "DIR", global = true)]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub tls: TlsFlags,
    #[command(flatten)]
    pub api_token: ApiTokenFlag,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: FleetCommand,
}

/// What the generators are to do.
#[derive(Debug, Clone, Subcommand)]
pub enum FleetCommand {
    /// Begin to send.
    Start,
    /// Send no more, and wait for the acknowledgements.
    Stop,
    /// Change how often each one sends, at once.
    #[command(group = clap::ArgGroup::new("how").required(true))]
    Frequency {
        /// Readings per second and generator, or max.
        #[arg(long, value_name = "N|max", group = "how")]
        rate: Option<Rate>,
        /// Time from one reading to the next, such as 100ms.
        #[arg(long, value_name = "TIME", group = "how")]
        timeout: Option<String>,
    },
    /// Show the configuration, or change a part of it.
    Config {
        /// JSON such as {"target":"http://127.0.0.1:50051","patterns":{"series":50}}; without it nothing is changed.
        change: Option<String>,
    },
    /// Send a bounded burst from each one, and return the results.
    Spam {
        /// Readings of each generator.
        #[arg(long, value_name = "N")]
        total: u64,
        /// Calls at a time of each generator.
        #[arg(long, value_name = "N", default_value_t = 64)]
        concurrency: u32,
        /// Longest time of the burst.
        #[arg(long, value_name = "TIME", default_value = "30s")]
        timeout: String,
        /// The kind of call.
        #[arg(long, value_enum, default_value_t = Mode::Unary)]
        mode: Mode,
    },
    /// Show min, max, average and total of the figures.
    Stats {
        /// Look again and again: a table on a terminal, lines elsewhere.
        #[arg(long)]
        watch: bool,
        /// Between two looks.
        #[arg(long, value_name = "TIME", default_value = "1s", value_parser = flags::duration)]
        interval: Duration,
        /// End after so many looks.
        #[arg(long, value_name = "N", requires = "watch")]
        looks: Option<u64>,
    },
    /// Start local generators.
    Up {
        /// How many.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
        /// Port of the first one; 0 takes free ports.
        #[arg(long, value_name = "PORT", default_value_t = 9000)]
        first_port: u16,
        /// Flags for sluicegen serve, behind --.
        #[arg(last = true, value_name = "FLAGS")]
        flags: Vec<String>,
    },
    /// Stop the generators that `up` started, and no others.
    Down,
}

/// Does what the command says, with as many generators as answer.
///
/// # Errors
/// When an option is wrong, or local generators cannot be started. A generator that does not answer is named, and the
/// exit code is 1.
pub async fn fleet(options: &FleetOptions) -> Result<ExitCode, Error> {
    let directory = options.state_dir.clone().unwrap_or_else(local::default_dir);
    match &options.command {
        FleetCommand::Up {
            count,
            first_port,
            flags,
        } => {
            let flags = options.api_token.with(flags);
            let addresses = local::up(&directory, *count, *first_port, &flags).await?;
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            match options.json {
                true => print_json(&serde_json::json!({ "endpoints": addresses }))?,
                false => addresses
                    .iter()
                    .for_each(|address| println!("{address} is up")),
            }
            return Ok(ExitCode::SUCCESS);
        }
        FleetCommand::Down => {
            let stopped = local::down(&directory).await?;
            match options.json {
                true => print_json(&serde_json::json!({ "stopped": stopped }))?,
                false => println!("{stopped} generators were stopped"),
            }
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let mut endpoints = options.endpoints.clone();
    if endpoints.is_empty() {
        let up = StateFile::read(&directory)?.generators;
        let up: Vec<String> = up.iter().map(|one| one.addr.to_string()).collect();
        endpoints.push(Endpoints::Addresses(match up.is_empty() {
            true => vec![DEFAULT_ADDR.to_owned()],
            false => up,
        }));
    }
    let client = web::client(&options.tls)?;
    let token = options.api_token.read()?;
    let fleet = Fleet::new(
        (client, token),
        resolve(&endpoints).await?,
        patience(options)?,
    );
    ask(&fleet, options).await
}

/// Who asks the generators that a served one was told of; None where it was told of none.
///
/// # Errors
/// When what names them, or how to ask them, does not fit.
pub fn figures(options: &ServeOptions) -> Result<Option<FleetFigures>, Error> {
    if options.fleet.is_empty() {
        return Ok(None);
    }
    let wrong = |reason| Error::Usage(format!("--fleet: {reason}"));
    let endpoints: Result<Vec<Endpoints>, _> = options.fleet.iter().map(|it| it.parse()).collect();
    let endpoints = Arc::new(endpoints.map_err(wrong)?);
    let client = web::client(&options.access.tls)?;
    let token = options.api_token.read()?;
    Ok(Some(Arc::new(move || {
        let (endpoints, client, token) = (endpoints.clone(), client.clone(), token.clone());
        Box::pin(async move {
            // Each time: the addresses of a name change, as those of containers do.
            let found = resolve(&endpoints)
                .await
                .map_err(|error| error.to_string())?;
            let fleet = Fleet::new((client, token), found, LOOK_PATIENCE);
            let summary = Summary::of(fleet.ask(Method::GET, "/stats", None).await);
            serde_json::to_value(summary).map_err(|error| error.to_string())
        })
    })))
}

/// A burst may take its own time and a little more.
fn patience(options: &FleetOptions) -> Result<Duration, Error> {
    match &options.command {
        FleetCommand::Spam { timeout, .. } => {
            let burst = flags::duration(timeout)
                .map_err(|reason| Error::Usage(format!("--timeout: {reason}")))?;
            Ok(options.patience.max(burst + Duration::from_secs(5)))
        }
        _ => Ok(options.patience),
    }
}

async fn ask(fleet: &Fleet, options: &FleetOptions) -> Result<ExitCode, Error> {
    let json = options.json;
    match &options.command {
        FleetCommand::Start => acted(
            fleet.ask::<Stats>(Method::POST, "/start", None).await,
            json,
            |_| "started".to_owned(),
        ),
        FleetCommand::Stop => acted(
            fleet.ask::<Stats>(Method::POST, "/stop", None).await,
            json,
            |stats| {
                format!(
                    "stopped: {} sent, {} stored, {} failed",
                    stats.sent, stats.acknowledged, stats.failed
                )
            },
        ),
        FleetCommand::Frequency { rate, timeout } => {
            let frequency = Frequency {
                timeout: timeout.clone(),
                rate: *rate,
            };
            let answers = fleet
                .ask::<Settings>(Method::POST, "/frequency", Some(&body(&frequency)?))
                .await;
            acted(answers, json, |settings| match settings.rate {
                Rate::PerSecond(rate) => format!("{rate} readings per second"),
                Rate::Max => "as fast as possible".to_owned(),
            })
        }
        FleetCommand::Config { change } => {
            let answers = match change {
                None => fleet.ask::<Value>(Method::GET, "/config", None).await,
                Some(change) => {
                    let change: Value = serde_json::from_str(change).map_err(|error| {
                        Error::Usage(format!("the configuration is no JSON: {error}"))
                    })?;
                    fleet
                        .ask::<Value>(Method::POST, "/config", Some(&change))
                        .await
                }
            };
            acted(answers, json, ToString::to_string)
        }
        FleetCommand::Spam {
            total,
            concurrency,
            timeout,
            mode,
        } => {
            let spam = Spam {
                total: *total,
                concurrency: *concurrency,
                timeout: timeout.clone(),
                mode: *mode,
                batch_size: None,
            };
            let answers = fleet
                .ask::<Report>(Method::POST, "/spam", Some(&body(&spam)?))
                .await;
            acted(answers, json, |report| {
                let books = &report.books;
                format!(
                    "{} sent, {} stored, {} rejected, {} failed in {:.3} s",
                    books.sent, books.committed, books.rejected, books.failed, report.seconds
                )
            })
        }
        FleetCommand::Stats {
            watch,
            interval,
            looks,
        } => {
            let mut left = looks.unwrap_or(u64::MAX);
            loop {
                let summary = Summary::of(fleet.ask(Method::GET, "/stats", None).await);
                let code = show(&summary, *watch, json)?;
                left -= 1;
                if !watch || left == 0 {
                    return Ok(code);
                }
                tokio::select! {
                    () = tokio::time::sleep(*interval) => {}
                    _ = tokio::signal::ctrl_c() => return Ok(code),
                }
            }
        }
        // They ask no generator.
        FleetCommand::Up { .. } | FleetCommand::Down => Ok(ExitCode::SUCCESS),
    }
}

fn body(content: &impl serde::Serialize) -> Result<Value, Error> {
    serde_json::to_value(content).map_err(|error| Error::Report(error.to_string()))
}

/// One line for each generator; the ones that did not do it are named on stderr.
fn acted<T: serde::Serialize>(
    answers: Vec<Answer<T>>,
    json: bool,
    describe: impl Fn(&T) -> String,
) -> Result<ExitCode, Error> {
    let failed = answers.iter().any(|(_, answer)| answer.is_err());
    if json {
        let all: Vec<Value> = answers
            .iter()
            .map(|(endpoint, answer)| match answer {
                Ok(answer) => serde_json::json!({ "endpoint": endpoint, "answer": answer }),
                Err(error) => serde_json::json!({ "endpoint": endpoint, "error": error }),
            })
            .collect();
        print_json(&Value::from(all))?;
    } else {
        for (endpoint, answer) in &answers {
            match answer {
                Ok(answer) => println!("{endpoint}: {}", describe(answer)),
                Err(error) => eprintln!("sluicegen: {endpoint}: {error}"),
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

fn show(summary: &Summary, watch: bool, json: bool) -> Result<ExitCode, Error> {
    match (json, watch) {
        (true, true) => println!(
            "{}",
            serde_json::to_string(summary).map_err(|error| Error::Report(error.to_string()))?
        ),
        (true, false) => print_json(&body(summary)?)?,
        (false, true) if std::io::stdout().is_terminal() => {
            // To the upper left corner, and from there everything is new.
            println!("\x1b[H\x1b[J{}", summary.table());
            // The table names who is down: more lines would push it off its place.
            return Ok(exit_code(summary));
        }
        (false, true) => println!("{}", summary.line()),
        (false, false) => println!("{}", summary.table()),
    }
    if !json {
        for missing in &summary.down {
            eprintln!("sluicegen: {}: {}", missing.endpoint, missing.error);
        }
    }
    Ok(exit_code(summary))
}

fn exit_code(summary: &Summary) -> ExitCode {
    ExitCode::from(u8::from(!summary.down.is_empty()))
}

fn print_json(value: &Value) -> Result<(), Error> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Error::Report(error.to_string()))?;
    println!("{text}");
    Ok(())
}

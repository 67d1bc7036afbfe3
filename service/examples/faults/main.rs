//! The fault suite: drives the real `sluicegate`, the real `sluicegen` and real databases through faults, with the
//! generator's journal and `sluicegen verify` as the judge. `scripts/faults.sh` builds everything and runs it.

mod cases;
#[allow(dead_code, reason = "tests need more of it")]
mod common;
mod database;
mod disk;
mod faketime;
mod flood;
mod generator;
mod judge;
mod lab;
mod layout;
mod outcome;
mod probe;
mod process;
mod report;
mod service;
mod stack;
mod verdict;
mod wire;

#[path = "../../tests/common/poison.rs"]
mod poison_texts;

#[path = "../../tests/common/proxy.rs"]
mod database_proxy;
#[path = "../../tests/common/http.rs"]
mod http;
#[path = "../../tests/common/stranger.rs"]
#[allow(dead_code, reason = "tests need more of it")]
mod stranger;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sluicegate::embedded_db::Engine;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    cases::{CASES, Case},
    database::{Server, find_server, small_logs},
    lab::{Lab, Programs, Scale},
    outcome::Skipped,
    report::{CaseResult, Results},
};

/// Runs faults against the programs beside this one, and writes what came of it.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Options {
    /// A few faults of each kind, to see that all is well; figures are taken without it
    #[arg(long)]
    quick: bool,
    /// Share of the full counts, percent
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    percent: u32,
    /// Length of the soak, minutes
    #[arg(long, value_name = "N", default_value_t = 30)]
    soak_minutes: u64,
    /// Only this case; may be given more than once
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Only this engine, mariadb or mysql; may be given more than once
    #[arg(long = "engine", value_name = "NAME")]
    engines: Vec<String>,
    /// The layout of the tables, partitioned or series; results of series go into files of their own
    #[arg(long, value_name = "NAME", default_value = "partitioned", value_parser = ["partitioned", "series"])]
    layout: String,
    /// Where faults.json and FAULTS.md go; results of other cases that are there already stay
    #[arg(long, value_name = "DIR", default_value = "bench-results")]
    out: PathBuf,
    /// Working files and logs
    #[arg(long, value_name = "DIR", default_value = "target/faults/work")]
    work: PathBuf,
    /// A sluicegate that was built with the feature failpoints, for the negative control
    #[arg(long, value_name = "PATH")]
    failpoints_program: Option<PathBuf>,
    /// Moments are random: the same seed takes the same ones [default: random, and printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Names the cases and ends
    #[arg(long)]
    list: bool,
    /// Writes FAULTS.md anew from the faults.json that is there, and ends
    #[arg(long)]
    render: bool,
}

/// How many cases ended how.
#[derive(Debug, Default)]
struct Tally {
    held: u32,
    failed: u32,
    /// Could not run on this machine.
    skipped: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for case in CASES {
            println!("{:<20} {}", case.name, case.fault);
        }
        return ExitCode::SUCCESS;
    }
    layout::set(&options.layout);
    // Dropping the suite kills every child that it started.
    let ended = tokio::select! {
        ended = run(&options) => ended,
        _ = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// SIGINT or SIGTERM.
async fn interrupted() -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}

/// True when no case failed.
async fn run(options: &Options) -> Result<bool> {
    if options.render {
        Results::render(&options.out)?;
        return Ok(true);
    }
    let cases = chosen_cases(&options.cases)?;
    let programs = Programs::beside_this(options.failpoints_program.clone())?;
    let seed = options.seed.unwrap_or_else(|| rand::rng().random());
    println!("seed {seed}");
    let results = Results::open(&options.out, &programs)?;
    let engines = chosen_engines(&options.engines)?;
    let suite = Suite {
        options,
        cases,
        programs,
        seed,
        results,
    };
    let mut tally = Tally::default();
    for engine in engines {
        suite.on(engine, &mut tally).await?;
    }
    println!("{}", suite.results.table()?);
    let Tally {
        held,
        failed,
        skipped,
    } = tally;
    println!("cases: {held} held, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}

/// What is the same for both engines.
struct Suite<'a> {
    options: &'a Options,
    cases: Vec<&'static Case>,
    programs: Programs,
    seed: u64,
    results: Results,
}

impl Suite<'_> {
    /// Every case on this engine.
    async fn on(&self, engine: Engine, tally: &mut Tally) -> Result<()> {
        let folder = self.options.work.join(engine.to_string().to_lowercase());
        reset(&folder)?;
        let folder = folder.canonicalize()?;
        let binary = find_server(engine)?;
        let arguments: &[&str] = match self.options.quick {
            true => small_logs(engine),
            false => &[],
        };
        let server = Server::start(&binary, &folder.join("database"), arguments).await?;
        let mut lab = Lab {
            engine,
            binary,
            server,
            programs: self.programs.clone(),
            scale: Scale {
                quick: self.options.quick,
                percent: self.options.percent,
                soak_minutes: self.options.soak_minutes,
            },
            folder: folder.clone(),
            rng: rng_of(self.seed, ""),
        };
        let version = lab.server.version().await?;
        for case in &self.cases {
            let Some(result) = one_case(&mut lab, case, &folder, self.seed).await else {
                tally.skipped += 1;
                continue;
            };
            match result.held {
                true => tally.held += 1,
                false => tally.failed += 1,
            }
            self.results.add(engine, &version, case.name, result)?;
        }
        lab.server.stop().await
    }
}

/// Nothing where the case was skipped.
async fn one_case(lab: &mut Lab, case: &Case, folder: &Path, seed: u64) -> Option<CaseResult> {
    let began = Instant::now();
    lab.folder = folder.join(case.name);
    lab.rng = rng_of(seed, case.name);
    let limit = case.limit;
    let outcome = match reset(&lab.folder) {
        Ok(()) => match tokio::time::timeout(limit, (case.run)(lab)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("not done after {limit:?}")),
        },
        Err(error) => Err(error),
    };
    let error = outcome.as_ref().err();
    if let Some(skipped) = error.and_then(|error| error.downcast_ref::<Skipped>()) {
        let engine = lab.engine.to_string();
        eprintln!("{engine:<8} {:<20} skipped: {skipped}", case.name);
        return None;
    }
    let result = CaseResult::of(outcome, &lab.scale, seed, began.elapsed());
    println!("{:<8} {}", lab.engine.to_string(), result.line(case.name));
    if !result.held {
        println!("         logs in {}", lab.folder.display());
        // Whatever state the fault left the server in, the next case gets a sound one.
        if let Err(error) = lab.server.revive().await {
            println!("         the database does not come back: {error:#}");
        }
    }
    Some(result)
}

/// A case takes the same moments alone as among the others.
fn rng_of(seed: u64, case: &str) -> StdRng {
    let mixed = case.bytes().fold(seed, |mixed, byte| {
        mixed.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    StdRng::seed_from_u64(mixed)
}

fn reset(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(std::fs::create_dir_all(folder)?),
    }
}

fn chosen_cases(names: &[String]) -> Result<Vec<&'static Case>> {
    if names.is_empty() {
        return Ok(CASES.iter().collect());
    }
    let find = |name: &String| {
        let found = CASES.iter().find(|case| case.name == name);
        found.with_context(|| format!("there is no case {name}: --list names them"))
    };
    names.iter().map(find).collect()
}

fn chosen_engines(names: &[String]) -> Result<Vec<Engine>> {
    if names.is_empty() {
        return Ok(vec![Engine::MariaDb, Engine::MySql]);
    }
    let engine = |name: &String| match name.as_str() {
        "mariadb" => Ok(Engine::MariaDb),
        "mysql" => Ok(Engine::MySql),
        other => bail!("{other} is neither mariadb nor mysql"),
    };
    names.iter().map(engine).collect()
}

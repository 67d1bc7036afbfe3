//! What came of it: `faults.json`, and a table for people.
//!
//! ```text
//! {
//!   "format": 1,
//!   "machine": {"cpu", "cores", "memory_gib"},
//!   "engines": {
//!     "mariadb" | "mysql": {
//!       "server": version,
//!       "cases": {
//!         NAME: {
//!           "held": whether everything held,
//!           "failure": what did not, where it did not,
//!           "counts": "full", "quick", or the share of the full counts,
//!           "build": "release" or "debug", "commit", "taken_at": RFC 3339, "seconds",
//!           "seed": of the moments at which the faults happen,
//!           "faults": how many happened,
//!           "verdict": what sluicegen verify said: sent, acknowledged, rejected, open, found, lost, duplicated,
//!                      altered, unexpected (readings),
//!           "figures": {NAME_UNIT: number}
//!         }
//!       }
//!     }
//!   }
//! }
//! ```
//!
//! Cases that were not run keep what the file says of them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sluicegate::embedded_db::Engine;

use crate::{
    cases::CASES,
    judge::Verdict,
    lab::{Programs, Scale},
    outcome::Outcome,
};

const FORMAT: u32 = 1;

/// A case on one engine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CaseResult {
    pub(crate) held: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    failure: Option<String>,
    counts: String,
    build: String,
    commit: String,
    taken_at: String,
    seed: u64,
    seconds: f64,
    faults: u32,
    verdict: Verdict,
    figures: BTreeMap<String, f64>,
}

impl CaseResult {
    pub(crate) fn of(outcome: Result<Outcome>, scale: &Scale, seed: u64, took: Duration) -> Self {
        let failure = outcome.as_ref().err().map(|error| format!("{error:#}"));
        let outcome = outcome.unwrap_or_default();
        Self {
            held: failure.is_none(),
            failure,
            counts: match (scale.quick, scale.percent) {
                (true, _) => "quick".to_owned(),
                (false, 100) => "full".to_owned(),
                (false, percent) => format!("{percent} %"),
            },
            build: String::new(),
            commit: String::new(),
            taken_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            seed,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            faults: outcome.faults,
            verdict: outcome.verdict,
            figures: outcome.figures,
        }
    }

    /// For the terminal.
    pub(crate) fn line(&self, name: &str) -> String {
        match &self.failure {
            Some(failure) => format!("{name:<20} FAILED after {:.0} s: {failure}", self.seconds),
            None => format!(
                "{name:<20} held: {} faults, {} readings, {:.0} s; {}",
                self.faults,
                self.verdict.sent,
                self.seconds,
                self.figures_text()
            ),
        }
    }

    fn figures_text(&self) -> String {
        let figures = self.figures.iter();
        let texts: Vec<_> = figures
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        texts.join(", ")
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
}

impl Machine {
    fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
            value.unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory
            .split(' ')
            .next()
            .and_then(|kib| kib.parse::<f64>().ok());
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (kib.unwrap_or_default() / (1 << 20) as f64 * 10.0).round() / 10.0,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct OfEngine {
    server: String,
    cases: BTreeMap<String, CaseResult>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    format: u32,
    machine: Machine,
    engines: BTreeMap<String, OfEngine>,
}

impl Document {
    /// For people, in Markdown.
    fn table(&self) -> String {
        let mut text = "| case | what happens | engine | held | faults | readings | lost | duplicated | altered | figures |\n\
                        |---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for case in CASES {
            for (engine, of_engine) in &self.engines {
                let Some(result) = of_engine.cases.get(case.name) else {
                    continue;
                };
                let verdict = &result.verdict;
                let held = if result.held { "yes" } else { "NO" };
                // A String takes every write.
                let _ = writeln!(
                    text,
                    "| {} | {} | {engine} | {held} ({}) | {} | {} | {} | {} | {} | {} |",
                    case.name,
                    case.fault,
                    result.counts,
                    result.faults,
                    verdict.sent,
                    verdict.lost,
                    verdict.duplicated,
                    verdict.altered + verdict.unexpected,
                    result.figures_text()
                );
            }
        }
        text
    }
}

/// The results so far: what is on disk, since a suite on the other engine may add its own meanwhile.
pub(crate) struct Results {
    folder: PathBuf,
    build: String,
    commit: String,
}

impl Results {
    /// Goes on from the file that is there.
    pub(crate) fn open(folder: &Path, programs: &Programs) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let results = Self {
            folder: folder.to_owned(),
            build: programs.build.clone(),
            commit: commit(),
        };
        results.read()?;
        Ok(results)
    }

    /// Adds a case on a server of this version, and writes everything.
    pub(crate) fn add(
        &self,
        engine: Engine,
        version: &str,
        name: &str,
        mut result: CaseResult,
    ) -> Result<()> {
        result.build.clone_from(&self.build);
        result.commit.clone_from(&self.commit);
        // Held until the function ends.
        let lock = File::open(&self.folder)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut document = self.read()?;
        document.format = FORMAT;
        document.machine = Machine::this();
        let engine = engine.to_string().to_lowercase();
        let of_engine = document.engines.entry(engine).or_default();
        version.clone_into(&mut of_engine.server);
        of_engine.cases.insert(name.to_owned(), result);
        self.write(&document)
    }

    /// For people, in Markdown.
    pub(crate) fn table(&self) -> Result<String> {
        Ok(self.read()?.table())
    }

    fn read(&self) -> Result<Document> {
        let file = self.folder.join("faults.json");
        match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(|| {
                format!("{} is none of this suite's: move it away", file.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Document::default()),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    fn write(&self, document: &Document) -> Result<()> {
        let json = serde_json::to_string_pretty(document)? + "\n";
        std::fs::write(self.folder.join("faults.json"), json)?;
        let about = "# Faults\n\nWritten by `scripts/faults.sh`; not edited by hand. Every case drives the real service, the real \
                     generator and a real database; `sluicegen verify` compares what was acknowledged with the table, reading \
                     by reading. What the figures were taken on stands in `faults.json`.\n\n";
        let table = about.to_owned() + &document.table();
        Ok(std::fs::write(self.folder.join("FAULTS.md"), table)?)
    }
}

fn commit() -> String {
    let git = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output();
    let text = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

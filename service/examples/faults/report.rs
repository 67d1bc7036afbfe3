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
//!                      altered, unexpected (readings); of the part that failed, where that is why the case failed,
//!                      and zeros where nothing came before the judge,
//!           "figures": {NAME_UNIT: number}
//!         }
//!       }
//!     }
//!   }
//! }
//! ```
//!
//! Cases that were not run, or were skipped, keep what the file says of them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sluicegate::embedded_db::Engine;

use crate::{
    cases::CASES,
    lab::{Programs, Scale},
    layout,
    outcome::Outcome,
    verdict::{Found, Verdict},
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
        let outcome = outcome.unwrap_or_else(|error| Outcome::of_verdict(0, Found::counts(&error)));
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

    /// The figures, or why it failed, for a cell of the table.
    fn cell(&self) -> String {
        let text = self.failure.clone();
        let text = text.unwrap_or_else(|| self.figures_text());
        text.replace(['\r', '\n'], " ").replace('|', "\\|")
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
        let mut text = "| case | what happens | engine | held | commit | date | faults | readings | lost | duplicated | altered \
                        | figures, or what failed |\n\
                        |---|---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        // A zero that nobody counted would look as if all were well.
        let count = |is_known: bool, count: u64| match is_known {
            true => count.to_string(),
            false => "–".to_owned(),
        };
        for case in CASES {
            for (engine, of_engine) in &self.engines {
                let Some(result) = of_engine.cases.get(case.name) else {
                    continue;
                };
                let verdict = &result.verdict;
                let held = if result.held { "yes" } else { "NO" };
                let is_judged = !verdict.is_of_nothing();
                // A String takes every write.
                let _ = writeln!(
                    text,
                    "| {} | {} | {engine} | {held} ({}) | {} | {} | {} | {} | {} | {} | {} | {} |",
                    case.name,
                    case.fault,
                    result.counts,
                    result.commit,
                    result.taken_at.get(..10).unwrap_or_default(),
                    count(result.held, u64::from(result.faults)),
                    count(is_judged, verdict.sent),
                    count(is_judged, verdict.lost),
                    count(is_judged, verdict.duplicated),
                    count(is_judged, verdict.altered + verdict.unexpected),
                    result.cell()
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

    /// Writes the table for people anew, from the results that a folder has.
    pub(crate) fn render(folder: &Path) -> Result<()> {
        let results = Self {
            folder: folder.to_owned(),
            build: String::new(),
            commit: String::new(),
        };
        let document = results.read()?;
        let is_there = !document.engines.is_empty();
        ensure!(is_there, "no faults.json in {}", folder.display());
        results.write_table(&document)
    }

    /// For people, in Markdown.
    pub(crate) fn table(&self) -> Result<String> {
        Ok(self.read()?.table())
    }

    /// Those of another layout than the default have its name.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(match layout::name() {
            "partitioned" => name.to_owned(),
            other => name.replace('.', &format!("-{other}.")),
        })
    }

    fn read(&self) -> Result<Document> {
        let file = self.file("faults.json");
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
        std::fs::write(self.file("faults.json"), json)?;
        self.write_table(document)
    }

    fn write_table(&self, document: &Document) -> Result<()> {
        let title = match layout::name() {
            "partitioned" => "Faults".to_owned(),
            other => format!("Faults on the layout {other}"),
        };
        let about = format!(
            "# {title}\n\nWritten by `scripts/faults.sh`; not edited by hand. Every case drives the real service, the real \
                     generator and a real database; `sluicegen verify` compares what was acknowledged with the table, reading \
                     by reading, and – stands where it gave no counts (what the control found is among its figures). \
                     What the figures were taken on stands in the `.json` beside it.\n\n"
        );
        let table = about + &document.table();
        Ok(std::fs::write(self.file("FAULTS.md"), table)?)
    }
}

/// Twelve characters, and `-dirty` where there were changes; never the name of a tag.
fn commit() -> String {
    let git = std::process::Command::new("git")
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ])
        .output();
    let text = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

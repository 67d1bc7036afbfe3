//! What every case works with: the programs, a database server, a folder, and how much to do.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use sluicegate::embedded_db::Engine;

use crate::database::Server;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    /// Of the full counts.
    pub(crate) percent: u32,
    pub(crate) soak_minutes: u64,
}

impl Scale {
    /// How often a fault happens: `full` for figures, `quick` to see that all is well.
    pub(crate) fn times(&self, full: u32, quick: u32) -> u32 {
        match self.quick {
            true => quick,
            false => (full * self.percent / 100).max(1),
        }
    }

    /// How long a fault lasts, seconds.
    pub(crate) fn seconds(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

/// The programs under test.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) sluicegate: PathBuf,
    pub(crate) sluicegen: PathBuf,
    /// Built with the feature failpoints.
    pub(crate) failpoints: Option<PathBuf>,
    /// `release` or `debug`.
    pub(crate) build: String,
}

impl Programs {
    /// Those of the same build as this program, `target/BUILD/examples/faults`.
    pub(crate) fn beside_this(failpoints: Option<PathBuf>) -> Result<Self> {
        let this = std::env::current_exe()?;
        let folder = this.parent().and_then(|examples| examples.parent());
        let folder = folder.context("this program lies in no target folder")?;
        let programs = Self {
            sluicegate: folder.join("sluicegate"),
            sluicegen: folder.join("sluicegen"),
            failpoints,
            build: folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        };
        for program in [&programs.sluicegate, &programs.sluicegen] {
            let missing = "is missing: run scripts/faults.sh, which builds it";
            ensure!(program.is_file(), "{} {missing}", program.display());
        }
        Ok(programs)
    }
}

pub(crate) struct Lab {
    pub(crate) engine: Engine,
    /// The server's program, for cases that need a server of their own.
    pub(crate) binary: PathBuf,
    pub(crate) server: Server,
    pub(crate) programs: Programs,
    pub(crate) scale: Scale,
    /// Journals and logs of this case.
    pub(crate) folder: PathBuf,
    pub(crate) rng: StdRng,
}

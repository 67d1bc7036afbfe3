//! A clock that can be set, for a child and its children (libfaketime).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file with the offset of a clock.
pub(crate) struct FakeClock {
    file: PathBuf,
}

impl FakeClock {
    /// A clock that goes right, in a file of the folder.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let clock = Self {
            file: folder.join("clock"),
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// For the child that is to go by it. What is kept by the monotonic clock, no jump moves.
    pub(crate) fn environment(&self) -> Result<Vec<(String, String)>> {
        let variables = [
            ("LD_PRELOAD", library()?.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            // Seconds. Without, a database asks the file at every look at the clock, and is slow.
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value));
        Ok(owned.to_vec())
    }

    /// Puts it ahead by so many seconds. Written beside and renamed, so that nobody reads half of it.
    pub(crate) fn set(&self, offset_s: i64) -> Result<()> {
        let beside = self.file.with_extension("tmp");
        std::fs::write(&beside, format!("{offset_s:+}\n"))?;
        Ok(std::fs::rename(&beside, &self.file)?)
    }
}

/// libfaketime for programs with threads, where Debian and Ubuntu put it.
fn library() -> Result<PathBuf> {
    let arch = std::env::consts::ARCH;
    let places = [
        format!("/usr/lib/{arch}-linux-gnu"),
        "/usr/lib".to_owned(),
        "/usr/lib64".to_owned(),
    ];
    let mut libraries = places
        .iter()
        .map(|place| PathBuf::from(place).join("faketime/libfaketimeMT.so.1"));
    let found = libraries.find(|library| library.is_file());
    found.context("libfaketime is missing: install the package faketime")
}

//! A disk that can be filled.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::outcome::Skipped;

const DISK: &str = "size=900m,mode=1777";
/// What `mount` makes of EPERM.
const NOT_PERMITTED: &str = "permission denied";

/// A small file system in memory; it goes when this goes.
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
}

impl Disk {
    /// In a container that may not mount, root may not either: the case is skipped there.
    pub(crate) fn mount(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        match as_root("mount", &["-t", "tmpfs", "-o", DISK, "tmpfs"], &folder) {
            Ok(()) => Ok(Self { folder }),
            Err(error) if error.to_string().contains(NOT_PERMITTED) => {
                Err(Skipped("needs the right to mount (CAP_SYS_ADMIN)").into())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes all the space that is left.
    pub(crate) fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.folder.join("ballast"))?;
        for size in [1 << 20, 4096] {
            let block = vec![1; size];
            while ballast.write_all(&block).is_ok() {}
        }
        Ok(())
    }

    pub(crate) fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.join("ballast"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that was just killed may still hold a file.
        if let Err(error) = as_root("umount", &["-l"], &self.folder) {
            eprintln!("{error:#}");
        }
    }
}

/// Runs a program, through sudo where we are not root. The error has what it said, in English.
fn as_root(program: &str, arguments: &[&str], folder: &Path) -> Result<()> {
    let mut command = match rustix::process::geteuid().is_root() {
        true => Command::new(program),
        false => {
            let mut command = Command::new("sudo");
            command.arg(program);
            command
        }
    };
    let command = command.args(arguments).arg(folder).env("LC_ALL", "C");
    let output = command.output().with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program} ended with {}, and this case needs root or sudo: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

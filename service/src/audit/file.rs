//! Where the lines go: the standard output, or a file that is opened anew when somebody has moved it away.

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use sluicegate_transport::files;

/// Where the audit log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AuditTarget {
    Stdout,
    File(PathBuf),
}

impl FromStr for AuditTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err(
                "the audit log needs the name of a file, or - for the standard output".to_owned(),
            ),
            "-" => Ok(Self::Stdout),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for AuditTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl TryFrom<String> for AuditTarget {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AuditTarget> for String {
    fn from(target: AuditTarget) -> Self {
        target.to_string()
    }
}

/// The audit log cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("the audit log {} cannot be written: {reason} (audit.file)", .path.display())]
pub struct AuditError {
    path: PathBuf,
    reason: io::Error,
}

#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    File { path: PathBuf, open: Mutex<Open> },
}

#[derive(Debug)]
pub(super) struct Open {
    file: File,
    /// A line was written in part: the next one begins a new line.
    torn: bool,
}

impl Target {
    pub(super) fn open(target: AuditTarget) -> Result<Self, AuditError> {
        Ok(match target {
            AuditTarget::Stdout => Self::Stdout,
            AuditTarget::File(path) => {
                let file = open(&path).map_err(|reason| AuditError {
                    path: path.clone(),
                    reason,
                })?;
                let open = Mutex::new(Open { file, torn: false });
                Self::File { path, open }
            }
        })
    }

    /// Opens the file anew if it is no longer there, or another one is.
    pub(super) fn make_ready(&self) -> Result<(), AuditError> {
        match self {
            Self::Stdout => Ok(()),
            Self::File { path, open } => {
                let made = current(path, &mut lock(open));
                made.map_err(|reason| AuditError {
                    path: path.clone(),
                    reason,
                })
            }
        }
    }

    pub(super) fn write(&self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(line)?;
                out.flush()
            }
            Self::File { path, open } => {
                let mut open = lock(open);
                current(path, &mut open)?;
                if open.torn {
                    open.file.write_all(b"\n")?;
                }
                open.torn = true;
                open.file.write_all(line)?;
                open.torn = false;
                open.file.sync_data()
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn current(path: &Path, open_file: &mut Open) -> io::Result<()> {
    let own = open_file.file.metadata()?;
    let is_same = match path.metadata() {
        Ok(found) => (found.dev(), found.ino()) == (own.dev(), own.ino()),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if !is_same {
        *open_file = Open {
            file: open(path)?,
            torn: false,
        };
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let file = files::without_waiting()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let found = file.metadata()?;
    let mode = found.mode() & 0o777;
    // To be read by a group is for whoever collects logs.
    if found.is_file() && mode & 0o026 != 0 {
        let reason = format!(
            "others may read or write it (mode {mode:o}): run chmod 600 {}",
            path.display()
        );
        return Err(io::Error::new(ErrorKind::PermissionDenied, reason));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let target = Target::open(AuditTarget::File(path.clone())).unwrap();
        target.write(b"one\n").unwrap();
        let moved = folder.path().join("audit.jsonl.1");
        fs::rename(&path, &moved).unwrap();
        target.write(b"two\n").unwrap();
        fs::remove_file(&path).unwrap();
        target.make_ready().unwrap();
        target.write(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn one_that_others_can_write_to_or_that_nobody_reads_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let opened = || Target::open(AuditTarget::File(path.clone()));
        fs::write(&path, "").unwrap();
        for (mode, is_taken) in [
            (0o666, false),
            (0o604, false),
            (0o620, false),
            (0o640, true),
            (0o600, true),
        ] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(opened().is_ok(), is_taken, "{mode:o}");
        }
        fs::remove_file(&path).unwrap();
        let (at, fifo) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(at, &path, fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert!(opened().is_err(), "nobody is waited for");
    }

    #[test]
    fn one_that_cannot_be_written_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such/folder/audit.jsonl");
        let error = Target::open(AuditTarget::File(missing)).unwrap_err();
        assert!(error.to_string().ends_with("(audit.file)"), "{error}");
        let full = Target::open(AuditTarget::File("/dev/full".into())).unwrap();
        assert!(full.write(b"line\n").is_err());
    }
}

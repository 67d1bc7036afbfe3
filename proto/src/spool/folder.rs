//! The folder of a spool: who has it, which spool it is, and the names of its files.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{
    error::{SpoolError, failed, wrong},
    position::Identity,
};

/// The spool's papers: which one it is, of which stream. Readable, for people.
const PAPERS: &str = "spool";
const LOCK: &str = "lock";
const STATE: &str = "state";
const SEGMENT: &str = ".segment";
const FIRST_LINE: &str = "sluicegate spool 1";

/// A folder that this process has for itself.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
    /// Held as long as it is open.
    _lock: File,
    identity: Identity,
    /// Whether the spool was there before.
    pub(super) is_new: bool,
}

impl Folder {
    pub(super) fn open(path: &Path, stream_id: &str) -> Result<Self, SpoolError> {
        if stream_id.chars().any(char::is_control) {
            return Err(wrong("stream_id", "must be without control characters"));
        }
        make(path)?;
        let handle = File::open(path).map_err(failed("open", path))?;
        let papers = path.join(PAPERS);
        if !papers.exists() {
            // Before anything is put into a folder of something else.
            expect_nothing(path)?;
        }
        let lock = lock(path)?;
        let (identity, is_new) = match fs::read_to_string(&papers) {
            Ok(text) => (identify(path, &text, stream_id)?, false),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Readings are nobody else's business.
                fs::set_permissions(path, Permissions::from_mode(0o700))
                    .map_err(failed("set the mode of", path))?;
                (Identity::random(), true)
            }
            Err(error) => return Err(failed("read", &papers)(error)),
        };
        Ok(Self {
            path: path.to_owned(),
            handle,
            _lock: lock,
            identity,
            is_new,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn segment(&self, first_record: u64) -> PathBuf {
        self.path.join(format!("{first_record:020}{SEGMENT}"))
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// First records of the segments that are there, in order.
    pub(super) fn segments(&self) -> Result<Vec<u64>, SpoolError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed("read", &self.path))? {
            let name = entry.map_err(failed("read", &self.path))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SEGMENT));
            found.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Has the names of its files on the disk.
    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        self.handle.sync_all().map_err(failed("sync", &self.path))
    }

    /// Writes the papers of a new spool. From here on it is one.
    pub(super) fn write_papers(&self, stream_id: &str) -> Result<(), SpoolError> {
        let papers = self.path.join(PAPERS);
        let draft = self.path.join("spool.new");
        let text = format!(
            "{FIRST_LINE}\nidentity {}\nstream {stream_id}\n",
            self.identity
        );
        let mut file = private(&draft).map_err(failed("create", &draft))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed("write", &draft))?;
        fs::rename(&draft, &papers).map_err(failed("write", &papers))?;
        self.sync()
    }
}

/// A file for this user alone, empty.
pub(super) fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn make(path: &Path) -> Result<(), SpoolError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed("make the folder", path))?;
    // So that a loss of power does not take the folder itself along.
    let above = match path.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    let synced = File::open(above).and_then(|above| above.sync_all());
    match synced {
        // A folder that others own need not be readable.
        Err(error) if error.kind() != ErrorKind::PermissionDenied => {
            Err(failed("sync", above)(error))
        }
        _ => Ok(()),
    }
}

fn lock(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join(LOCK);
    let file = private(&path).map_err(failed("create", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(SpoolError::InUse {
            folder: folder.to_owned(),
        }),
        Err(error) => Err(failed("lock", &path)(error.into())),
    }
}

/// Nothing but what an attempt to make a spool has left.
fn expect_nothing(folder: &Path) -> Result<(), SpoolError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let name = entry.map_err(failed("read", folder))?.file_name();
        if name != LOCK && name != STATE && name != "spool.new" {
            let reason = match name.to_string_lossy().ends_with(SEGMENT) {
                true => format!("has segments, but its file {PAPERS:?} is gone: restore it"),
                false => format!(
                    "is no spool and not empty, it has {}: name another folder",
                    name.display()
                ),
            };
            return Err(other(folder, reason));
        }
    }
    Ok(())
}

fn other(folder: &Path, reason: String) -> SpoolError {
    SpoolError::Folder {
        folder: folder.to_owned(),
        reason,
    }
}

fn identify(folder: &Path, text: &str, stream_id: &str) -> Result<Identity, SpoolError> {
    let mut lines = text.lines();
    let is_ours = lines.next() == Some(FIRST_LINE);
    let identity = lines
        .next()
        .and_then(|line| Identity::parse(line.strip_prefix("identity ")?))
        .filter(|_| is_ours);
    let of = lines.next().and_then(|line| line.strip_prefix("stream "));
    let (Some(identity), Some(of)) = (identity, of) else {
        let reason = format!("has a file {PAPERS:?} that this version cannot read");
        return Err(other(folder, reason));
    };
    if of != stream_id {
        let reason = format!(
            "is of the stream {of:?}, not of {stream_id:?}: each stream has a folder of its own"
        );
        return Err(other(folder, reason));
    }
    Ok(identity)
}

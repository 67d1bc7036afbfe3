//! Who else can get at a data directory. The server may run as root and its administrator can write files, so whoever
//! reaches its socket or its files has what its user has.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{Error, ErrorKind},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use tracing::{info, warn};

use super::EmbeddedDbError;

/// Names its owner and is locked for as long as that lives.
pub(super) const OWNER_FILE: &str = "embedded.pid";

const OF_OTHERS: u32 = 0o077;
const WRITE_OF_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Creates the directory if need be, closes it to other users, and returns its absolute path.
///
/// # Errors
/// When it belongs to another user, or holds what others could have put there or have a right to.
pub(super) fn make_private(given: &Path) -> Result<PathBuf, EmbeddedDbError> {
    let failed = |error| EmbeddedDbError::io(given)(error);
    refuse_link_of_another(given)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(given)
        .map_err(failed)?;
    let root = given.canonicalize().map_err(failed)?;
    let found = root.metadata().map_err(failed)?;
    let mode = found.mode() & 0o7777;
    if found.uid() != own_uid() {
        return Err(refused(&root, &belongs_to(&found)));
    }
    if mode & OF_OTHERS != 0 {
        refuse_content(&root, mode)?;
        std::fs::set_permissions(&root, Permissions::from_mode(0o700)).map_err(failed)?;
        // What was put there meanwhile.
        refuse_content(&root, mode)?;
        info!(data_dir = %root.display(), "closed the data directory to other users: its mode was {mode:o}");
    }
    if let Some((parent, whose)) = root.ancestors().skip(1).find_map(weak_parent) {
        let parent = parent.display();
        warn!(data_dir = %root.display(), "others can put another data directory in the place of this one: {parent} {whose}");
    }
    Ok(root)
}

/// Opens or creates a file of the data directory that nobody else may read; a link is not followed.
pub(super) fn private_file(path: &Path) -> std::io::Result<File> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path);
    let file = opened.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::LOOP) => {
            Error::new(ErrorKind::InvalidInput, "it is a symbolic link")
        }
        _ => error,
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    if found.mode() & OF_OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn belongs_to(found: &Metadata) -> String {
    let (owner, own) = (found.uid(), own_uid());
    format!("belongs to the user with the number {owner}, and this process is of {own}")
}

fn refuse_link_of_another(given: &Path) -> Result<(), EmbeddedDbError> {
    match given.symlink_metadata() {
        Ok(found) if found.is_symlink() && ![0, own_uid()].contains(&found.uid()) => Err(refused(
            given,
            &format!("is a symbolic link that {}", belongs_to(&found)),
        )),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(EmbeddedDbError::io(given)(error)),
    }
}

/// Only an empty directory, or a database of ours that others could not write to, may be closed to others.
fn refuse_content(root: &Path, mode: u32) -> Result<(), EmbeddedDbError> {
    let mut entries = root.read_dir().map_err(EmbeddedDbError::io(root))?;
    if entries.next().is_none() {
        return Ok(());
    }
    if mode & WRITE_OF_OTHERS != 0 {
        let reason = format!("has the mode {mode:o}, so that others could have put files there");
        return Err(refused(root, &reason));
    }
    if !root.join(OWNER_FILE).exists() {
        let reason = format!("has the mode {mode:o} and holds other files already");
        return Err(refused(root, &reason));
    }
    Ok(())
}

fn refused(data_dir: &Path, reason: &str) -> EmbeddedDbError {
    EmbeddedDbError::NotPrivate {
        data_dir: data_dir.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Says why others can rename what is in this folder.
fn weak_parent(parent: &Path) -> Option<(&Path, String)> {
    let found = parent.metadata().ok()?;
    let mode = found.mode() & 0o7777;
    let whose = if ![0, own_uid()].contains(&found.uid()) {
        belongs_to(&found)
    } else if mode & WRITE_OF_OTHERS != 0 && mode & STICKY == 0 {
        format!("has the mode {mode:o}")
    } else {
        return None;
    };
    Some((parent, whose))
}

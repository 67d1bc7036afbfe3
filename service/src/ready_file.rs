//! The file that says that the service is ready, and where.

use std::{
    fs::{File, Permissions},
    io::{Error, ErrorKind, Result, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Removes what an earlier process left at `path`; of a link the link itself, never what it leads to.
///
/// # Errors
/// When there is something else than a file at `path`, or it cannot be removed.
pub fn remove_old(path: &Path) -> Result<()> {
    if !is_there(path)? {
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a file or a link is there, which may be replaced.
fn is_there(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(found) if found.is_file() || found.is_symlink() => Ok(true),
        Ok(_) => {
            let reason = "there is something else than a file";
            Err(Error::new(ErrorKind::AlreadyExists, reason))
        }
        Err(_) => Ok(false),
    }
}

/// A file that this process has put at a path.
#[derive(Debug)]
pub struct ReadyFile {
    path: PathBuf,
    /// Open, so that no other file gets its number.
    file: File,
}

impl ReadyFile {
    /// Removes the file, unless somebody has removed or replaced it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(self) -> Result<()> {
        let own = self.file.metadata()?;
        match self.path.symlink_metadata() {
            Ok(found) if (found.dev(), found.ino()) == (own.dev(), own.ino()) => {
                std::fs::remove_file(&self.path)
            }
            _ => Ok(()),
        }
    }
}

/// Puts a file with this text at `path`. It is made beside under a name that nobody can guess, and renamed: who waits
/// for it never reads half of it, and a link that another user planted there is replaced, never followed.
///
/// # Errors
/// When there is something else than a file at `path`, or the folder cannot be written to.
pub fn write(path: &Path, text: &str) -> Result<ReadyFile> {
    is_there(path)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".sluicegate-")
        // Others may read it, as far as the umask lets them.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    Ok(ReadyFile {
        file: file.persist(path)?,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let (victim, ready) = (dir.path().join("victim"), dir.path().join("ready.json"));
        fs::write(&victim, "precious").expect("written");
        for planted in [ready.clone(), dir.path().join("ready.tmp")] {
            symlink(&victim, planted).expect("planted");
        }
        write(&ready, "{}\n").expect("written");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        assert_eq!(fs::read_to_string(&ready).expect("there"), "{}\n");
        assert!(ready.symlink_metadata().expect("there").is_file());
        let mode = ready.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o400, 0o400);
        assert_eq!(mode & 0o022, 0, "{mode:o}");
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let taken = dir.path().join("folder");
        fs::create_dir(&taken).expect("made");
        let refused = write(&taken, "{}\n").expect_err("refused");
        assert!(refused.to_string().contains("something else"), "{refused}");
        remove_old(&taken).expect_err("refused");
        write(Path::new("/no-such-folder/ready"), "").expect_err("no folder");
        remove_old(Path::new("/no-such-folder/ready")).expect("nothing to remove");
    }

    #[test]
    fn of_a_planted_link_the_link_is_removed() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let (victim, ready) = (dir.path().join("victim"), dir.path().join("ready.json"));
        fs::write(&victim, "precious").expect("written");
        symlink(&victim, &ready).expect("planted");
        remove_old(&ready).expect("removed");
        assert!(ready.symlink_metadata().is_err(), "the link is gone");
        let own = write(&ready, "{}\n").expect("written");
        fs::remove_file(&ready).expect("removed");
        symlink(&victim, &ready).expect("planted");
        own.remove().expect("not ours");
        assert!(ready.is_symlink());
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
    }

    #[test]
    fn at_the_end_only_the_own_file_is_removed() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let ready = dir.path().join("ready.json");
        let own = write(&ready, "{}\n").expect("written");
        let of_successor = write(&ready, "{}\n").expect("written");
        own.remove().expect("not ours");
        assert!(ready.exists());
        of_successor.remove().expect("removed");
        assert!(!ready.exists());
    }
}

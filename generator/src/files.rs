//! Files that are written in folders which may be shared with other users.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{Error, ErrorKind, Result, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

/// Creates a file, or empties one that is there; a link is not followed.
///
/// # Errors
/// When `path` is a link, or cannot be written to.
pub(crate) fn create(path: &Path) -> Result<File> {
    let created = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path);
    created.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::LOOP) => {
            Error::new(ErrorKind::InvalidInput, "it is a symbolic link")
        }
        _ => error,
    })
}

/// Puts a file with this text at `path`. It is made beside under a name that nobody can guess, and renamed: who waits
/// for it never reads half of it, and a link that another user planted there is replaced, never followed.
///
/// # Errors
/// When there is something else than a file at `path`, or the folder cannot be written to.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() && !found.is_symlink() => {
            let reason = "there is something else than a file";
            return Err(Error::new(ErrorKind::AlreadyExists, reason));
        }
        _ => {}
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".sluicegen-")
        // Others may read it, as far as the umask lets them.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
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
        replace(&ready, "{}\n").expect("written");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        assert_eq!(fs::read_to_string(&ready).expect("there"), "{}\n");
        assert!(ready.symlink_metadata().expect("there").is_file());
        let mode = ready.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o400, 0o400);
        assert_eq!(mode & 0o022, 0, "{mode:o}");
    }

    #[test]
    fn a_link_is_not_emptied() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let (victim, planted) = (dir.path().join("victim"), dir.path().join("run.hdr"));
        fs::write(&victim, "precious").expect("written");
        symlink(&victim, &planted).expect("planted");
        let refused = create(&planted).expect_err("refused");
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        create(&victim).expect("emptied");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "");
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let taken = dir.path().join("folder");
        fs::create_dir(&taken).expect("made");
        let refused = replace(&taken, "{}\n").expect_err("refused");
        assert!(refused.to_string().contains("something else"), "{refused}");
        replace(Path::new("/no-such-folder/ready"), "").expect_err("no folder");
    }
}

//! Files that somebody has named, and may replace while the program runs.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// Opening waits for nobody: for a pipe without it, until somebody writes into it.
#[must_use]
pub fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

/// Opens a file to read.
///
/// # Errors
/// When it cannot be opened, or is a folder, a pipe or a device.
pub fn open(path: &Path) -> io::Result<File> {
    let file = without_waiting().read(true).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        )),
    }
}

/// Reads a file of at most `max_bytes`.
///
/// # Errors
/// As [`open`], and when it has more.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= max_bytes {
        true => Ok(bytes),
        false => Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has more than {max_bytes} bytes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_is_read_and_nobody_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("sluicegate-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (pipe, file) = (folder.join("pipe"), folder.join("file"));
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
            .expect("a pipe");
        std::fs::write(&file, "text").expect("room");
        for other in [pipe.as_path(), folder.as_path(), Path::new("/dev/zero")] {
            let error = read(other, 10).expect_err("it is refused");
            assert_eq!(
                error.to_string(),
                "it is not a regular file",
                "{}",
                other.display()
            );
        }
        assert_eq!(read(&file, 4).expect("it is read"), b"text");
        assert!(read(&file, 3).is_err());
        std::fs::remove_dir_all(&folder).expect("it goes");
    }
}

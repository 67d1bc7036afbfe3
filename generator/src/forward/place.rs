//! Where the spool stands in its input, as it is kept with the readings: in a file behind so many bytes, which are known again by what
//! stands there, whatever the file is called by then.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A file is known by as many bytes at its beginning, and as many before the place. All of it would take too long to read in a
/// log of many gigabytes.
const KNOWN_BYTES: u64 = 4_096;

/// What the spool keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "lowercase")]
pub(super) enum InputPosition {
    /// In a file.
    File(FilePosition),
    /// In something that cannot be read again.
    Pipe,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FilePosition {
    /// For people.
    name: String,
    /// Behind so many bytes and lines.
    pub(super) bytes: u64,
    pub(super) lines: u64,
    /// Knows the file while nothing of it is taken.
    inode: u64,
    /// Of the bytes that it is known by.
    sha256: String,
}

impl InputPosition {
    /// None for what no `forward` has written.
    pub(super) fn read(source_position: &[u8]) -> Option<Self> {
        serde_json::from_slice(source_position).ok()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Numbers and short texts: it cannot fail, and an empty position would be refused.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl FilePosition {
    pub(super) fn of(name: &str, file: &File, bytes: u64, lines: u64) -> io::Result<Self> {
        let short = std::path::Path::new(name).file_name();
        let short = short.map_or(name.into(), |name| name.to_string_lossy());
        Ok(Self {
            name: short.chars().take(100).collect(),
            bytes,
            lines,
            inode: file.metadata()?.ino(),
            sha256: fingerprint(file, bytes)?,
        })
    }

    /// Whether this is the file.
    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        let about = file.metadata()?;
        if self.bytes == 0 {
            return Ok(about.ino() == self.inode);
        }
        Ok(about.len() >= self.bytes && fingerprint(file, self.bytes)? == self.sha256)
    }

    /// Where it is, for people.
    pub(super) fn describe(&self) -> String {
        let Self { name, lines, .. } = self;
        match lines {
            0 => format!("at the beginning of {name}"),
            _ => format!("behind line {lines} of {name}"),
        }
    }
}

fn fingerprint(file: &File, bytes: u64) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let length = bytes.min(KNOWN_BYTES);
    for from in [0, bytes - length] {
        let mut known = vec![0; length as usize];
        file.read_exact_at(&mut known, from)?;
        hasher.update(&known);
    }
    let hash = hasher.finalize();
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_was_renamed_or_has_grown_is_known_and_another_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let text: String = (0..2_000).map(|line| format!("line {line}\n")).collect();
        fs::write(&path, &text).unwrap();
        let open = |name: &str| File::open(dir.path().join(name)).unwrap();
        for bytes in [7, 5_000, text.len() as u64] {
            let at = FilePosition::of("/x/a.log", &open("a.log"), bytes, 9).unwrap();
            assert_eq!(at.describe(), "behind line 9 of a.log");
            let kept = InputPosition::File(at.clone()).to_bytes();
            assert!(kept.len() <= 1_024);
            assert_eq!(
                InputPosition::read(&kept),
                Some(InputPosition::File(at.clone()))
            );
            fs::write(dir.path().join("b.log"), text.clone() + "more").unwrap();
            assert!(at.is_in(&open("b.log")).unwrap());
            for other in [text.replace("line 0", "LINE 0"), String::new()] {
                fs::write(dir.path().join("c.log"), other).unwrap();
                assert!(!at.is_in(&open("c.log")).unwrap());
            }
        }
        let start = FilePosition::of("a.log", &open("a.log"), 0, 0).unwrap();
        assert!(start.is_in(&open("a.log")).unwrap());
        assert!(!start.is_in(&open("b.log")).unwrap());
    }
}

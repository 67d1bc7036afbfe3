//! The file of tokens and certificates, in YAML or JSON. What is written replaces it as a whole, under a lock, so that two
//! who write at once lose nothing and whoever reads never reads half of it.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{FlockOperation, Gid, Uid, fchown, flock};
use serde::{Deserialize, Serialize};
use sluicegate_transport::files;

use super::{certificates::CertificateEntry, scope::Scopes};

const HEAD: &str = "\
# Who may do what at Sluicegate: `sluicegate token` writes this file, and the service reads it anew when it changes. Of tokens it
# has the SHA-256 alone. Other comments are not kept.
";
/// A file that is larger is none of ours.
const MAX_BYTES: u64 = 4 << 20;

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("{}: {reason}", .path.display())]
    Io { path: PathBuf, reason: io::Error },
    #[error(
        "{} may be read by others than its owner (mode {mode:o}): run chmod 600 {}",
        .path.display(),
        .path.display()
    )]
    Open { path: PathBuf, mode: u32 },
    #[error("{}: {reason}", .path.display())]
    Content { path: PathBuf, reason: String },
}

/// An instant as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Instant(pub(super) DateTime<Utc>);

impl TryFrom<String> for Instant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        DateTime::parse_from_rfc3339(&text)
            .map(|instant| Self(instant.to_utc()))
            .map_err(|_| format!("{text:?} is no instant such as 2026-01-31T12:00:00Z"))
    }
}

impl From<Instant> for String {
    fn from(Instant(instant): Instant) -> Self {
        instant.to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

/// One token.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenEntry {
    pub(super) id: String,
    pub(super) principal: String,
    pub(super) scopes: Scopes,
    /// Of the secret.
    pub(super) sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<Instant>,
    /// None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<Instant>,
}

/// All that the file says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Content {
    pub(super) tokens: Vec<TokenEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) certificates: Vec<CertificateEntry>,
}

/// Where the tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, reason: io::Error) -> TokenFileError {
        TokenFileError::Io {
            path: self.path.clone(),
            reason,
        }
    }

    pub(super) fn content_error(&self, reason: String) -> TokenFileError {
        TokenFileError::Content {
            path: self.path.clone(),
            reason,
        }
    }

    /// Its bytes, for the service: if nobody else may read them, and nobody but root or the service can have written them.
    pub(super) fn trusted_bytes(&self) -> Result<Vec<u8>, TokenFileError> {
        let own = rustix::process::geteuid().as_raw();
        self.bytes_of(|owner| [0, own].contains(&owner))
    }

    /// Its bytes, for who manages it, if nobody else may read them. Root manages the file of the service's user.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, TokenFileError> {
        self.bytes_of(|_| true)
    }

    fn bytes_of(&self, is_trusted: impl Fn(u32) -> bool) -> Result<Vec<u8>, TokenFileError> {
        let file = files::open(&self.path).map_err(|reason| self.io(reason))?;
        let found = file.metadata().map_err(|reason| self.io(reason))?;
        let own = rustix::process::geteuid().as_raw();
        if !is_trusted(found.uid()) {
            return Err(self.content_error(format!(
                "it belongs to the user {}, and has to be root's or the service's own",
                found.uid()
            )));
        }
        // A secret that Kubernetes mounts is root's, and ours through its group alone.
        let of_others = if found.uid() == own { 0o077 } else { 0o007 };
        if found.mode() & of_others != 0 {
            return Err(TokenFileError::Open {
                path: self.path.clone(),
                mode: found.mode() & 0o777,
            });
        }
        self.check_folder()?;
        if found.len() > MAX_BYTES {
            return Err(self.content_error(format!("it has more than {MAX_BYTES} bytes")));
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES), &mut bytes)
            .map_err(|reason| self.io(reason))?;
        Ok(bytes)
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// Who may write to the folder can put another file in its place, unless it is one such as /tmp.
    fn check_folder(&self) -> Result<(), TokenFileError> {
        const STICKY: u32 = 0o1000;
        let mode = fs::metadata(self.folder())
            .map_err(|reason| self.io(reason))?
            .mode();
        if mode & 0o002 == 0 || mode & STICKY != 0 {
            return Ok(());
        }
        Err(self.content_error(format!(
            "everybody may put another file in its place (mode {:o} of its folder): run chmod o-w {}",
            mode & 0o7777,
            self.folder().display()
        )))
    }

    /// What the bytes say. Neither they nor any part of them is in the error.
    pub(super) fn parse(&self, bytes: &[u8]) -> Result<Content, TokenFileError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Content::default());
        }
        serde_norway::from_slice(bytes).map_err(|error| {
            let at = error.location();
            let at = at.map_or_else(String::new, |at| format!(" at line {}", at.line()));
            self.content_error(format!(
                "it cannot be read{at}: see `sluicegate token new --help` for what stands in it"
            ))
        })
    }

    pub(super) fn read(&self) -> Result<Content, TokenFileError> {
        self.parse(&self.bytes()?)
    }

    /// Changes what the file says, or begins one.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Content) -> Result<T, String>,
    ) -> Result<T, TokenFileError> {
        let folder = self.folder();
        let lock = File::open(folder).map_err(|reason| self.io(reason))?;
        // Whoever changes a file in this folder takes turns; the end of the process gives the lock back, too.
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| self.io(error.into()))?;
        let owner = match fs::metadata(&self.path) {
            Ok(found) => Some((found.uid(), found.gid())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(self.io(error)),
        };
        let mut content = match owner {
            Some(_) => self.read()?,
            None => Content::default(),
        };
        let changed = change(&mut content).map_err(|reason| self.content_error(reason))?;
        self.replace(folder, &content, owner)
            .and_then(|()| lock.sync_all())
            .map_err(|reason| self.io(reason))?;
        Ok(changed)
    }

    fn replace(
        &self,
        folder: &Path,
        content: &Content,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        let text = serde_norway::to_string(content).map_err(io::Error::other)?;
        let mut file = tempfile::Builder::new()
            .prefix(".sluicegate-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        file.write_all(HEAD.as_bytes())?;
        file.write_all(text.as_bytes())?;
        // The service goes on reading its file when root has written it.
        let found = file.as_file().metadata()?;
        if let Some((uid, gid)) = owner.filter(|&owner| owner != (found.uid(), found.gid())) {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fchown(file.as_file(), Some(uid), Some(gid))?;
        }
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> TokenEntry {
        TokenEntry {
            id: id.to_owned(),
            principal: "press-4".to_owned(),
            scopes: Scopes::new(vec!["ingest:plant/".parse().unwrap()]),
            sha256: "0".repeat(64),
            created: None,
            expires: None,
            revoked: None,
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        fs::write(&path, "tokens: []\n").unwrap();
        let file = TokenFile::new(path.clone());
        for mode in [0o644, 0o640, 0o604, 0o660] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains("run chmod 600"), "{error}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(file.read().is_ok());
        }
    }

    #[test]
    fn one_that_others_can_replace_or_that_never_ends_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("tokens.yaml"));
        file.change(|content| {
            content.tokens.push(entry("0123456789ab"));
            Ok(())
        })
        .unwrap();
        let mode = |mode| fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        let error = file.bytes().unwrap_err().to_string();
        assert!(
            error.contains("(mode 777 of its folder): run chmod o-w "),
            "{error}"
        );
        mode(0o1777);
        assert!(file.bytes().is_ok(), "as /tmp is");
        let pipe = TokenFile::new(folder.path().join("pipe"));
        let (at, fifo) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(at, pipe.path(), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let error = pipe.bytes().unwrap_err().to_string();
        assert!(error.ends_with("it is not a regular file"), "{error}");
        // Who is not root cannot give files away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(file.path(), Some(65_534), None).unwrap();
            let error = file.trusted_bytes().unwrap_err().to_string();
            assert!(error.contains("it belongs to the user 65534"), "{error}");
            // It may be that of the service's user, which root manages, and which stays theirs.
            file.change(|content| {
                content.tokens.push(entry("0123456789ac"));
                Ok(())
            })
            .unwrap();
            assert_eq!(fs::metadata(file.path()).unwrap().uid(), 65_534);
        }
    }

    #[test]
    fn those_who_write_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("tokens.yaml"));
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = &file;
                scope.spawn(move || {
                    let add = |content: &mut Content| {
                        content.tokens.push(entry(&format!("{number:012x}")));
                        Ok(())
                    };
                    file.change(add).unwrap();
                });
            }
        });
        assert_eq!(file.read().unwrap().tokens.len(), 16);
        let mode = fs::metadata(file.path()).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing else is left behind");
    }

    #[test]
    fn it_is_yaml_or_json_and_an_error_shows_none_of_it() {
        let file = TokenFile::new("tokens".into());
        let json = br#"{"tokens": [{"id": "0123456789ab", "principal": "a", "scopes": ["read"], "sha256": "00"}]}"#;
        assert_eq!(file.parse(json).unwrap().tokens.len(), 1);
        assert!(file.parse(b"").unwrap().tokens.is_empty());
        let wrong = b"tokens:\n- id: x\n  secret: hunter2\n";
        let error = file.parse(wrong).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(
            error.contains("line 2") || error.contains("line 3"),
            "{error}"
        );
    }
}

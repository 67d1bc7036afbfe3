//! A secret of a source, which stands in a file or in the environment, and never among the settings.

use std::{fs, path::PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Far more than a password has.
const MAX_BYTES: u64 = 64 << 10;

/// Where a secret stands: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub enum Secret {
    /// All of this file, but for the end of its last line.
    File(PathBuf),
    /// The variable of this name.
    Env(String),
}

/// As it stands in the file of settings.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<String>,
}

impl TryFrom<Keys> for Secret {
    type Error = &'static str;

    fn try_from(keys: Keys) -> Result<Self, Self::Error> {
        match keys {
            Keys {
                file: Some(file),
                env: None,
            } => Ok(Self::File(file)),
            Keys {
                file: None,
                env: Some(env),
            } => Ok(Self::Env(env)),
            _ => Err("say where it stands: either {file: PATH}, or {env: NAME}"),
        }
    }
}

impl From<Secret> for Keys {
    fn from(secret: Secret) -> Self {
        match secret {
            Secret::File(file) => Self {
                file: Some(file),
                ..Self::default()
            },
            Secret::Env(env) => Self {
                env: Some(env),
                ..Self::default()
            },
        }
    }
}

/// Why a secret cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("the file {path} cannot be read: {reason}")]
    File { path: String, reason: String },
    #[error("the environment has no variable {0}")]
    Env(String),
    #[error("{0} is empty")]
    Empty(String),
}

impl Secret {
    /// Reads it, anew each time: it may be changed while the service runs.
    ///
    /// # Errors
    /// When it is not there, or empty.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let (text, place) = match self {
            Self::Env(name) => {
                let text = std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?;
                (text, name.clone())
            }
            Self::File(path) => {
                let place = path.display().to_string();
                let refused = |reason: String| SecretError::File {
                    path: place.clone(),
                    reason,
                };
                let length = fs::metadata(path)
                    .map_err(|error| refused(error.to_string()))?
                    .len();
                if length > MAX_BYTES {
                    return Err(refused(format!("it has more than {MAX_BYTES} bytes")));
                }
                let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
                (text, place)
            }
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(SecretError::Empty(place)),
            secret => Ok(secret.to_owned().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_file_is_read_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "s3cret \n").unwrap();
        let secret = Secret::File(path.clone());
        assert_eq!(secret.read().unwrap().expose_secret(), "s3cret ");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Empty(_))));
        assert!(!format!("{:?}", secret.read()).contains("s3cret"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let variable = Secret::Env("SLUICEGATE_TEST_NO_SUCH_SECRET".to_owned());
        let error = variable.read().unwrap_err().to_string();
        assert!(error.contains("SLUICEGATE_TEST_NO_SUCH_SECRET"), "{error}");
    }
}

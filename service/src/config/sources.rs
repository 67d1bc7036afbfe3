//! Where settings come from besides the command line.

use std::{fs, path::Path};

use clap::Args as _;

use super::{ConfigError, Settings};

pub(super) fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let failed = |reason: String| ConfigError::File {
        path: path.to_owned(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    if text.trim().is_empty() {
        return Ok(Settings::default());
    }
    // The parser's messages name key, line and column.
    serde_norway::from_str(&text).map_err(|error| failed(error.to_string()))
}

/// A misspelt variable would silently leave the default in force.
pub(super) fn refuse_unknown_variables(
    names: impl Iterator<Item = String>,
) -> Result<(), ConfigError> {
    let command = Settings::augment_args(clap::Command::new("settings"));
    let known: Vec<_> = command
        .get_arguments()
        .filter_map(clap::Arg::get_env)
        .collect();
    for name in names {
        let ours = name.starts_with("SLUICEGATE_") && name != "SLUICEGATE_CONFIG";
        // What scripts and tests of this project use is not the service's to judge.
        let others = ["SLUICEGATE_TEST_", "SLUICEGATE_CACHE_"];
        let foreign = others.iter().any(|prefix| name.starts_with(prefix));
        if ours && !foreign && !known.iter().any(|&variable| variable == name.as_str()) {
            return Err(ConfigError::UnknownVariable(name));
        }
    }
    Ok(())
}

/// `mysql://user:secret@host/db` as `mysql://user:***@host/db`.
#[must_use]
pub fn mask_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_end].rfind('@') else {
        return url.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => url.to_owned(),
    }
}

//! Where settings come from besides the command line.

use std::{ffi::OsString, fs, path::Path};

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
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), ConfigError> {
    let command = Settings::augment_args(clap::Command::new("settings"));
    let known: Vec<_> = command
        .get_arguments()
        .filter_map(clap::Arg::get_env)
        .collect();
    for (name, value) in variables {
        // The names of settings are ASCII.
        let Ok(name) = name.into_string() else {
            continue;
        };
        let ours = name.starts_with("SLUICEGATE_") && name != "SLUICEGATE_CONFIG";
        // What scripts and tests of this project use is not the service's to judge.
        let others = ["SLUICEGATE_TEST_", "SLUICEGATE_CACHE_"];
        let foreign = others.iter().any(|prefix| name.starts_with(prefix))
            || is_service_link(&name, &value.to_string_lossy());
        if ours && !foreign && !known.iter().any(|&variable| variable == name.as_str()) {
            return Err(ConfigError::UnknownVariable(name));
        }
    }
    Ok(())
}

/// Whether Kubernetes has put the variable there, for a Service whose name begins with `sluicegate`.
fn is_service_link(name: &str, value: &str) -> bool {
    let protocols = ["tcp", "udp", "sctp"];
    let is_address = |protocol: &str| value.starts_with(&format!("{protocol}://"));
    let is_part = |protocol: &str| {
        let infix = format!("_{}_", protocol.to_uppercase());
        name.contains("_PORT_") && name.contains(&infix)
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || protocols
            .into_iter()
            .any(|it| is_address(it) || is_part(it))
}

/// `mysql://user:secret@host/db` as `mysql://user:***@host/db`.
#[must_use]
pub fn mask_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    // A password that should have been encoded may have a slash of its own.
    let Some(at) = rest[..authority_end].rfind('@').or_else(|| rest.rfind('@')) else {
        return url.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => url.to_owned(),
    }
}

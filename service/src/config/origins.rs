//! Where settings come from besides the command line.

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use clap::Args as _;

use super::{ConfigError, Settings};

pub(super) const DEFAULT_REST_ADDR: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Far more than all settings take.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where REST listens, and whether it speaks TLS: as given, or else as the file says. Nothing else in the file is judged.
///
/// # Errors
/// When the file cannot be read.
pub fn rest_place(
    addr: Option<SocketAddr>,
    tls: bool,
    file: Option<&Path>,
) -> Result<(SocketAddr, bool), ConfigError> {
    let in_file = file.map(read_file).transpose()?.unwrap_or_default();
    let addr = addr.or(in_file.rest_addr).unwrap_or(DEFAULT_REST_ADDR);
    Ok((addr, tls || in_file.tls.cert.is_some()))
}

pub(super) fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let failed = |reason: String| ConfigError::File {
        path: path.to_owned(),
        reason,
    };
    let unreadable =
        |error: &dyn std::fmt::Display| failed(format!("--config cannot be read: {error}"));
    // From a pipe, too, but not without end.
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(&format!(
            "it has more than {MAX_FILE_BYTES} bytes"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
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
        // What scripts, tests and builds of this project use is not the service's to judge.
        let others = [
            "SLUICEGATE_TEST_",
            "SLUICEGATE_CACHE_",
            "SLUICEGATE_COMMIT",
            "SLUICEGATE_ADVISORY_DB",
        ];
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

/// `mysql://user:secret@host/db` as `mysql://user:***@host/db`. An address that is not of this form is cut so that
/// nothing remains that could be a password.
#[must_use]
pub fn mask_password(url: &str) -> String {
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (&url[..scheme.len() + 3], rest),
        _ => ("", url),
    };
    match end_of_account(rest) {
        Some(at) => match rest[..at].split_once(':') {
            Some((user, _)) => format!("{scheme}{user}:***{}", mask_parameters(&rest[at..])),
            None => format!("{scheme}{}", mask_parameters(rest)),
        },
        None => match rest.split_once(':') {
            // A port, unless it is no number.
            Some((host, port)) if !begins_with_port(port) => format!("{scheme}{host}:***"),
            _ => format!("{scheme}{}", mask_parameters(rest)),
        },
    }
}

/// Where the `@` after user and password is. A password that should have been encoded may have signs of every kind, so
/// the last `@` counts that is not in a parameter.
fn end_of_account(rest: &str) -> Option<usize> {
    let is_parameters = |text: &str| text.split('&').all(|parameter| parameter.contains('='));
    let before_parameters = rest
        .match_indices('?')
        .find(|(at, _)| is_parameters(&rest[at + 1..]))
        .and_then(|(at, _)| rest[..at].rfind('@'));
    before_parameters.or_else(|| rest.rfind('@'))
}

fn begins_with_port(text: &str) -> bool {
    let port = text.split(['/', '?']).next().unwrap_or_default();
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parameters of the driver hold no secret, and whatever else is there is none of them.
fn mask_parameters(text: &str) -> String {
    let Some((before, parameters)) = text.split_once('?') else {
        return text.to_owned();
    };
    let masked = parameters.split('&').map(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        let is_secret = ["pass", "pwd", "secret", "token", "key"]
            .into_iter()
            .any(|word| lower.contains(word));
        match is_secret {
            true => format!("{name}=***"),
            false => parameter.to_owned(),
        }
    });
    let masked: Vec<_> = masked.collect();
    format!("{before}?{}", masked.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_variable_is_refused() {
        let accepts = |name: &str, value: &str| {
            let variable = (OsString::from(name), OsString::from(value));
            refuse_unknown_variables(std::iter::once(variable)).is_ok()
        };
        assert!(accepts("SLUICEGATE_INGEST_LANES", "2"));
        assert!(!accepts("SLUICEGATE_INGEST_LAINS", "2"));
        assert!(accepts("PATH", "/bin"));
        // Kubernetes sets these beside a Service of that name.
        assert!(accepts("SLUICEGATE_SERVICE_HOST", "10.0.0.1"));
        assert!(accepts("SLUICEGATE_SERVICE_PORT_GRPC", "50051"));
        assert!(accepts("SLUICEGATE_PORT", "tcp://10.0.0.1:50051"));
        assert!(accepts("SLUICEGATE_PORT_50051_TCP_ADDR", "10.0.0.1"));
        assert!(!accepts("SLUICEGATE_GRPC_PORT", "50051"));
    }

    #[test]
    fn a_password_is_masked() {
        assert_eq!(
            mask_password("mysql://u:s@e:c@h:1/d?x=a:b@c"),
            "mysql://u:***@h:1/d?x=a:b@c"
        );
        assert_eq!(mask_password("mysql://u@h/d"), "mysql://u@h/d");
        // It should have been encoded, and is a secret all the same.
        assert_eq!(mask_password("mysql://u:s/e?c@h/d"), "mysql://u:***@h/d");
        assert_eq!(mask_password("mysql://h:3306/d"), "mysql://h:3306/d");
        let unix = "mysql://u@localhost/d?socket=%2Ftmp%2Fs";
        assert_eq!(mask_password(unix), unix);
    }

    #[test]
    fn what_could_be_a_password_is_masked_in_a_malformed_address() {
        for url in [
            "root:s3cret@db/sensors",
            "mysql:root:s3cret@db/sensors",
            "mysql:/root:s3cret@db/sensors",
            "mysql://root:s3c@s3cret/w@db/sensors",
            "mysql://root:a?s3cret@db/sensors",
            "root:a://s3cret@db/sensors",
            "mysql://root:s3cret",
            "mysql://root:s3cret/sensors",
            "root:s3cret",
            "mysql://:s3cret@db/sensors",
            "mysql://root@db/sensors?password=s3cret",
            "mysql://db/sensors?user=root&PWD=s3cret",
        ] {
            let masked = mask_password(url);
            assert!(!masked.contains("s3cret"), "{url}: {masked}");
            assert!(masked.contains("***"), "{url}: {masked}");
        }
    }
}

//! Driver errors, sorted by what can be done about them.

use mysql_async::{Error, ServerError};

use crate::repository::RepositoryError;

/// Translates a driver's error. Nothing above this folder sees one.
pub(super) fn explain(error: Error) -> RepositoryError {
    match error {
        Error::Server(server) => of_server(&server),
        Error::Url(url) => RepositoryError::Setup(of_url(&url.to_string())),
        other => RepositoryError::Unreachable(innermost(&other)),
    }
}

/// What is wrong with the address. The driver quotes parts of it, which a mistake can make part of a password.
fn of_url(reason: &str) -> String {
    const FORM: &str = "mysql://user:password@host:3306/database";
    match reason.contains(['@', ':']) {
        false => format!("the database url (--database-url) is not of the form {FORM}: {reason}"),
        true => format!(
            "the database url (--database-url) is not of the form {FORM}: in names and passwords, write @ as %40, : as \
             %3A, / as %2F and ? as %3F"
        ),
    }
}

/// What the system or the network said. The errors around it say the same, or where in the driver it was met.
fn innermost(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn of_server(error: &ServerError) -> RepositoryError {
    let text = format!("{} ({})", error.message, error.code);
    match error.code {
        // Deadlock; lock wait timeout; statement killed or timed out; out of lock memory.
        1213 | 1205 | 1317 | 3024 | 1969 | 1206 => RepositoryError::Contention(text),
        // Read-only server or transaction; disk or table full; offline mode; too many connections.
        1290 | 1792 | 1836 | 1114 | 1021 | 1026 | 3 | 3032 | 1040 | 1203 => {
            RepositoryError::NotWritable(text)
        }
        // Shutting down; lost or killed connection.
        1053 | 1077 | 1079 | 1927 | 1152 | 1158..=1161 => RepositoryError::Unreachable(text),
        // Not allowed to.
        1044 | 1045 | 1142 | 1143 | 1227 | 1698 | 1049 | 3118 | 4151 => {
            RepositoryError::Setup(format!("the database refuses access: {text}"))
        }
        3948 | 1148 | 4166 => RepositoryError::Setup(
            "local_infile is off: run SET GLOBAL local_infile = 1 and put local_infile = 1 into the server's \
             configuration"
                .to_owned(),
        ),
        code if is_data_error(code, &error.state) => RepositoryError::Data(error.message.clone()),
        _ => RepositoryError::Other(text),
    }
}

/// Whether the row is to blame: bad value, too long, no partition for it, a constraint or trigger that says no.
fn is_data_error(code: u16, state: &str) -> bool {
    const CODES: [u16; 12] = [
        1048, 1062, 1261, 1262, 1264, 1265, 1292, 1366, 1406, 1526, 1644, 3819,
    ];
    CODES.contains(&code) || code == 4025 || state.starts_with("22") || state.starts_with("23")
}

//! Driver errors, as the repository has them. What a server's codes mean stands in `refusal`.

use mysql_async::{DriverError, Error};

use super::refusal::of_server;
use crate::repository::RepositoryError;

/// What the driver can prove itself with.
const PLUGINS: &str = "mysql_native_password, caching_sha2_password or, on MariaDB, ed25519";

/// Translates a driver's error. Nothing above this folder sees one.
pub(super) fn explain(error: Error) -> RepositoryError {
    match error {
        Error::Server(server) => of_server(&server),
        Error::Url(url) => RepositoryError::Setup(of_url(&url.to_string())),
        Error::Driver(driver) => of_driver(driver),
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

fn of_driver(error: DriverError) -> RepositoryError {
    match error {
        DriverError::UnknownAuthPlugin { name } => unknown_plugin(&name),
        DriverError::MysqlOldPasswordDisabled => unknown_plugin("mysql_old_password"),
        DriverError::CleartextPluginDisabled => {
            unknown_plugin("mysql_clear_password (as for PAM and LDAP)")
        }
        DriverError::PacketTooLarge => {
            RepositoryError::TooBig("a packet is larger than max_allowed_packet".to_owned())
        }
        other => RepositoryError::Unreachable(other.to_string()),
    }
}

/// The server asks for a way to prove oneself that the driver does not have.
pub(super) fn unknown_plugin(name: &str) -> RepositoryError {
    RepositoryError::Setup(format!(
        "the database wants its account to be proved by the authentication plugin {name}, which this program does not \
         know: identify the account by {PLUGINS}"
    ))
}

//! Driver errors, as the repository has them. What a server's codes mean stands in `refusal`.

use mysql_async::{DriverError, Error, IoError, LocalInfileError, TlsError};

use super::refusal::{lacking, of_server};
use crate::repository::RepositoryError;

/// What the driver can prove itself with.
const PLUGINS: &str = "mysql_native_password, caching_sha2_password or, on MariaDB, ed25519";

/// Translates a driver's error. Nothing above this folder sees one.
pub(super) fn explain(error: Error) -> RepositoryError {
    match error {
        Error::Server(server) => of_server(&server),
        Error::Driver(driver) => of_driver(driver),
        Error::Other(other) => RepositoryError::Other(other.to_string()),
        other => match of_tls(&other).and_then(untrusted) {
            Some(sentence) => RepositoryError::Setup(sentence),
            None => RepositoryError::Unreachable(innermost(&other)),
        },
    }
}

/// As `explain`, where it is known what the statement was to do.
pub(super) fn explain_to(what: &str, error: Error) -> RepositoryError {
    match &error {
        Error::Server(server) => lacking(what, server).unwrap_or_else(|| of_server(server)),
        _ => explain(error),
    }
}

/// The error of TLS behind a driver's error, wherever the handshake met it.
fn of_tls(error: &Error) -> Option<&rustls::Error> {
    match error {
        Error::Io(IoError::Tls(TlsError::Tls(error))) => Some(error),
        Error::Io(IoError::Io(error)) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// What has to be mended; None for what a network does.
fn untrusted(error: &rustls::Error) -> Option<String> {
    use rustls::{CertificateError, Error};
    let (reason, hint) = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => (
            "no authority that is known has signed it".to_owned(),
            "name the file of the one that did (database.ca)",
        ),
        Error::InvalidCertificate(
            wrong @ (CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }),
        ) => (
            wrong.to_string(),
            "reach the database by a name of its certificate, or say ssl-mode=verify-ca where any name will do",
        ),
        Error::InvalidCertificate(other) => {
            (other.to_string(), "give the server one that is good now")
        }
        Error::AlertReceived(alert) => {
            return Some(format!(
                "the database refuses this service's side of TLS ({alert:?}): look at database.client_cert"
            ));
        }
        Error::InconsistentKeys(_) => {
            return Some(
                "database.client_cert and database.client_key do not fit each other".to_owned(),
            );
        }
        _ => return None,
    };
    Some(format!(
        "the database's certificate is refused, because {reason}: {hint}"
    ))
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
        DriverError::NoClientSslFlagFromServer => RepositoryError::Setup(
            "the database offers no TLS, which its address demands (ssl-mode): let the server have it, or say \
             ssl-mode=disabled where nobody can be on the way"
                .to_owned(),
        ),
        DriverError::LocalInfile(LocalInfileError::NoHandler) => RepositoryError::Setup(
            "the database asks for a file of this host in answer to a statement that loads none, and gets none: look at \
             who answers in its place"
                .to_owned(),
        ),
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

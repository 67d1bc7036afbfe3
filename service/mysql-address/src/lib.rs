//! Where a MySQL or MariaDB server is, and how far a connection to it is trusted: what both programs make of
//! `mysql://user:password@host:3306/database?ssl-mode=…`.
//!
//! The driver knows TLS and nothing of modes: what is ours in an address is taken out before the driver reads it.

mod files;
mod mode;
mod parameters;

use std::{borrow::Cow, net::IpAddr, path::PathBuf};

use mysql_async::{DriverError, Error, Opts, OptsBuilder, SslOpts};
use rustls::pki_types::ServerName;

pub use self::mode::SslMode;
use self::{files::Files, parameters::Parameters};

/// How an address looks.
const FORM: &str = "mysql://user:password@host:3306/database";

/// With `skip_domain_validation` the driver lets a name that does not match pass only where the error's text has this
/// word in it, which since rustls 0.23.24 it has no more, unless the name has: the error quotes it. The chain is judged
/// before the name, and says nothing of names, so nothing else passes; should the driver mend this, it goes on to work.
const ANY_NAME: &str = "NotValidForName.invalid";
/// Where nothing is verified and the host is no name that TLS could carry.
const NO_NAME: &str = "database.invalid";

/// How servers say that they, or this account, want TLS: `ER_SECURE_TRANSPORT_REQUIRED`, or like a wrong password.
const MAY_DEMAND_TLS: [u16; 2] = [3159, 1045];

/// What stands beside an address in the settings. What the address says itself comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whose signatures prove a server, PEM. Without it, those of the public authorities do.
    pub ca: Option<PathBuf>,
    /// What proves this client, PEM: both or neither.
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

/// An address that cannot be used. One sentence, which shows nothing of a password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Plain,
    Tls,
}

/// Where a server is, and how it is talked to.
#[derive(Clone, Debug)]
pub struct Address {
    /// Without TLS.
    plain: Opts,
    tls: SslOpts,
    mode: SslMode,
    /// Whether what is said stays on this host.
    is_local: bool,
    /// Which setting it stands in, for people.
    setting: &'static str,
}

impl Address {
    /// Reads an address that stands in `setting`, as in "the database url (--database-url)".
    ///
    /// # Errors
    /// When it is none, or its files cannot be used.
    pub fn parse(
        setting: &'static str,
        url: &str,
        beside: &TlsFiles,
    ) -> Result<Self, AddressError> {
        let refused = |reason: String| AddressError(format!("{setting} {reason}"));
        let Parameters { url, own } = Parameters::taken_from(url).map_err(refused)?;
        let opts = Opts::from_url(&url).map_err(|error| refused(malformed(&error.to_string())))?;
        if opts.enable_cleartext_plugin() || !opts.secure_auth() {
            let reason = "asks for a way to prove its account that would give the password away: leave \
                          enable_cleartext_plugin and secure_auth out";
            return Err(refused(reason.to_owned()));
        }
        let files = Files::of(own.files, beside);
        // As with the servers' own clients: who names an authority wants it to be asked.
        let default = match files.ca {
            Some(_) => SslMode::VerifyIdentity,
            None => SslMode::Preferred,
        };
        let mode = own.mode.unwrap_or(default);
        let is_socket = opts.socket().is_some();
        // IPv6 stands in brackets in an address, and nowhere else.
        let host = opts.ip_or_hostname().trim_matches(['[', ']']).to_owned();
        let is_local = is_socket || is_this_host(&host);
        let tls = match mode {
            SslMode::Disabled => SslOpts::default(),
            _ if is_socket => SslOpts::default(),
            _ => {
                let name = name(&host, mode).map_err(refused)?;
                files
                    .options()
                    .map_err(AddressError)?
                    .with_danger_accept_invalid_certs(!mode.verifies())
                    .with_danger_skip_domain_validation(mode == SslMode::VerifyCa)
                    .with_danger_tls_hostname_override(Some(name))
            }
        };
        // A server elsewhere must not send its client to a socket of this host, and the driver's TLS knows no sockets.
        let prefers_socket = opts.prefer_socket() && is_local && !mode.demands_tls();
        let plain = OptsBuilder::from_opts(opts)
            .ip_or_hostname(host)
            .prefer_socket(prefers_socket)
            .into();
        Ok(Self {
            plain,
            tls,
            mode,
            is_local,
            setting,
        })
    }

    /// Refuses an address whose password would go to whoever answers there: over TLS that is not verified the driver
    /// sends it as it is, and without TLS it encrypts it with a key that it has from whom it asks.
    ///
    /// # Errors
    /// When the server is on another host and nothing verifies it.
    pub fn expect_a_safe_password(&self) -> Result<(), AddressError> {
        if !self.has_password() || self.is_trusted() {
            return Ok(());
        }
        Err(AddressError(format!(
            "{} has a password, which would go to whoever answers at {}: add ?ssl-mode=verify-identity to it, with \
             database.ca for an authority of your own, or say that this is what you want (database.insecure)",
            self.setting,
            self.place()
        )))
    }

    /// Which channel is tried first.
    #[must_use]
    pub fn first_channel(&self) -> Channel {
        match self.mode {
            SslMode::Disabled => Channel::Plain,
            _ if self.plain.socket().is_some() => Channel::Plain,
            // On this host TLS protects nothing; it is there for servers that demand it.
            SslMode::Preferred if self.is_local => Channel::Plain,
            _ => Channel::Tls,
        }
    }

    /// Which channel is tried after this error of the first. A handshake that failed is no reason to do without.
    #[must_use]
    pub fn next_channel(&self, tried: Channel, error: &Error) -> Option<Channel> {
        if self.mode != SslMode::Preferred || self.plain.socket().is_some() {
            return None;
        }
        match (tried, error) {
            (Channel::Tls, Error::Driver(DriverError::NoClientSslFlagFromServer)) => {
                Some(Channel::Plain)
            }
            (Channel::Plain, Error::Server(error)) if MAY_DEMAND_TLS.contains(&error.code) => {
                Some(Channel::Tls)
            }
            _ => None,
        }
    }

    /// Which of two errors says what is wrong, when both channels failed.
    #[must_use]
    pub fn telling(&self, first: Error, second: Error) -> Error {
        match (&first, &second) {
            // Then it was not TLS that was wanted.
            (Error::Server(_), Error::Driver(_) | Error::Io(_)) => first,
            _ => second,
        }
    }

    /// For the driver.
    #[must_use]
    pub fn opts(&self, channel: Channel) -> Opts {
        match channel {
            Channel::Plain => self.plain.clone(),
            Channel::Tls => OptsBuilder::from_opts(self.plain.clone())
                .prefer_socket(false)
                .ssl_opts(Some(self.tls.clone()))
                .into(),
        }
    }

    #[must_use]
    pub fn mode(&self) -> SslMode {
        self.mode
    }

    /// The name of the database; None where the address has none.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.plain.db_name().filter(|name| !name.is_empty())
    }

    /// Where the server is, for people: the socket, or host and port.
    #[must_use]
    pub fn place(&self) -> String {
        match self.plain.socket() {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", self.plain.ip_or_hostname(), self.plain.tcp_port()),
        }
    }

    /// Whether the account proves itself by a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.plain.pass().is_some_and(|pass| !pass.is_empty())
    }

    /// Whether what is said stays on this host, or goes to a server that TLS has verified.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.is_local || self.mode.verifies()
    }
}

/// Whether nobody outside of this host is on the way to it. The driver takes an address in a URL for a name.
fn is_this_host(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The name that the server's certificate has to have.
fn name(host: &str, mode: SslMode) -> Result<Cow<'static, str>, String> {
    if mode == SslMode::VerifyCa {
        return Ok(Cow::Borrowed(ANY_NAME));
    }
    match ServerName::try_from(host) {
        Ok(_) => Ok(Cow::Owned(host.to_owned())),
        Err(_) if !mode.verifies() => Ok(Cow::Borrowed(NO_NAME)),
        Err(_) => Err(format!(
            "has the host {host}, which no certificate can be for: give the server a name without such signs, or say \
             ssl-mode=verify-ca"
        )),
    }
}

/// What is wrong with an address. The driver quotes parts of it, which a mistake can make part of a password.
fn malformed(reason: &str) -> String {
    match reason.contains(['@', ':']) {
        false => format!("is not of the form {FORM}: {reason}"),
        true => format!(
            "is not of the form {FORM}: in names and passwords, write @ as %40, : as %3A, / as %2F and ? as %3F"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: &str = "the url";

    fn parse(url: &str) -> Address {
        Address::parse(SETTING, url, &TlsFiles::default()).unwrap()
    }

    #[test]
    fn a_password_goes_to_this_host_or_to_a_verified_server() {
        let is_refused = |url: &str| parse(url).expect_a_safe_password().is_err();
        for safe in [
            "mysql://u:p@127.0.0.1/d",
            "mysql://u:p@127.9.9.9/d",
            "mysql://u:p@[::1]/d",
            "mysql://u:p@localhost/d?ssl-mode=disabled",
            "mysql://u:p@db/d?socket=%2Frun%2Fs.sock",
            "mysql://u:p@db/d?ssl-mode=verify-ca",
            "mysql://u:p@db/d?ssl_mode=VERIFY_IDENTITY",
            "mysql://u@db/d",
            "mysql://u:@db/d",
        ] {
            assert!(!is_refused(safe), "{safe}");
        }
        for unsafe_one in [
            "mysql://u:p@db/d",
            "mysql://u:p@192.0.2.1/d",
            "mysql://u:p@[fd00::2]/d",
            "mysql://u:p@localhost.example/d",
            "mysql://u:p@0.0.0.0/d",
            "mysql://u:p@db/d?ssl-mode=preferred",
            "mysql://u:p@db/d?ssl-mode=required",
            "mysql://u:p@db/d?ssl-mode=disabled",
        ] {
            assert!(is_refused(unsafe_one), "{unsafe_one}");
        }
        let error = parse("mysql://u:s3cret@db:7/d")
            .expect_a_safe_password()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the url has a password") && error.contains("db:7"),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn ways_of_the_driver_that_would_give_a_password_away_are_refused() {
        for parameter in ["enable_cleartext_plugin=true", "secure_auth=false"] {
            let url = format!("mysql://u:p@127.0.0.1/d?{parameter}");
            let error = Address::parse(SETTING, &url, &TlsFiles::default()).unwrap_err();
            assert!(error.to_string().contains("give the password away"));
        }
    }

    #[test]
    fn a_server_elsewhere_names_no_socket_of_this_host() {
        assert!(
            parse("mysql://u@127.0.0.1/d")
                .opts(Channel::Plain)
                .prefer_socket()
        );
        assert!(!parse("mysql://u@db/d").opts(Channel::Plain).prefer_socket());
        let chosen = parse("mysql://u@127.0.0.1/d?prefer_socket=false");
        assert!(!chosen.opts(Channel::Plain).prefer_socket());
        assert!(
            !parse("mysql://u@127.0.0.1/d")
                .opts(Channel::Tls)
                .prefer_socket()
        );
    }

    #[test]
    fn only_preferred_does_without_tls_and_only_where_none_is_offered() {
        let none = Error::Driver(DriverError::NoClientSslFlagFromServer);
        let broken = Error::from(std::io::Error::from(std::io::ErrorKind::InvalidData));
        let preferred = parse("mysql://u@db/d");
        assert_eq!(preferred.first_channel(), Channel::Tls);
        assert_eq!(
            preferred.next_channel(Channel::Tls, &none),
            Some(Channel::Plain)
        );
        assert_eq!(preferred.next_channel(Channel::Tls, &broken), None);
        for mode in ["required", "verify-ca", "verify-identity"] {
            let address = parse(&format!("mysql://u@db/d?ssl-mode={mode}"));
            assert_eq!(address.first_channel(), Channel::Tls, "{mode}");
            assert_eq!(address.next_channel(Channel::Tls, &none), None, "{mode}");
        }
        let socket = parse("mysql://u@db/d?ssl-mode=required&socket=%2Frun%2Fs.sock");
        assert_eq!(socket.first_channel(), Channel::Plain);
    }

    #[test]
    fn a_server_on_this_host_gets_tls_when_it_demands_it() {
        let address = parse("mysql://u@127.0.0.1/d");
        assert_eq!(address.first_channel(), Channel::Plain);
        for code in MAY_DEMAND_TLS {
            let demanded = Error::Server(mysql_async::ServerError {
                code,
                message: String::new(),
                state: String::new(),
            });
            assert_eq!(
                address.next_channel(Channel::Plain, &demanded),
                Some(Channel::Tls)
            );
            let disabled = parse("mysql://u@127.0.0.1/d?ssl-mode=disabled");
            assert_eq!(disabled.next_channel(Channel::Plain, &demanded), None);
        }
    }

    #[test]
    fn an_authority_is_asked_when_it_is_named() {
        let ca = tempfile::NamedTempFile::new().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["ca".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        std::fs::write(ca.path(), certificate.pem()).unwrap();
        let beside = TlsFiles {
            ca: Some(ca.path().to_owned()),
            ..TlsFiles::default()
        };
        let mode = |url: &str| Address::parse(SETTING, url, &beside).unwrap().mode();
        assert_eq!(mode("mysql://u@db/d"), SslMode::VerifyIdentity);
        assert_eq!(mode("mysql://u@db/d?ssl-mode=required"), SslMode::Required);
        assert_eq!(parse("mysql://u@db/d").mode(), SslMode::Preferred);
    }

    #[test]
    fn a_host_that_no_certificate_is_for_cannot_be_verified_by_name() {
        let parse = |mode: &str| {
            let url = format!("mysql://u@-db-/d?ssl-mode={mode}");
            Address::parse(SETTING, &url, &TlsFiles::default())
        };
        assert!(parse("required").is_ok());
        assert!(parse("verify-ca").is_ok());
        let error = parse("verify-identity").unwrap_err().to_string();
        assert!(error.contains("-db-"), "{error}");
    }
}

//! Connections, with everything that a session could inherit stated explicitly.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use mysql_async::{
    Conn, DriverError, Error, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, Row,
    prelude::Queryable as _,
};
use sluicegate_mysql_address::{Address, AddressError, Channel, SslMode};
use tracing::{info, warn};

use super::{TlsFiles, answers, error::explain, metrics::StorageMetrics};
use crate::repository::RepositoryError;

/// A server or a network that does not answer must not hold a lane for ever.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(20);

/// A plugin that the driver gave no name of.
const UNNAMED: &str = "that this account has";

/// Connections for what the service does by itself.
const OWN_CONNECTIONS: usize = 8;

/// How long the server waits for a client in the middle of something, be it a transaction or the rows of a LOAD,
/// seconds. An instance that is paused, or cut off unnoticed, then lets go of the streams that it held, so that another
/// one can take them over.
pub(super) const SILENCE_LIMIT_S: u32 = 5;

/// The session's settings: whatever the server's defaults are, texts are UTF-8, times are in UTC, a bad value is an
/// error, and a transaction locks rows and never gaps.
const SESSION: [&str; 7] = [
    // The driver's handshake says so too, but a pooled connection is reset, and MySQL then falls back to its default.
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    // RELEASE would end the connection with each transaction, CHAIN begin another one.
    "SET completion_type = 'NO_CHAIN'",
    "SET time_zone = '+00:00'",
    "SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET innodb_lock_wait_timeout = 10",
    // SILENCE_LIMIT_S, for the rows of a LOAD.
    "SET net_read_timeout = 5",
];

/// All of the session's settings. The driver says in which order they are made, so none is made twice.
fn session(limit: Option<Duration>) -> Vec<String> {
    let (limit_s, limit_ms) = limit.map_or((0, 0), |it| (it.as_secs(), it.as_millis()));
    // Changes from management are transactions of one statement. A load takes as long as it takes. Each engine reads one of
    // the comments.
    let execution = format!(
        "SET autocommit = 1 /*M! , max_statement_time = {limit_s} */ /*!50708 , max_execution_time = {limit_ms} */"
    );
    // A table that somebody has locked, or alters, is waited for before a statement is executed, by default for a year.
    let waiting = limit.map(|_| format!("SET lock_wait_timeout = {limit_s}"));
    let always = SESSION.iter().map(|&setting| setting.to_owned());
    always.chain([execution]).chain(waiting).collect()
}

/// The longest packet that a server may send, bytes, whatever it says.
const MAX_PACKET_BYTES: usize = 16 << 20;

/// Where most addresses stand.
const DATABASE_URL: &str = "the database url (--database-url)";
/// Where that of management stands.
const MANAGE_DATABASE_URL: &str = "the database url of management (--manage-database-url)";

/// Where the database is, and how far it is trusted.
#[derive(Clone, Debug)]
pub struct Access {
    /// `mysql://user:password@host:port/database`
    pub url: String,
    pub tls: TlsFiles,
    /// Whether a password may go to whoever answers.
    pub insecure: bool,
    /// The setting that the address stands in, for people.
    setting: &'static str,
}

impl Access {
    /// `insecure`: whether a password may go to whoever answers.
    #[must_use]
    pub fn of(url: String, tls: TlsFiles, insecure: bool) -> Self {
        Self {
            url,
            tls,
            insecure,
            setting: DATABASE_URL,
        }
    }

    /// The same, for management, by another address.
    #[must_use]
    pub fn for_management(&self, url: String) -> Self {
        Self {
            url,
            setting: MANAGE_DATABASE_URL,
            ..self.clone()
        }
    }

    /// Whether the database may be asked, without asking it.
    ///
    /// # Errors
    /// When the address is none, or its password would be given away. The sentence shows nothing of a password.
    pub fn check(&self) -> Result<(), RepositoryError> {
        self.address().map(drop)
    }

    fn address(&self) -> Result<Address, RepositoryError> {
        let setup = |error: AddressError| RepositoryError::Setup(error.to_string());
        let address = Address::parse(self.setting, &self.url, &self.tls).map_err(setup)?;
        if address.database().is_none() {
            return Err(RepositoryError::Setup(format!(
                "{} names no database: mysql://user@host:port/DATABASE",
                self.setting
            )));
        }
        if !self.insecure {
            address.expect_a_safe_password().map_err(setup)?;
        }
        Ok(address)
    }
}

/// Makes connections.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    address: Address,
    insecure: bool,
    /// Which one the first connection took: those after it take no other, whatever the server says then.
    channel: Arc<OnceLock<Channel>>,
    plain: Opts,
    tls: Opts,
    /// The longest packet, as the server said last.
    packet_bytes: Arc<AtomicUsize>,
    metrics: StorageMetrics,
}

impl Connector {
    pub(super) fn new(access: &Access, metrics: &StorageMetrics) -> Result<Self, RepositoryError> {
        // The driver makes its TLS with what the process has chosen.
        sluicegate_transport::crypto::provider();
        let address = access.address()?;
        let opts = |channel| {
            let pool = PoolOpts::default()
                .with_constraints(PoolConstraints::new(0, OWN_CONNECTIONS).unwrap_or_default())
                .with_inactive_connection_ttl(Duration::from_secs(60));
            OptsBuilder::from_opts(address.opts(channel))
                .setup(session(None))
                .pool_opts(pool)
                .tcp_nodelay(true)
                // A network that swallows everything must not look like a slow database for ever.
                .tcp_keepalive(Some(TCP_KEEPALIVE))
                .into()
        };
        Ok(Self {
            insecure: access.insecure,
            channel: Arc::default(),
            plain: opts(Channel::Plain),
            tls: opts(Channel::Tls),
            packet_bytes: Arc::new(AtomicUsize::new(MAX_PACKET_BYTES)),
            address,
            metrics: metrics.clone(),
        })
    }

    pub(super) fn metrics(&self) -> &StorageMetrics {
        &self.metrics
    }

    pub(super) async fn connect(&self) -> Result<Conn, RepositoryError> {
        let connected = self.try_to_connect().await;
        self.metrics.connected(connected.is_ok());
        connected
    }

    async fn try_to_connect(&self) -> Result<Conn, RepositoryError> {
        let decided = self.channel.get().copied();
        let first = decided.unwrap_or_else(|| self.address.first_channel());
        let (conn, channel) = match self.over(first).await? {
            Ok(conn) => (conn, first),
            Err(error) => match self.address.next_channel(first, &error) {
                Some(next) if decided.is_none() => match self.over(next).await? {
                    Ok(conn) => (conn, next),
                    Err(second) => return Err(explain(self.address.telling(error, second))),
                },
                _ => return Err(explain(error)),
            },
        };
        self.channel.get_or_init(|| channel);
        Ok(conn)
    }

    async fn over(&self, channel: Channel) -> Result<Result<Conn, Error>, RepositoryError> {
        // The driver panics where its build lacks the cryptography that an account asks for.
        let connecting = AssertUnwindSafe(async {
            let mut conn = Conn::new(self.opts_over(channel)).await?;
            if self.hears_of_smaller_packets(&mut conn).await? {
                let _ = conn.disconnect().await;
                conn = Conn::new(self.opts_over(channel)).await?;
            }
            Ok(conn)
        });
        let mut connecting = Box::pin(connecting.catch_unwind());
        let Ok(connected) = tokio::time::timeout(CONNECT_DEADLINE, &mut connecting).await else {
            answers::cut(connecting);
            let reason = "no answer to a connection".to_owned();
            return Err(RepositoryError::Unreachable(reason));
        };
        let connected = connected.unwrap_or_else(|_| {
            Err(DriverError::UnknownAuthPlugin {
                name: UNNAMED.to_owned(),
            }
            .into())
        });
        Ok(connected)
    }

    /// Asks the server for the longest packet that it takes, and says whether this connection goes by more. The driver
    /// would ask by itself, and believe whatever it is told.
    async fn hears_of_smaller_packets(&self, conn: &mut Conn) -> Result<bool, Error> {
        let row: Option<Row> = conn.query_first("SELECT @@max_allowed_packet").await?;
        let told = row.and_then(|row| row.get_opt::<usize, _>(0)?.ok());
        let bytes = told.unwrap_or(MAX_PACKET_BYTES).min(MAX_PACKET_BYTES);
        let before = self.packet_bytes.swap(bytes, Ordering::Relaxed);
        Ok(bytes < before)
    }

    fn opts_over(&self, channel: Channel) -> Opts {
        let opts = match channel {
            Channel::Plain => self.plain.clone(),
            Channel::Tls => self.tls.clone(),
        };
        let bytes = self.packet_bytes.load(Ordering::Relaxed);
        OptsBuilder::from_opts(opts)
            .max_allowed_packet(Some(bytes))
            .into()
    }

    /// As the first connection found them.
    /// The database within the server.
    pub(super) fn database(&self) -> String {
        self.opts().db_name().unwrap_or_default().to_owned()
    }

    fn opts(&self) -> Opts {
        let decided = self.channel.get().copied();
        self.opts_over(decided.unwrap_or_else(|| self.address.first_channel()))
    }

    /// Says how the database is reached, and what of that is not as it should be.
    pub(super) fn report(&self) {
        let place = self.place();
        let tls = match (self.channel.get(), self.address.mode()) {
            (Some(Channel::Tls), SslMode::VerifyIdentity) => "verified, with the server's name",
            (Some(Channel::Tls), SslMode::VerifyCa) => "verified, for whatever name",
            (Some(Channel::Tls), _) => "not verified",
            _ => "none",
        };
        let mode = self.address.mode().to_string();
        info!(place, tls, ssl_mode = mode, "the database is reached");
        if self.insecure {
            warn!(
                place,
                "database.insecure lets a password go to whoever answers in the database's place: let TLS verify it \
                 (ssl-mode=verify-identity in its address) and take this setting away"
            );
        }
        if !self.address.has_password() && !self.address.is_trusted() {
            warn!(
                place,
                "the account has no password, and nothing verifies the database: whoever is on the way can read and \
                 change what is stored. Give the account a password or a certificate, and the address \
                 ssl-mode=verify-identity"
            );
        }
    }

    /// Where the database is, for people.
    pub(super) fn place(&self) -> String {
        self.address.place()
    }

    pub(super) fn pool(&self, name: &'static str) -> Pool {
        let pool = Pool::new(self.opts());
        self.metrics.pools().add(name, OWN_CONNECTIONS, &pool);
        pool
    }

    /// A pool for queries and changes from REST: no statement runs for ever, and a connection keeps its prepared
    /// statements when it goes back.
    pub(super) fn management_pool(
        &self,
        name: &'static str,
        connections: usize,
        statement_limit: Duration,
    ) -> Pool {
        let constraints = PoolConstraints::new(0, connections).unwrap_or_default();
        let pool = self.opts().pool_opts().clone();
        let pool = pool
            .with_constraints(constraints)
            .with_reset_connection(false);
        let opts = OptsBuilder::from_opts(self.opts())
            .setup(session(Some(statement_limit)))
            .pool_opts(pool)
            // An UPDATE then tells how many rows it found, not how many became different.
            .client_found_rows(true);
        let pool = Pool::new(opts);
        self.metrics.pools().add(name, connections, &pool);
        pool
    }
}

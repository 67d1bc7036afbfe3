//! Connections, with everything that a session could inherit stated explicitly.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use mysql_async::{Conn, DriverError, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};

use super::{error::explain, metrics::StorageMetrics};
use crate::repository::RepositoryError;

/// A server or a network that does not answer must not hold a lane for ever.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(20);

/// A plugin that the driver gave no name of.
const UNNAMED: &str = "that this account has";

/// Connections for what the service does by itself.
const OWN_CONNECTIONS: usize = 8;

/// Longest run of a statement of management, seconds.
const STATEMENT_LIMIT_S: u32 = 60;

/// How long the server waits for a client in the middle of something, be it a transaction or the rows of a LOAD,
/// seconds. An instance that is paused, or cut off unnoticed, then lets go of the streams that it held, so that another
/// one can take them over.
pub(super) const SILENCE_LIMIT_S: u32 = 5;

/// The session's settings: whatever the server's defaults are, texts are UTF-8, times are in UTC, a bad value is an
/// error, and a transaction locks rows and never gaps.
const SESSION: [&str; 8] = [
    // The driver's handshake says so too, but a pooled connection is reset, and MySQL then falls back to its default.
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    // RELEASE would end the connection with each transaction, CHAIN begin another one.
    "SET completion_type = 'NO_CHAIN'",
    // Changes from management are transactions of one statement. A load takes as long as it takes; each engine reads
    // one of the comments.
    "SET autocommit = 1 /*M! , max_statement_time = 0 */ /*!50708 , max_execution_time = 0 */",
    "SET time_zone = '+00:00'",
    "SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET innodb_lock_wait_timeout = 10",
    // SILENCE_LIMIT_S, for the rows of a LOAD.
    "SET net_read_timeout = 5",
];

/// Whether the address of a database can be used, without asking the database.
///
/// # Errors
/// When it cannot. The sentence shows nothing of a password.
pub fn check_address(url: &str) -> Result<(), RepositoryError> {
    parse(url).map(drop)
}

fn parse(url: &str) -> Result<Opts, RepositoryError> {
    let opts = Opts::from_url(url).map_err(|error| explain(error.into()))?;
    if opts.db_name().is_none_or(str::is_empty) {
        let reason =
            "the database url (--database-url) names no database: mysql://user@host:port/DATABASE";
        return Err(RepositoryError::Setup(reason.to_owned()));
    }
    if opts.ssl_opts().is_some() {
        let reason = "the database url (--database-url) asks for TLS (require_ssl), which is not there yet: leave it out, or reach the \
                      database through a tunnel";
        return Err(RepositoryError::Setup(reason.to_owned()));
    }
    Ok(opts)
}

/// Makes connections.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    opts: Opts,
    metrics: StorageMetrics,
}

impl Connector {
    pub(super) fn new(url: &str, metrics: &StorageMetrics) -> Result<Self, RepositoryError> {
        let opts = parse(url)?;
        let pool = PoolOpts::default()
            .with_constraints(PoolConstraints::new(0, OWN_CONNECTIONS).unwrap_or_default())
            .with_inactive_connection_ttl(Duration::from_secs(60));
        let opts = OptsBuilder::from_opts(opts)
            .setup(SESSION.to_vec())
            .pool_opts(pool)
            .tcp_nodelay(true)
            // A network that swallows everything must not look like a slow database for ever.
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .into();
        Ok(Self {
            opts,
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
        // The driver panics where its build lacks the cryptography that an account asks for.
        let connecting = AssertUnwindSafe(Conn::new(self.opts.clone())).catch_unwind();
        tokio::time::timeout(CONNECT_DEADLINE, connecting)
            .await
            .map_err(|_| RepositoryError::Unreachable("no answer to a connection".to_owned()))?
            .unwrap_or_else(|_| {
                Err(DriverError::UnknownAuthPlugin {
                    name: UNNAMED.to_owned(),
                }
                .into())
            })
            .map_err(explain)
    }

    /// Where the database is, for people: the socket, or host and port.
    pub(super) fn place(&self) -> String {
        match self.opts.socket() {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", self.opts.ip_or_hostname(), self.opts.tcp_port()),
        }
    }

    pub(super) fn pool(&self, name: &'static str) -> Pool {
        let pool = Pool::new(self.opts.clone());
        self.metrics.pools().add(name, OWN_CONNECTIONS, &pool);
        pool
    }

    /// A pool for queries and changes from REST: no statement runs for ever, and a connection keeps its prepared
    /// statements when it goes back.
    pub(super) fn management_pool(
        &self,
        server_version: &str,
        name: &'static str,
        connections: usize,
    ) -> Pool {
        let limit = if server_version.contains("MariaDB") {
            format!("SET max_statement_time = {STATEMENT_LIMIT_S}")
        } else {
            format!("SET max_execution_time = {}", STATEMENT_LIMIT_S * 1000)
        };
        let mut setup: Vec<_> = SESSION.map(str::to_owned).to_vec();
        setup.push(limit);
        let constraints = PoolConstraints::new(0, connections).unwrap_or_default();
        let pool = self.opts.pool_opts().clone();
        let pool = pool
            .with_constraints(constraints)
            .with_reset_connection(false);
        let opts = OptsBuilder::from_opts(self.opts.clone())
            .setup(setup)
            .pool_opts(pool)
            // An UPDATE then tells how many rows it found, not how many became different.
            .client_found_rows(true);
        let pool = Pool::new(opts);
        self.metrics.pools().add(name, connections, &pool);
        pool
    }
}

//! Real database servers, private to the suite.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;
use sluicegate::embedded_db::{EmbeddedDb, EmbeddedDbOptions, Engine};

use crate::{layout::has_numbers, process};

/// The account of the service: an ordinary one, which a read-only server and a full one refuse.
const ACCOUNT: &str = "gate";

/// Where the server of an engine is. MySQL is where `scripts/install-mysql.sh` puts it, or SLUICEGATE_TEST_MYSQLD.
pub(crate) fn find_server(engine: Engine) -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    let found = match engine {
        Engine::MySql => set("SLUICEGATE_TEST_MYSQLD").or_else(|| {
            let cache = set("SLUICEGATE_CACHE_DIR")
                .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("sluicegate")))
                .or_else(|| set("HOME").map(|home| home.join(".cache/sluicegate")));
            cache.map(|cache| cache.join("mysql/bin/mysqld"))
        }),
        Engine::MariaDb => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .chain([PathBuf::from("/usr/sbin")])
            .map(|folder| folder.join("mariadbd"))
            .find(|binary| binary.is_file()),
    };
    found
        .filter(|binary| binary.is_file())
        .with_context(|| format!("no server of {engine} here: run scripts/faults.sh"))
}

/// Arguments for a server that takes little space and starts sooner.
pub(crate) fn small_logs(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::MariaDb => &["--innodb-log-file-size=32M"],
        Engine::MySql => &["--innodb-redo-log-capacity=32M"],
    }
}

/// A running server.
pub(crate) struct Server {
    db: EmbeddedDb,
    schemas: u32,
}

impl Server {
    /// Starts a server on a folder, with the settings of the embedded database unless `arguments` change them.
    pub(crate) async fn start(binary: &Path, folder: &Path, arguments: &[&str]) -> Result<Self> {
        let mut options = EmbeddedDbOptions::new(folder);
        options.binary = Some(binary.to_owned());
        options.tcp_port = Some(0);
        options.extra_args = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let db = EmbeddedDb::start(options).await?;
        let server = Self { db, schemas: 0 };
        let admin = server.admin();
        for host in ["127.0.0.1", "localhost"] {
            admin
                .run(&format!("CREATE USER IF NOT EXISTS {ACCOUNT}@'{host}'"))
                .await?;
            // What is needed on the schemas of the suite, and nothing that looks past a limit of the server.
            let grant = format!("GRANT ALL ON `case\\_%`.* TO {ACCOUNT}@'{host}'");
            admin.run(&grant).await?;
        }
        Ok(server)
    }

    /// An empty schema.
    pub(crate) async fn schema(&mut self) -> Result<Schema> {
        self.schemas += 1;
        let name = format!("case_{}", self.schemas);
        let admin = self.admin();
        admin
            .run(&format!("DROP DATABASE IF EXISTS {name}"))
            .await?;
        admin.run(&format!("CREATE DATABASE {name}")).await?;
        Ok(Schema { name, ..admin })
    }

    /// The server itself, as an administrator sees it.
    pub(crate) fn admin(&self) -> Schema {
        Schema {
            name: "sluicegate".to_owned(),
            socket: self.db.socket().to_owned(),
            port: self.db.tcp_port().unwrap_or_default(),
            root_password: self.db.root_password().to_owned(),
        }
    }

    pub(crate) async fn version(&self) -> Result<String> {
        let mut conn = self.admin().connect().await?;
        let version: Option<String> = conn.query_first("SELECT VERSION()").await?;
        version.context("the server tells no version")
    }

    /// SIGKILL: a crash.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.db.kill().await?)
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        Ok(self.db.stop().await?)
    }

    /// Starts it again, after stopping it where it runs.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        Ok(self.db.restart().await?)
    }

    /// A server that answers, whatever state this one is in.
    pub(crate) async fn revive(&mut self) -> Result<()> {
        self.kill().await?;
        self.restart().await
    }

    /// Whether it has ended without being told to.
    pub(crate) fn has_crashed(&self) -> bool {
        let pid = self.db.pid().unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        state.is_empty() || state.starts_with('Z')
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        process::signal(self.db.pid().context("the server does not run")?, signal)
    }
}

/// A schema on a server, seen by its administrator.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(crate) name: String,
    socket: PathBuf,
    /// The server's own TCP port.
    pub(crate) port: u16,
    root_password: String,
}

impl Schema {
    /// That of a service with a database of its own, which lies in this folder.
    pub(crate) fn embedded(folder: &Path) -> Result<Self> {
        let options = std::fs::read_to_string(folder.join("client.cnf"))?;
        let value = |name: &str| {
            let value = options.lines().find_map(|line| line.strip_prefix(name));
            value.with_context(|| format!("client.cnf has no {name}"))
        };
        Ok(Self {
            name: "sluicegate".to_owned(),
            socket: value("socket=")?.trim_matches('"').into(),
            port: 0,
            root_password: value("password=")?.to_owned(),
        })
    }

    /// For the service, through a TCP port of this host: the server's, or a proxy's.
    pub(crate) fn service_url(&self, port: u16) -> String {
        let name = &self.name;
        format!("mysql://{ACCOUNT}@127.0.0.1:{port}/{name}?prefer_socket=false")
    }

    /// For the administrator, on the socket.
    pub(crate) fn admin_url(&self) -> String {
        let socket = self.socket.to_string_lossy();
        let socket = utf8_percent_encode(&socket, NON_ALPHANUMERIC);
        let password = utf8_percent_encode(&self.root_password, NON_ALPHANUMERIC);
        let name = &self.name;
        format!("mysql://root:{password}@localhost/{name}?socket={socket}")
    }

    pub(crate) async fn connect(&self) -> Result<Conn> {
        let opts = OptsBuilder::from_opts(Opts::from_url(&self.admin_url())?)
            .setup(vec!["SET time_zone = '+00:00'"]);
        Ok(Conn::new(opts).await?)
    }

    /// Gives its space back.
    pub(crate) async fn drop(self) -> Result<()> {
        self.run(&format!("DROP DATABASE {}", self.name)).await
    }

    /// Runs one statement.
    /// What changes the table of readings is said of what stands in its place in the layout.
    pub(crate) async fn run(&self, sql: &str) -> Result<()> {
        let sql = match (has_numbers(), sql.contains("NEW.id2")) {
            (false, _) => sql.to_owned(),
            (true, false) => sql.replace("sensor_readings", "readings"),
            (true, true) => sql.replace("sensor_readings", "series"),
        };
        let sql = sql.as_str();
        let mut conn = self.connect().await?;
        conn.query_drop(sql).await.with_context(|| sql.to_owned())?;
        Ok(conn.disconnect().await?)
    }

    /// Ends every connection to the schema, and says how many there were.
    pub(crate) async fn kill_connections(&self) -> Result<usize> {
        let sql = format!(
            "SELECT CONCAT('KILL ', ID) FROM information_schema.PROCESSLIST
             WHERE DB = '{}' AND ID <> CONNECTION_ID()",
            self.name
        );
        let mut conn = self.connect().await?;
        let kills: Vec<String> = conn.query(sql).await?;
        for kill in &kills {
            // One may have ended by itself.
            let _ = conn.query_drop(kill).await;
        }
        conn.disconnect().await?;
        Ok(kills.len())
    }

    /// The number that a query returns.
    pub(crate) async fn number(&self, sql: &str) -> Result<u64> {
        let mut conn = self.connect().await?;
        let number: Option<u64> = conn
            .query_first(sql)
            .await
            .with_context(|| sql.to_owned())?;
        conn.disconnect().await?;
        number.with_context(|| format!("no answer: {sql}"))
    }
}

//! One database server per engine and test process, and a schema of its own for each test.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use mysql_async::{Conn, Opts, OptsBuilder, Value, prelude::Queryable as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, kill_process};
use sluicegate::embedded_db::{EmbeddedDb, Engine};
use sluicegate_proto::v1::SensorReading;
use tempfile::TempDir;
use tokio::{
    process::Command,
    runtime::Runtime,
    sync::{Mutex, OnceCell, OwnedMutexGuard},
};

use super::{
    engines::{engines, has_numbers, small},
    stillness::until_it_stands_still,
};

/// Defaults that a careless administrator could have left: the service states everything itself, so that none of them
/// may change what is stored.
const HOSTILE_DEFAULTS: [&str; 4] = [
    "--default-time-zone=-05:00",
    "--sql-mode=NO_BACKSLASH_ESCAPES",
    "--character-set-server=latin1",
    "--collation-server=latin1_swedish_ci",
];

/// The servers outlive the runtime of any single test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static SHARED: [OnceCell<Arc<Server>>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
/// Those that tests may kill, one test at a time.
static ALONE: [OnceCell<Arc<Mutex<Arc<Server>>>>; 2] =
    [OnceCell::const_new(), OnceCell::const_new()];
/// As those, with a binary log.
static LOGGED: [OnceCell<Arc<Mutex<Arc<Server>>>>; 2] =
    [OnceCell::const_new(), OnceCell::const_new()];
const BINARY_LOG: [&str; 4] = [
    "--log-bin=log",
    "--server-id=1",
    "--binlog-format=ROW",
    "--sync-binlog=1",
];
static NEXT_SCHEMA: AtomicU32 = AtomicU32::new(1);

/// A private server.
pub(crate) struct Server {
    engine: Engine,
    db: Arc<Mutex<EmbeddedDb>>,
    socket: PathBuf,
    tcp_port: u16,
    root_password: String,
    _dir: TempDir,
}

impl Server {
    async fn start(engine: Engine, binary: PathBuf, arguments: Vec<String>) -> Arc<Self> {
        let started = RUNTIME.spawn(async move {
            let dir = TempDir::new().expect("a directory");
            let mut options = small(dir.path(), &binary);
            options.tcp_port = Some(0);
            options.extra_args.extend(arguments);
            let db = EmbeddedDb::start(options).await.expect("starts");
            watch(&db, dir.path());
            Arc::new(Self {
                engine,
                socket: db.socket().to_owned(),
                tcp_port: db.tcp_port().expect("a port"),
                root_password: db.root_password().to_owned(),
                db: Arc::new(Mutex::new(db)),
                _dir: dir,
            })
        });
        started.await.expect("the server starts")
    }

    /// A server that the caller may reconfigure and kill; None when the engine is not selected.
    pub(crate) async fn alone(engine: Engine) -> Option<OwnedMutexGuard<Arc<Self>>> {
        Self::taken(&ALONE[engine as usize], engine, &[]).await
    }

    /// As `alone`, with a binary log.
    pub(crate) async fn logged(engine: Engine) -> Option<OwnedMutexGuard<Arc<Self>>> {
        Self::taken(&LOGGED[engine as usize], engine, &BINARY_LOG).await
    }

    /// One for a single test, with arguments of its own; it ends with the test.
    pub(crate) async fn with(engine: Engine, arguments: Vec<String>) -> Option<Arc<Self>> {
        let binary = selected(engine)?;
        Some(Self::start(engine, binary, arguments).await)
    }

    async fn taken(
        server: &OnceCell<Arc<Mutex<Arc<Self>>>>,
        engine: Engine,
        arguments: &[&str],
    ) -> Option<OwnedMutexGuard<Arc<Self>>> {
        let binary = selected(engine)?;
        let arguments = arguments.iter().map(|&each| each.to_owned()).collect();
        let server = server
            .get_or_init(|| async {
                Arc::new(Mutex::new(Self::start(engine, binary, arguments).await))
            })
            .await;
        Some(server.clone().lock_owned().await)
    }

    /// SIGKILL: a crash.
    pub(crate) async fn kill(&self) {
        let db = self.db.clone();
        let killed = RUNTIME.spawn(async move { db.lock().await.kill().await.expect("dies") });
        killed.await.expect("killed");
    }

    /// SIGSTOP: it stands still until `resume`.
    pub(crate) async fn pause(&self) {
        let pid = self.signal(Signal::STOP).await;
        until_it_stands_still(pid).await;
    }

    pub(crate) async fn resume(&self) {
        self.signal(Signal::CONT).await;
    }

    /// Returns the process that it was sent to.
    async fn signal(&self, signal: Signal) -> u32 {
        let pid = self.db.lock().await.pid().expect("it runs");
        let process = Pid::from_raw(pid as i32).expect("a process");
        kill_process(process, signal).expect("sent");
        pid
    }

    pub(crate) async fn restart(&self) {
        let db = self.db.clone();
        let restarted = RUNTIME.spawn(async move {
            let mut db = db.lock().await;
            db.restart().await.expect("restarts");
            let dir = db.data_dir().to_owned();
            watch(&db, &dir);
        });
        restarted.await.expect("restarted");
    }

    /// An empty schema on this server.
    pub(crate) async fn schema(self: &Arc<Self>) -> Database {
        let name = format!("t_{}", NEXT_SCHEMA.fetch_add(1, Ordering::Relaxed));
        let database = Database {
            server: self.clone(),
            name,
        };
        let opts = Opts::from_url(&database.url()).expect("a url");
        let opts = OptsBuilder::from_opts(opts).db_name(None::<String>);
        let mut conn = Conn::new(opts).await.expect("connects");
        let create = format!("CREATE DATABASE {}", database.name);
        conn.query_drop(create).await.expect("created");
        database
    }
}

fn selected(engine: Engine) -> Option<PathBuf> {
    let found = engines().into_iter().find(|(each, _)| *each == engine);
    found.map(|(_, binary)| binary)
}

/// Statics are not dropped: ends the server, and removes its directory, when this process is gone.
fn watch(db: &EmbeddedDb, dir: &Path) {
    const SCRIPT: &str = "while kill -0 $0 && kill -0 $1; do sleep 0.3; done
        kill -0 $0 || { kill -9 $1; sleep 0.3; rm -rf \"$2\"; }";
    let mut watchdog = Command::new("sh");
    watchdog
        .args(["-c", SCRIPT])
        .arg(std::process::id().to_string())
        .arg(db.pid().expect("it runs").to_string())
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    watchdog.spawn().expect("sh runs");
}

/// A schema that belongs to one test.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    name: String,
}

/// A row of `sensor_readings`.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) reading: SensorReading,
}

/// A row of `rejected_readings`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quarantined {
    pub(crate) stream_id: Option<String>,
    pub(crate) seq: u64,
    pub(crate) field: String,
    pub(crate) reason: String,
    pub(crate) sensor_value: String,
    pub(crate) sensor_type: String,
    pub(crate) id1: i32,
    pub(crate) id2: String,
    pub(crate) timestamp_us: i64,
}

/// Where readings have the numbers of their series, `sensor_readings` is a view, and names stand in a table of their own.
fn said_of_layout(sql: &str) -> Cow<'_, str> {
    // Who gives or takes rights knows of which tables they are.
    if !has_numbers() || sql.starts_with("GRANT") || sql.starts_with("REVOKE") {
        return sql.into();
    }
    let of_names = ["id1 ", "id2 ", "sensor_type "];
    let table = match of_names.iter().any(|name| sql.contains(name)) {
        true => "series",
        false => "readings",
    };
    sql.replace("sensor_readings", table).into()
}

impl Database {
    /// A schema on the engine's shared server; None when the engine is not selected.
    pub(crate) async fn create(engine: Engine) -> Option<Self> {
        let binary = selected(engine)?;
        let server = SHARED[engine as usize]
            .get_or_init(|| {
                let arguments = HOSTILE_DEFAULTS.map(str::to_owned).to_vec();
                Server::start(engine, binary, arguments)
            })
            .await;
        Some(server.schema().await)
    }

    pub(crate) fn engine(&self) -> Engine {
        self.server.engine
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As root, on the socket.
    pub(crate) fn url(&self) -> String {
        self.url_of(&self.root())
    }

    /// root and its password.
    fn root(&self) -> String {
        let password = utf8_percent_encode(&self.server.root_password, NON_ALPHANUMERIC);
        format!("root:{password}")
    }

    /// As another user without a password, or as `user:password`, on the socket.
    pub(crate) fn url_of(&self, user: &str) -> String {
        let socket = self.server.socket.to_string_lossy();
        let socket = utf8_percent_encode(&socket, NON_ALPHANUMERIC);
        format!("mysql://{user}@localhost/{}?socket={socket}", self.name)
    }

    /// As root, through a TCP port of a proxy.
    pub(crate) fn tcp_url(&self, port: u16) -> String {
        let (root, name) = (self.root(), &self.name);
        format!("mysql://{root}@127.0.0.1:{port}/{name}?prefer_socket=false")
    }

    /// The server's own TCP port.
    pub(crate) fn tcp_port(&self) -> u16 {
        self.server.tcp_port
    }

    /// A connection of the test's own, in UTC.
    pub(crate) async fn connect(&self) -> Conn {
        let opts = Opts::from_url(&self.url()).expect("a url");
        let opts = OptsBuilder::from_opts(opts).setup(vec![
            "SET time_zone = '+00:00'",
            "SET sql_mode = 'STRICT_ALL_TABLES'",
        ]);
        Conn::new(opts).await.expect("connects")
    }

    /// Runs one statement. What changes `sensor_readings` is said of what stands in its place in the tested layout.
    pub(crate) async fn run(&self, sql: &str) {
        let sql = said_of_layout(sql);
        let mut conn = self.connect().await;
        conn.query_drop(sql.as_ref())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Whether the server took one statement.
    pub(crate) async fn tries(&self, sql: &str) -> bool {
        self.connect().await.query_drop(sql).await.is_ok()
    }

    /// How many rows a table has that may not be there (yet, or any more).
    pub(crate) async fn count_if_there(&self, table: &str) -> Option<u64> {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        match self.connect().await.query_first(sql).await {
            Err(mysql_async::Error::Server(error)) if error.code == 1146 => None,
            count => count.expect("counts"),
        }
    }

    /// Ends the connections of everybody else to this schema: what they come back with begins with the server's settings.
    pub(crate) async fn end_connections(&self) {
        let sql = "SELECT CONCAT('KILL ', ID) FROM information_schema.PROCESSLIST \
                   WHERE DB = DATABASE() AND ID <> CONNECTION_ID()";
        let mut conn = self.connect().await;
        let kills: Vec<String> = conn.query(sql).await.expect("reads");
        for kill in kills {
            // One may have ended by itself.
            let _ = conn.query_drop(kill).await;
        }
    }

    pub(crate) async fn count(&self, table: &str) -> u64 {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let count: Option<u64> = self.connect().await.query_first(sql).await.expect("counts");
        count.expect("a count")
    }

    /// Statements of this schema that the server works on, of those that are like one of these.
    pub(crate) async fn running(&self, patterns: &[&str]) -> u64 {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|it| format!("INFO LIKE '{it}'"))
            .collect();
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
             WHERE DB = '{}' AND ID <> CONNECTION_ID() AND ({})",
            self.name,
            patterns.join(" OR ")
        );
        let count: Option<u64> = self.connect().await.query_first(sql).await.expect("reads");
        count.expect("a count")
    }

    /// Every stored reading in order of time and id, read over the binary protocol.
    pub(crate) async fn stored(&self) -> Vec<Stored> {
        let sql = "SELECT id, sensor_value, sensor_type, id1, id2, ts FROM sensor_readings ORDER BY ts, id";
        type Row = (i64, f64, String, i32, String, Value);
        let rows: Vec<Row> = self.connect().await.exec(sql, ()).await.expect("reads");
        let stored = |(id, sensor_value, sensor_type, id1, id2, ts): Row| Stored {
            id,
            reading: SensorReading {
                sensor_value: Some(sensor_value),
                sensor_type,
                id1,
                id2,
                timestamp_us: Some(microseconds(&ts)),
            },
        };
        rows.into_iter().map(stored).collect()
    }

    /// The quarantine, in order of position.
    pub(crate) async fn quarantined(&self) -> Vec<Quarantined> {
        let sql = "SELECT stream_id, seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us \
                   FROM rejected_readings ORDER BY stream_id, seq, id";
        let quarantined = |row| {
            let (stream_id, seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us) =
                row;
            Quarantined {
                stream_id,
                seq,
                field,
                reason,
                sensor_value,
                sensor_type,
                id1,
                id2,
                timestamp_us,
            }
        };
        let mut conn = self.connect().await;
        conn.exec_map(sql, (), quarantined).await.expect("reads")
    }

    /// Where what was refused first came from, and what it was.
    pub(crate) async fn first_origin(&self) -> (String, Vec<u8>) {
        let sql = "SELECT origin, payload FROM rejected_readings ORDER BY id LIMIT 1";
        let mut conn = self.connect().await;
        let row = conn.query_first(sql).await.expect("reads");
        row.expect("something was refused")
    }

    /// The ledger agrees with the tables (P6), and every stream's position is the sum of its parts.
    pub(crate) async fn assert_ledger_balances(&self) {
        let sql = "SELECT (SELECT CAST(COALESCE(SUM(committed), 0) AS UNSIGNED) FROM ingest_streams), \
                   (SELECT CAST(COALESCE(SUM(rejected), 0) AS UNSIGNED) FROM ingest_streams), \
                   (SELECT COUNT(*) FROM sensor_readings), (SELECT COUNT(DISTINCT id) FROM sensor_readings), \
                   (SELECT COUNT(*) FROM rejected_readings), \
                   (SELECT COUNT(*) FROM ingest_streams WHERE stream_id NOT LIKE 'lane:%' \
                    AND committed + rejected <> committed_seq)";
        type Sums = (u64, u64, u64, u64, u64, u64);
        let sums: Option<Sums> = self.connect().await.query_first(sql).await.expect("sums");
        let (committed, rejected, rows, ids, quarantined, unbalanced) = sums.expect("a row");
        assert_eq!(
            committed, rows,
            "committed in the ledger against rows stored"
        );
        assert_eq!(ids, rows, "ids are unique");
        assert_eq!(
            rejected, quarantined,
            "rejected in the ledger against the quarantine"
        );
        assert_eq!(
            unbalanced, 0,
            "streams whose committed + rejected is not their position"
        );
    }
}

/// Microseconds since the Unix epoch of a date as the driver gives it.
fn microseconds(value: &Value) -> i64 {
    let &Value::Date(year, month, day, hour, minute, second, micro) = value else {
        panic!("not a date: {value:?}");
    };
    let day = chrono::NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
    let at =
        day.and_then(|day| day.and_hms_micro_opt(hour.into(), minute.into(), second.into(), micro));
    at.expect("a date").and_utc().timestamp_micros()
}

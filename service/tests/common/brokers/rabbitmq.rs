//! RabbitMQ, as the package `rabbitmq-server` has it, and a client of others, as the package `amqp-tools` has it.
//!
//! A node of Erlang finds others by way of epmd. Each broker has one of its own here, so that none of the system's is
//! asked, or left behind.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command, sync::OnceCell, time::timeout};

use super::{Port, TOOL_LIMIT, data_dir, is_demanded, output_of, processes::Processes, text};
use crate::common::{certs::Authority, until};

/// Without what packages wrap around them, which changes the user.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const NODE: &str = "rabbit@localhost";
/// In its log, once everybody may come in.
const STARTED: &str = "Server startup complete";
/// Whether every quorum queue and every stream has a leader.
const LED: &str = "lists:all(
    fun (Queue) ->
        case amqqueue:get_type(Queue) of
            rabbit_quorum_queue ->
                {Name, _} = amqqueue:get_pid(Queue),
                ra_leaderboard:lookup_leader(Name) =/= undefined;
            rabbit_stream_queue -> (catch is_process_alive(amqqueue:get_pid(Queue))) =:= true;
            _ -> true
        end
    end,
    rabbit_amqqueue:list()).";
/// What a broker has unless a setting says otherwise: it takes little, and does not mind how little is left.
const SETTINGS: &str = "log.console = true
log.console.level = info
disk_free_limit.absolute = 10MB
vm_memory_high_watermark.absolute = 1GB
raft.wal_max_size_bytes = 16777216
num_acceptors.tcp = 2
num_acceptors.ssl = 2
";
/// Two threads that sleep when they have nothing to do, and no door to other hosts.
const ERLANG: &str = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none \
     -kernel inet_dist_use_interface {127,0,0,1}";

/// What a broker is like.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// Where its data lie, if not in memory.
    pub(crate) data_within: Option<&'a Path>,
    /// Lines of its configuration, as `heartbeat = 5`. They win over ours.
    pub(crate) settings: &'a [&'a str],
    /// Speaks TLS on a second port, with the certificate `server.pem` of this authority.
    pub(crate) authority: Option<&'a Authority>,
}

/// Ends with the process: statics are not dropped.
static SHARED: OnceCell<Option<RabbitMq>> = OnceCell::const_new();

/// A private broker, of one node. Its user is `guest`, with the password `guest`.
pub(crate) struct RabbitMq {
    amqp: Port,
    amqps: Port,
    epmd: Port,
    node: Port,
    processes: Processes,
    dir: TempDir,
}

impl RabbitMq {
    /// The one of this process, for tests that do not disturb it; None, said aloud, where none is demanded.
    pub(crate) async fn shared() -> Option<&'static Self> {
        let start = async || Self::start(Options::default()).await;
        SHARED.get_or_init(start).await.as_ref()
    }

    /// A broker of the test's own, which takes some seconds to start; None, said aloud, where none is demanded.
    pub(crate) async fn start(options: Options<'_>) -> Option<Self> {
        if !is_demanded("SLUICEGATE_TEST_RABBITMQ", "RabbitMQ") {
            return None;
        }
        let dir = data_dir(options.data_within);
        let mut broker = Self {
            amqp: Port::take(),
            amqps: Port::take(),
            epmd: Port::take(),
            node: Port::take(),
            processes: Processes::new(dir.path(), dir.path().join("server.log")),
            dir,
        };
        let config = broker.configuration(options);
        std::fs::write(broker.path("rabbitmq.conf"), config).expect("written");
        broker.launch().await;
        Some(broker)
    }

    fn configuration(&self, options: Options<'_>) -> String {
        let mut config = SETTINGS.to_owned();
        config += &format!("listeners.tcp.1 = 127.0.0.1:{}\n", self.amqp.number);
        if let Some(authority) = options.authority {
            config += &format!("listeners.ssl.1 = 127.0.0.1:{}\n", self.amqps.number);
            for (setting, file) in [
                ("cacertfile", "ca.pem"),
                ("certfile", "server.pem"),
                ("keyfile", "server.key"),
            ] {
                config += &format!("ssl_options.{setting} = {}\n", authority.path(file));
            }
        }
        config + &options.settings.join("\n") + "\n"
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the broker and its tools have in common: without it they would look for the system's.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| text(self.path(name));
        vec![
            ("HOME", text(self.dir.path())), // of the cookie
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("ERL_EPMD_PORT", self.epmd.number.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", NODE.to_owned()),
            ("RABBITMQ_DIST_PORT", self.node.number.to_string()),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_PLUGINS_EXPAND_DIR", path("plugins")),
            ("RABBITMQ_GENERATED_CONFIG_DIR", path("config")),
            ("RABBITMQ_SCHEMA_DIR", path("schema")),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_PID_FILE", path("pid")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_LOGS", "-".to_owned()),
        ]
    }

    /// The broker again, on its ports and with its data.
    pub(crate) async fn start_again(&mut self) {
        self.launch().await;
        // It opens its doors before. Then one who asks for a message of a quorum queue may wait for ever, and so may one who
        // sends to a stream for the confirmation: its first writer is replaced at once.
        until("every queue has a leader (see `settle`)", async || {
            self.eval(LED).await.trim() == "true"
        })
        .await;
    }

    async fn launch(&mut self) {
        assert!(!self.processes.are_running(), "the broker runs");
        let mut epmd = std::process::Command::new("epmd");
        epmd.args(["-address", "127.0.0.1"])
            .args(["-port", &self.epmd.number.to_string()]);
        self.processes.spawn(epmd);
        let port = self.epmd.number;
        // The broker would start one of its own, which nobody ends.
        self.processes
            .until_ready(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok())
            .await;

        let mut server = std::process::Command::new(format!("{PROGRAMS}/rabbitmq-server"));
        server
            .envs(self.environment())
            // Otherwise a shell stays, and catches its signals.
            .env("RABBITMQ_ALLOW_INPUT", "true")
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG);
        self.processes.spawn(server);
        let (port, log) = (self.amqp.number, self.processes.log_file());
        self.processes
            .until_ready(async || {
                let log = std::fs::read(&log).expect("a log");
                String::from_utf8_lossy(&log).contains(STARTED)
                    && TcpStream::connect(("127.0.0.1", port)).await.is_ok()
            })
            .await;
    }

    pub(crate) fn port(&self) -> u16 {
        self.amqp.number
    }

    /// Of a broker that has an authority.
    pub(crate) fn tls_port(&self) -> u16 {
        self.amqps.number
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.amqp.number)
    }

    /// Writes the names of queues. RabbitMQ 3.10 keeps those of quorum queues and streams in memory for some seconds after
    /// they were declared, and a crash meanwhile takes their messages with it.
    pub(crate) async fn settle(&self) {
        self.eval("[ok = dets:sync(Table) || Table <- dets:all()].")
            .await;
    }

    /// SIGKILL: a crash.
    pub(crate) fn kill(&mut self) {
        self.processes.kill();
    }

    /// SIGTERM: it closes what is open, and ends.
    pub(crate) async fn stop(&mut self) {
        self.processes.stop().await;
    }

    /// SIGSTOP: it stands still until `resume`.
    pub(crate) async fn pause(&mut self) {
        self.processes.pause().await;
    }

    pub(crate) fn resume(&mut self) {
        self.processes.resume();
    }

    /// What it has printed since it was started last.
    pub(crate) fn log(&self) -> String {
        self.processes.log()
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.processes.resident_bytes()
    }

    /// `rabbitmqctl`, which takes a second; returns what it printed.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        assert!(self.processes.are_running(), "the broker does not run");
        let mut command = Command::new(format!("{PROGRAMS}/rabbitmqctl"));
        command
            .arg("--quiet")
            .args(arguments)
            .envs(self.environment());
        output_of(command).await
    }

    /// Erlang, evaluated in the broker.
    pub(crate) async fn eval(&self, expression: &str) -> String {
        self.ctl(&["eval", expression]).await
    }

    /// Declares a durable classic queue, as a client of others does it.
    pub(crate) async fn declare_queue(&self, queue: &str) {
        let mut command = Command::new("amqp-declare-queue");
        command.args(["--url", &self.url(), "--durable", "--queue", queue]);
        output_of(command).await;
    }

    /// Sends a persistent message to a queue, as a client of others does it. It does not wait for the broker to have
    /// written it.
    pub(crate) async fn publish(&self, queue: &str, message: &str) {
        let mut command = Command::new("amqp-publish");
        command.args(["--url", &self.url(), "--persistent"]).args([
            "--routing-key",
            queue,
            "--body",
            message,
        ]);
        output_of(command).await;
    }

    /// Takes the next message out of a queue, as a client of others does it; None when there is none.
    pub(crate) async fn get(&self, queue: &str) -> Option<String> {
        let mut command = Command::new("amqp-get");
        command
            .args(["--url", &self.url(), "--queue", queue])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(TOOL_LIMIT, command.output()).await;
        let output = output.expect("amqp-get ends").expect("it runs");
        match output.status.code() {
            Some(0) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
            Some(2) => None,
            _ => panic!("amqp-get: {output:?}"),
        }
    }
}

//! Mosquitto, the MQTT broker, as the packages `mosquitto` and `mosquitto-clients` have it.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command};

use super::{Port, data_dir, is_demanded, output_of, processes::Processes, text};
use crate::common::{certs::Authority, until};

/// What a broker has unless a setting says otherwise.
const SETTINGS: &str = "persistence true
log_dest stderr
log_type all
connection_messages true
set_tcp_nodelay true
";
/// Where it keeps sessions and messages.
const DATABASE: &str = "mosquitto.db";

/// What a broker is like.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// Where its data lie, if not in memory.
    pub(crate) data_within: Option<&'a Path>,
    /// Lines of its configuration, as `max_inflight_messages 1`.
    pub(crate) settings: &'a [&'a str],
    /// Names and passwords; without any, everybody may come in.
    pub(crate) users: &'a [(&'a str, &'a str)],
    /// Speaks TLS, with the certificate `server.pem` of this authority.
    pub(crate) authority: Option<&'a Authority>,
    /// Clients have to show a certificate of that authority; its common name is the user's.
    pub(crate) needs_certificate: bool,
}

/// A private broker.
pub(crate) struct Mosquitto {
    port: Port,
    processes: Processes,
    /// What its own clients need: user and password, authority.
    client: Vec<String>,
    config: PathBuf,
    dir: TempDir,
}

/// Debian puts it where a plain shell does not look.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join("mosquitto"))
        .find(|program| program.is_file())
        .expect("mosquitto is installed: run scripts/test.sh")
}

impl Mosquitto {
    /// None, said aloud, where none is demanded.
    pub(crate) async fn start(options: Options<'_>) -> Option<Self> {
        if !is_demanded("SLUICEGATE_TEST_MOSQUITTO", "Mosquitto") {
            return None;
        }
        let dir = data_dir(options.data_within);
        let port = Port::take();
        let mut broker = Self {
            config: dir.path().join("mosquitto.conf"),
            client: client_arguments(options),
            processes: Processes::new(dir.path(), dir.path().join("mosquitto.log")),
            port,
            dir,
        };
        let config = broker.configuration(options).await;
        std::fs::write(&broker.config, config).expect("written");
        broker.start_again().await;
        Some(broker)
    }

    async fn configuration(&self, options: Options<'_>) -> String {
        let dir = text(self.dir.path());
        let mut lines = vec![
            format!("persistence_location {dir}/"),
            // Started by root, it would become a user who may not read the folder.
            "user root".to_owned(),
            format!("listener {} 127.0.0.1", self.port.number),
        ];
        if let Some(authority) = options.authority {
            for (setting, file) in [
                ("cafile", "ca.pem"),
                ("certfile", "server.pem"),
                ("keyfile", "server.key"),
            ] {
                lines.push(format!("{setting} {}", authority.path(file)));
            }
        }
        if options.needs_certificate {
            lines.push("require_certificate true".to_owned());
            lines.push("use_identity_as_username true".to_owned());
        }
        let passwords = format!("{dir}/passwords");
        for (name, password) in options.users {
            add_user(&passwords, name, password).await;
        }
        lines.push(match options.users {
            [] => "allow_anonymous true".to_owned(),
            _ => format!("allow_anonymous false\npassword_file {passwords}"),
        });
        lines.extend(options.settings.iter().map(|&line| line.to_owned()));
        // A setting that is there twice is an error for some, and the last one for others.
        let ours = SETTINGS
            .lines()
            .filter(|line| !is_set(line, options.settings));
        ours.map(str::to_owned)
            .chain(lines)
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number
    }

    /// Its data, configuration and log.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Has it write sessions and messages, as it does by itself at its end and twice an hour. What came in after that does
    /// not outlive a crash, acknowledged or not.
    pub(crate) async fn settle(&self) {
        let file = self.dir.path().join(DATABASE);
        // Each writing makes another file.
        let written = || std::fs::metadata(&file).ok().map(|file| file.ino());
        let before = written();
        self.processes.signal(Signal::USR1);
        until("the broker has written", async || written() != before).await;
    }

    /// SIGKILL: a crash.
    pub(crate) fn kill(&mut self) {
        self.processes.kill();
    }

    /// SIGTERM: it writes what it has, and ends.
    pub(crate) async fn stop(&mut self) {
        self.processes.stop().await;
    }

    /// The broker again, on its port and with its data.
    pub(crate) async fn start_again(&mut self) {
        assert!(!self.processes.are_running(), "the broker runs");
        let mut command = std::process::Command::new(program());
        command.arg("-c").arg(&self.config);
        self.processes.spawn(command);
        let port = self.port.number;
        self.processes
            .until_ready(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok())
            .await;
    }

    /// SIGSTOP: it stands still until `resume`.
    pub(crate) async fn pause(&mut self) {
        self.processes.pause().await;
    }

    pub(crate) fn resume(&mut self) {
        self.processes.resume();
    }

    /// Reads users and certificates again.
    pub(crate) fn reload(&self) {
        self.processes.signal(Signal::HUP);
    }

    /// What it has printed since it was started last.
    pub(crate) fn log(&self) -> String {
        self.processes.log()
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.processes.resident_bytes()
    }

    fn client(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(["-h", "127.0.0.1", "-p", &self.port.number.to_string()])
            .args(&self.client)
            .args(arguments);
        command
    }

    /// `mosquitto_pub`, as the first user.
    pub(crate) async fn publish(&self, topic: &str, message: &str, arguments: &[&str]) {
        let mut command = self.client("mosquitto_pub", &["-t", topic, "-m", message]);
        command.args(arguments);
        output_of(command).await;
    }

    /// `mosquitto_sub`, as the first user; returns what it printed when it ended.
    pub(crate) async fn subscribe(&self, arguments: &[&str]) -> String {
        output_of(self.client("mosquitto_sub", arguments)).await
    }
}

fn is_set(line: &str, settings: &[&str]) -> bool {
    let name = |line: &str| line.split(' ').next().map(str::to_owned);
    settings.iter().any(|setting| name(setting) == name(line))
}

fn client_arguments(options: Options<'_>) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some((name, password)) = options.users.first() {
        arguments.extend(["-u", name, "-P", password].map(str::to_owned));
    }
    if let Some(authority) = options.authority {
        arguments.extend(["--cafile".to_owned(), authority.path("ca.pem")]);
    }
    arguments
}

async fn add_user(passwords: &str, name: &str, password: &str) {
    let mut command = Command::new("mosquitto_passwd");
    command.arg("-b");
    if !Path::new(passwords).exists() {
        command.arg("-c");
    }
    command
        .args([passwords, name, password])
        .stderr(Stdio::null());
    output_of(command).await;
}

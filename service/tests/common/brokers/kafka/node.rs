//! One node of Kafka's, broker and controller.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::Options;
use crate::common::{
    brokers::{Port, processes::Processes, text},
    certs::Authority,
};

/// What `scripts/kafka.sh` starts nodes with, too.
const SETTINGS: &str = include_str!("../../../../../scripts/kafka/node.properties");
const SETTINGS_OF_THREE: &str = include_str!("../../../../../scripts/kafka/of-three.properties");
const HEAP: &str = "-Xmx256m";
/// In its log, once the others know of it.
const STARTED: &str = "Kafka Server started";

pub(super) struct Node {
    pub(super) port: Port,
    pub(super) secured_port: Port,
    controller_port: Port,
    pub(super) processes: Processes,
    settings: PathBuf,
}

/// The nodes of a cluster, ready to be launched.
pub(super) fn prepare(options: Options<'_>, dir: &TempDir, home: &Path) -> Vec<Node> {
    let numbers = 1..=if options.are_three { 3 } else { 1 };
    let nodes: Vec<(usize, Node)> = numbers
        .map(|number| (number, Node::new(number, dir)))
        .collect();
    let voters: Vec<String> = nodes
        .iter()
        .map(|(number, node)| format!("{number}@127.0.0.1:{}", node.controller_port.number))
        .collect();
    let voters = format!("controller.quorum.voters={}", voters.join(","));
    for (number, node) in &nodes {
        node.format(*number, home);
        node.add(&[SETTINGS]);
        if options.are_three {
            node.add(&[SETTINGS_OF_THREE]);
        }
        node.add(&[&format!("node.id={number}"), &voters]);
        node.add_listeners(options);
        node.add(options.settings);
    }
    nodes.into_iter().map(|(_, node)| node).collect()
}

impl Node {
    fn new(number: usize, whole: &TempDir) -> Self {
        let dir = whole.path().join(format!("n{number}"));
        std::fs::create_dir(&dir).expect("a directory");
        Self {
            processes: Processes::new(whole.path(), dir.join("server.log")),
            settings: dir.join("server.properties"),
            port: Port::take(),
            secured_port: Port::take(),
            controller_port: Port::take(),
        }
    }

    /// What Kafka's own tool would write, without a start of Java.
    fn format(&self, number: usize, home: &Path) {
        let logs = self.settings.with_file_name("log");
        std::fs::create_dir(&logs).expect("a directory");
        for file in ["meta.properties", "bootstrap.checkpoint"] {
            let from = home.join("formatted").join(file);
            std::fs::copy(&from, logs.join(file)).expect("copied");
        }
        let of_node = format!("node.id={number}");
        append(&logs.join("meta.properties"), &[&of_node]);
        self.add(&[&format!("log.dirs={}", text(logs))]);
    }

    fn add_listeners(&self, options: Options<'_>) {
        let mut advertised = format!("PLAINTEXT://127.0.0.1:{}", self.port.number);
        let protocol = match (options.authority, options.users) {
            (None, []) => None,
            (None, _) => Some("SASL_PLAINTEXT"),
            (Some(_), []) => Some("SSL"),
            (Some(_), _) => Some("SASL_SSL"),
        };
        if let Some(protocol) = protocol {
            advertised += &format!(",{protocol}://127.0.0.1:{}", self.secured_port.number);
            self.add_users(protocol, options.users);
        }
        if let Some(authority) = options.authority {
            self.add_certificate(authority);
        }
        let controller = format!("CONTROLLER://127.0.0.1:{}", self.controller_port.number);
        self.add(&[
            &format!("listeners={advertised},{controller}"),
            &format!("advertised.listeners={advertised}"),
        ]);
    }

    /// Users of SCRAM are no settings: they are made when the cluster runs.
    fn add_users(&self, protocol: &str, users: &[(&str, &str)]) {
        const MODULES: &str = "org.apache.kafka.common.security";
        let listener = format!("listener.name.{}", protocol.to_lowercase());
        let users: Vec<String> = users
            .iter()
            .map(|(name, password)| format!(r#"user_{name}="{password}""#))
            .collect();
        let users = users.join(" ");
        let mut settings = vec![
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
            format!(
                "{listener}.plain.sasl.jaas.config={MODULES}.plain.PlainLoginModule required {users};"
            ),
        ];
        for bits in [256, 512] {
            settings.push(format!(
                "{listener}.scram-sha-{bits}.sasl.jaas.config={MODULES}.scram.ScramLoginModule required;"
            ));
        }
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        self.add(&settings);
    }

    fn add_certificate(&self, authority: &Authority) {
        let pair = self.settings.with_file_name("server.pem");
        let read = |file| std::fs::read_to_string(authority.path(file)).expect("readable");
        std::fs::write(&pair, read("server.key") + &read("server.pem")).expect("written");
        self.add(&[
            "ssl.keystore.type=PEM",
            &format!("ssl.keystore.location={}", text(pair)),
            "ssl.truststore.type=PEM",
            &format!("ssl.truststore.location={}", authority.path("ca.pem")),
        ]);
    }

    /// The last one of a name wins.
    pub(super) fn add(&self, settings: &[&str]) {
        append(&self.settings, settings);
    }

    pub(super) fn launch(&mut self, home: &Path) {
        assert!(!self.processes.are_running(), "the node runs");
        let mut command = Command::new("java");
        command
            .arg(HEAP)
            .arg(format!("@{}", text(home.join("broker.args"))))
            .arg("kafka.Kafka")
            .arg(&self.settings);
        self.processes.spawn(command);
    }

    pub(super) async fn until_ready(&mut self) {
        let (port, log) = (self.port.number, self.processes.log_file());
        self.processes
            .until_ready(async || {
                let log = std::fs::read(&log).expect("a log");
                String::from_utf8_lossy(&log).contains(STARTED)
                    && TcpStream::connect(("127.0.0.1", port)).await.is_ok()
            })
            .await;
    }
}

fn append(file: &Path, lines: &[&str]) {
    let opened = File::options().create(true).append(true).open(file);
    let mut opened = opened.expect("a file");
    for line in lines {
        writeln!(opened, "{line}").expect("written");
    }
}

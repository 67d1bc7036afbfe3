//! Apache Kafka, as `scripts/install-kafka.sh` puts it into the cache, of one node or of three.
//!
//! `SLUICEGATE_TEST_KAFKA_DIR` names its folder; by default it is where that script puts it.

mod node;
mod tools;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{data_dir, is_demanded};
use crate::common::certs::Authority;
use node::Node;

/// What a cluster is like.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// Where its data lie, if not in memory.
    pub(crate) data_within: Option<&'a Path>,
    /// Three nodes instead of one: they hold everything three times, and take a record when two have it.
    pub(crate) are_three: bool,
    /// Of every node, as `log.retention.ms=1000`. They win over ours.
    pub(crate) settings: &'a [&'a str],
    /// Every node has a second door, with TLS and the certificate `server.pem` of this authority.
    pub(crate) authority: Option<&'a Authority>,
    /// Names and passwords that the second door asks for, with SASL: PLAIN and SCRAM of both kinds.
    pub(crate) users: &'a [(&'a str, &'a str)],
}

/// Ends with the process: statics are not dropped.
static SHARED: OnceCell<Option<Kafka>> = OnceCell::const_new();

/// A private cluster. Its nodes are counted from 1, as Kafka's `node.id` counts them.
pub(crate) struct Kafka {
    nodes: Vec<Node>,
    home: PathBuf,
    _dir: TempDir,
}

fn home() -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    let home = set("SLUICEGATE_TEST_KAFKA_DIR").unwrap_or_else(|| {
        set("SLUICEGATE_CACHE_DIR")
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("sluicegate")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/sluicegate")))
            .unwrap_or_default()
            .join("kafka")
    });
    let is_there = home.join("broker.args").is_file();
    assert!(is_there, "no Kafka in {home:?}: run scripts/test.sh");
    home
}

impl Kafka {
    /// The one of this process, for tests that do not disturb it; None, said aloud, where none is demanded.
    pub(crate) async fn shared() -> Option<&'static Self> {
        let start = async || Self::start(Options::default()).await;
        SHARED.get_or_init(start).await.as_ref()
    }

    /// A cluster of the test's own; None, said aloud, where none is demanded.
    pub(crate) async fn start(options: Options<'_>) -> Option<Self> {
        if !is_demanded("SLUICEGATE_TEST_KAFKA", "Kafka") {
            return None;
        }
        let home = home();
        let dir = data_dir(options.data_within);
        let nodes = node::prepare(options, &dir, &home);
        let mut kafka = Self {
            nodes,
            home,
            _dir: dir,
        };
        for node in &mut kafka.nodes {
            node.launch(&kafka.home);
        }
        for node in &mut kafka.nodes {
            node.until_ready().await;
        }
        for (name, password) in options.users {
            kafka.add_user(name, password).await;
        }
        Some(kafka)
    }

    /// `bootstrap.servers`: every node.
    pub(crate) fn servers(&self) -> String {
        list(self.nodes.iter().map(|node| node.port.number))
    }

    /// `bootstrap.servers` of the second doors: of a cluster that has an authority, or users.
    pub(crate) fn secured_servers(&self) -> String {
        list(self.nodes.iter().map(|node| node.secured_port.number))
    }

    /// The port of a node's broker.
    pub(crate) fn port(&self, node: usize) -> u16 {
        self.nodes[node - 1].port.number
    }

    fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number - 1]
    }

    /// SIGKILL: a crash of that node.
    pub(crate) fn kill(&mut self, node: usize) {
        self.node(node).processes.kill();
    }

    /// SIGTERM: the node hands over what it leads, and ends.
    pub(crate) async fn stop(&mut self, node: usize) {
        self.node(node).processes.stop().await;
    }

    /// The node again, on its ports and with its data.
    pub(crate) async fn start_again(&mut self, node: usize) {
        self.start_again_with(node, &[]).await;
    }

    /// As `start_again`, with settings that stay.
    pub(crate) async fn start_again_with(&mut self, node: usize, settings: &[&str]) {
        let home = self.home.clone();
        let node = self.node(node);
        node.add(settings);
        node.launch(&home);
        node.until_ready().await;
    }

    /// SIGSTOP: the node stands still until `resume`.
    pub(crate) async fn pause(&mut self, node: usize) {
        self.node(node).processes.pause().await;
    }

    pub(crate) fn resume(&mut self, node: usize) {
        self.node(node).processes.resume();
    }

    /// What a node has printed since it was started last.
    pub(crate) fn log(&self, node: usize) -> String {
        self.nodes[node - 1].processes.log()
    }

    /// Of all nodes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let of = |node: &Node| node.processes.resident_bytes();
        self.nodes.iter().map(of).sum()
    }
}

fn list(ports: impl Iterator<Item = u16>) -> String {
    let addresses: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
    addresses.join(",")
}

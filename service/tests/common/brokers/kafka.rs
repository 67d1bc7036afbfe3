//! Apache Kafka, as `scripts/install-kafka.sh` puts it into the cache, of one node or of three.
//!
//! `SLUICEGATE_TEST_KAFKA_DIR` names its folder; by default it is where that script puts it. What strangers see is asked
//! of Kafka's own tools. Each of them starts Java, which takes a second or two: a client in the test is quicker.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, process::Command, time::timeout};

use super::{Port, TOOL_LIMIT, data_dir, is_demanded, output_of, processes::Processes, text};

/// What `scripts/kafka.sh` starts nodes with, too.
const SETTINGS: &str = include_str!("../../../../scripts/kafka/node.properties");
const SETTINGS_OF_THREE: &str = include_str!("../../../../scripts/kafka/of-three.properties");
const HEAP: &str = "-Xmx256m";
/// In its log, once the others know of it.
const STARTED: &str = "Kafka Server started";

/// A private cluster.
pub(crate) struct Kafka {
    nodes: Vec<Node>,
    home: PathBuf,
    _dir: TempDir,
}

/// One node, broker and controller.
struct Node {
    port: Port,
    _controller: Port,
    processes: Processes,
    settings: PathBuf,
}

fn home() -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    set("SLUICEGATE_TEST_KAFKA_DIR").unwrap_or_else(|| {
        set("SLUICEGATE_CACHE_DIR")
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("sluicegate")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/sluicegate")))
            .unwrap_or_default()
            .join("kafka")
    })
}

impl Kafka {
    /// One node; None, said aloud, where none is demanded. A setting is `name=value`, and wins over ours.
    pub(crate) async fn start(settings: &[&str]) -> Option<Self> {
        Self::start_nodes(1, settings).await
    }

    /// Three nodes, which hold everything three times and take a record when two have it.
    pub(crate) async fn start_three(settings: &[&str]) -> Option<Self> {
        Self::start_nodes(3, settings).await
    }

    async fn start_nodes(count: usize, settings: &[&str]) -> Option<Self> {
        if !is_demanded("SLUICEGATE_TEST_KAFKA", "Kafka") {
            return None;
        }
        let home = home();
        let is_there = home.join("broker.args").is_file();
        assert!(
            is_there,
            "no Kafka in {}: run scripts/test.sh",
            home.display()
        );
        let dir = data_dir();
        let ports: Vec<_> = (0..count).map(|_| (Port::take(), Port::take())).collect();
        let voters: Vec<String> = (1..)
            .zip(&ports)
            .map(|(number, (_, controller))| format!("{number}@127.0.0.1:{}", controller.number))
            .collect();
        let voters = format!("controller.quorum.voters={}", voters.join(","));
        let mut all: Vec<&str> = vec![SETTINGS, &voters];
        if count > 1 {
            all.insert(1, SETTINGS_OF_THREE);
        }
        let nodes = (1..)
            .zip(ports)
            .map(|(number, ports)| Node::prepare(number, ports, &all, settings, &dir, &home))
            .collect();
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
        Some(kafka)
    }

    /// `bootstrap.servers`: every node.
    pub(crate) fn servers(&self) -> String {
        let address = |node: &Node| format!("127.0.0.1:{}", node.port.number);
        let addresses: Vec<String> = self.nodes.iter().map(address).collect();
        addresses.join(",")
    }

    /// Nodes are counted from 1, as Kafka's `node.id` counts them.
    fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number - 1]
    }

    /// The port of a node's broker.
    pub(crate) fn port(&self, node: usize) -> u16 {
        self.nodes[node - 1].port.number
    }

    /// SIGKILL: a crash of that node.
    pub(crate) fn kill(&mut self, node: usize) {
        self.node(node).processes.kill();
    }

    /// SIGTERM: the node hands over what it leads, and ends.
    pub(crate) async fn stop(&mut self, node: usize) {
        self.node(node).processes.stop().await;
    }

    /// The node again, on its port and with its data.
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

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.nodes
            .iter()
            .map(|node| node.processes.resident_bytes())
            .sum()
    }

    fn command(&self, class: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("java");
        command
            .arg(format!("@{}", text(self.home.join("tool.args"))))
            .arg(class)
            .args(["--bootstrap-server", &self.servers()])
            .args(arguments);
        command
    }

    /// Runs one of Kafka's own tools against this cluster, and returns what it printed.
    pub(crate) async fn tool(&self, class: &str, arguments: &[&str]) -> String {
        output_of(self.command(class, arguments)).await
    }

    async fn topics(&self, arguments: &[&str]) -> String {
        self.tool("org.apache.kafka.tools.TopicCommand", arguments)
            .await
    }

    /// A setting is `name=value`, as `retention.ms=1000`.
    pub(crate) async fn create_topic(&self, name: &str, partitions: u32, settings: &[&str]) {
        let partitions = partitions.to_string();
        let mut arguments = vec!["--create", "--topic", name, "--partitions", &partitions];
        for setting in settings {
            arguments.extend(["--config", setting]);
        }
        self.topics(&arguments).await;
    }

    /// One partition, held by these nodes, of which the first leads.
    pub(crate) async fn create_replicated(&self, name: &str, nodes: &[i32], settings: &[&str]) {
        let nodes: Vec<String> = nodes.iter().map(i32::to_string).collect();
        let nodes = nodes.join(":");
        let mut arguments = vec!["--create", "--topic", name, "--replica-assignment", &nodes];
        for setting in settings {
            arguments.extend(["--config", setting]);
        }
        self.topics(&arguments).await;
    }

    /// What the tool says of the first partition under this name.
    async fn described(&self, topic: &str, name: &str) -> Option<String> {
        let described = self.topics(&["--describe", "--topic", topic]).await;
        let partition = described.lines().find(|line| line.contains("Leader:"))?;
        let after = partition.split(name).nth(1)?;
        after.split_whitespace().next().map(str::to_owned)
    }

    /// Who leads the first partition, if somebody does.
    pub(crate) async fn leader(&self, topic: &str) -> Option<i32> {
        self.described(topic, "Leader:").await?.parse().ok()
    }

    /// Who has all of the first partition.
    pub(crate) async fn in_sync(&self, topic: &str) -> Vec<i32> {
        let nodes = self.described(topic, "Isr:").await.unwrap_or_default();
        nodes
            .split(',')
            .filter_map(|node| node.parse().ok())
            .collect()
    }

    /// Returns when the topic is marked; its name is free a moment later.
    pub(crate) async fn delete_topic(&self, name: &str) {
        self.topics(&["--delete", "--topic", name]).await;
    }

    /// So many partitions in all.
    pub(crate) async fn set_partitions(&self, topic: &str, partitions: u32) {
        let partitions = partitions.to_string();
        self.topics(&["--alter", "--topic", topic, "--partitions", &partitions])
            .await;
    }

    /// Deletes what lies before an offset of a partition.
    pub(crate) async fn delete_records(&self, topic: &str, before: &[(i32, i64)]) {
        let partitions: Vec<String> = before
            .iter()
            .map(|(partition, offset)| {
                format!(r#"{{"topic":"{topic}","partition":{partition},"offset":{offset}}}"#)
            })
            .collect();
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        write!(
            file,
            r#"{{"version":1,"partitions":[{}]}}"#,
            partitions.join(",")
        )
        .expect("written");
        let path = text(file.path());
        self.tool(
            "org.apache.kafka.tools.DeleteRecordsCommand",
            &["--offset-json-file", &path],
        )
        .await;
    }

    /// Each partition and the offset that its next record will have.
    pub(crate) async fn end_offsets(&self, topic: &str) -> Vec<(i32, i64)> {
        self.offsets(topic, "latest").await
    }

    /// Each partition and the offset of the oldest record that is still there.
    pub(crate) async fn begin_offsets(&self, topic: &str) -> Vec<(i32, i64)> {
        self.offsets(topic, "earliest").await
    }

    async fn offsets(&self, topic: &str, time: &str) -> Vec<(i32, i64)> {
        let class = "org.apache.kafka.tools.GetOffsetShell";
        let printed = self.tool(class, &["--topic", topic, "--time", time]).await;
        let parsed = printed.lines().map(|line| {
            // A topic's name has no colon.
            let mut fields = line.split(':').skip(1);
            let partition = fields.next()?.parse().ok()?;
            Some((partition, fields.next()?.parse().ok()?))
        });
        let parsed: Option<Vec<_>> = parsed.collect();
        parsed.unwrap_or_else(|| panic!("no offsets: {printed}"))
    }

    /// What lag tools see of a group, as a table of the tool's.
    pub(crate) async fn group(&self, group: &str) -> String {
        self.tool(
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            &["--describe", "--group", group],
        )
        .await
    }

    /// Sends each line as a record, and returns when all replicas that are in step have them.
    pub(crate) async fn produce(&self, topic: &str, lines: &str) {
        let mut producer = self.command(
            "org.apache.kafka.tools.ConsoleProducer",
            &["--topic", topic, "--sync"],
        );
        let mut producer = producer
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("java runs");
        let mut stdin = producer.stdin.take().expect("piped");
        stdin.write_all(lines.as_bytes()).await.expect("taken");
        drop(stdin);
        let ended = timeout(TOOL_LIMIT, producer.wait()).await;
        let status = ended.expect("it ends").expect("a child");
        assert!(status.success(), "the producer: {status}");
    }

    /// The first records of a topic, each as a line, from the begin of every partition.
    pub(crate) async fn consume(&self, topic: &str, records: usize) -> Vec<String> {
        let records = records.to_string();
        let arguments = [
            "--from-beginning",
            "--topic",
            topic,
            "--max-messages",
            &records,
            "--timeout-ms",
            "30000",
        ];
        let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        let printed = self.tool(class, &arguments).await;
        printed.lines().map(str::to_owned).collect()
    }
}

impl Node {
    /// Writes the settings and the folder that a node is started with.
    fn prepare(
        number: usize,
        (port, controller): (Port, Port),
        common: &[&str],
        settings: &[&str],
        whole: &TempDir,
        home: &Path,
    ) -> Self {
        let dir = whole.path().join(format!("n{number}"));
        let logs = dir.join("log");
        std::fs::create_dir_all(&logs).expect("a directory");
        for file in ["meta.properties", "bootstrap.checkpoint"] {
            let from = home.join("formatted").join(file);
            std::fs::copy(&from, logs.join(file)).expect("copied");
        }
        append(
            &logs.join("meta.properties"),
            &[&format!("node.id={number}")],
        );
        let node = Self {
            processes: Processes::new(whole.path(), dir.join("server.log")),
            settings: dir.join("server.properties"),
            port,
            _controller: controller,
        };
        let address = format!("PLAINTEXT://127.0.0.1:{}", node.port.number);
        let controller = format!("CONTROLLER://127.0.0.1:{}", node._controller.number);
        node.add(common);
        node.add(&[
            &format!("node.id={number}"),
            &format!("log.dirs={}", text(logs)),
            &format!("listeners={address},{controller}"),
            &format!("advertised.listeners={address}"),
        ]);
        node.add(settings);
        node
    }

    /// The last one of a name wins.
    fn add(&self, settings: &[&str]) {
        append(&self.settings, settings);
    }

    fn launch(&mut self, home: &Path) {
        assert!(!self.processes.are_running(), "the node runs");
        let mut command = std::process::Command::new("java");
        command
            .arg(HEAP)
            .arg(format!("@{}", text(home.join("broker.args"))))
            .arg("kafka.Kafka")
            .arg(&self.settings);
        self.processes.spawn(command);
    }

    async fn until_ready(&mut self) {
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
    let opened = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file);
    let mut opened = opened.expect("a file");
    for line in lines {
        writeln!(opened, "{line}").expect("written");
    }
}

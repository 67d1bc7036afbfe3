//! What strangers see of a cluster, asked of Kafka's own tools.
//!
//! Each of them starts Java, which takes a second or two: a client in the test is quicker.

use std::{io::Write as _, process::Stdio};

use tempfile::NamedTempFile;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use super::Kafka;
use crate::common::brokers::{TOOL_LIMIT, output_of, text};

impl Kafka {
    fn command(&self, servers: &str, class: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("java");
        command
            .arg(format!("@{}", text(self.home.join("tool.args"))))
            .arg(class)
            .args(["--bootstrap-server", servers])
            .args(arguments);
        command
    }

    /// Runs one of Kafka's own tools against this cluster, and returns what it printed.
    pub(crate) async fn tool(&self, class: &str, arguments: &[&str]) -> String {
        output_of(self.command(&self.servers(), class, arguments)).await
    }

    /// As `tool`, through the second door; what it takes to come in is `properties` of a client's, line by line.
    pub(crate) async fn secured_tool(
        &self,
        class: &str,
        arguments: &[&str],
        properties: &str,
    ) -> String {
        let file = temporary(properties);
        let config = text(file.path());
        let arguments = [arguments, &["--command-config", &config]].concat();
        output_of(self.command(&self.secured_servers(), class, &arguments)).await
    }

    /// With SCRAM of both kinds, which Kafka does not take in one request.
    pub(super) async fn add_user(&self, name: &str, password: &str) {
        for bits in [256, 512] {
            let secret = format!("SCRAM-SHA-{bits}=[password={password}]");
            let user = ["--entity-type", "users", "--entity-name", name];
            let arguments = [&user[..], &["--alter", "--add-config", &secret]].concat();
            self.tool("kafka.admin.ConfigCommand", &arguments).await;
        }
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
        let nodes = nodes.split(',');
        nodes.filter_map(|node| node.parse().ok()).collect()
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
        let partitions = partitions.join(",");
        let file = temporary(&format!(r#"{{"version":1,"partitions":[{partitions}]}}"#));
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
            &self.servers(),
            "org.apache.kafka.tools.ConsoleProducer",
            // It would give up after some tries of 1.5 s each, and say nothing of it by its status.
            &["--topic", topic, "--sync", "--request-timeout-ms", "30000"],
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

fn temporary(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(content.as_bytes()).expect("written");
    file
}

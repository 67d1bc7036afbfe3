//! Settings of a source that is Kafka.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Secret,
    brokers::{BrokerTls, OnDataLoss, SourceStart, host_and_port, is_here},
};

/// Properties of librdkafka that follow from other settings, or that exactly once rests on.
const OWN_PROPERTIES: [&str; 22] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "group.protocol",
    "partition.assignment.strategy",
    "client.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "auto.offset.reset",
    "isolation.level",
    "queued.max.messages.kbytes",
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "allow.auto.create.topics",
];

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Some brokers of the cluster, each as HOST:PORT.
    pub brokers: Vec<String>,
    /// Names of topics; one that begins with `^` is a pattern.
    pub topics: Vec<String>,
    /// The consumer group that shares the partitions.
    #[serde(default = "default_group")]
    pub group: String,
    /// What stands for the cluster in the names of streams, instead of the id that it has of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Where a partition begins of which nothing was stored yet.
    #[serde(default)]
    pub start: SourceStart,
    /// What to do where records are gone that were not stored: an expired or truncated log, a topic that was made again.
    #[serde(default)]
    pub on_data_loss: OnDataLoss,
    #[serde(default)]
    pub group_protocol: GroupProtocol,
    /// How the classic protocol divides partitions: `cooperative-sticky`, `range` or `roundrobin`.
    #[serde(default = "default_assignor")]
    pub assignor: String,
    /// Whether records of transactions that are open or were aborted are read, too.
    #[serde(default)]
    pub read_uncommitted: bool,
    /// Memory for what was fetched and is not read yet, bytes.
    #[serde(default = "default_queue_bytes")]
    pub queue_bytes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BrokerTls>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,
    /// Other properties of librdkafka, by their names there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

fn default_group() -> String {
    "sluicegate".to_owned()
}

fn default_assignor() -> String {
    "cooperative-sticky".to_owned()
}

fn default_queue_bytes() -> u32 {
    16 << 20
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    #[default]
    Classic,
    /// KIP-848, of brokers from 4.0 on.
    Consumer,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSasl {
    pub mechanism: SaslMechanism,
    pub username: String,
    pub password: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// As the protocol calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl KafkaSettings {
    /// The key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let refused = |key: &str, reason: &str| Err((key.to_owned(), reason.to_owned()));
        if self.brokers.is_empty() || self.brokers.iter().any(|it| host_and_port(it).is_none()) {
            return refused("brokers", "it takes a list of HOST:PORT");
        }
        if self.topics.is_empty() || self.topics.iter().any(String::is_empty) {
            return refused(
                "topics",
                "it takes a list of names, or of patterns that begin with ^",
            );
        }
        if self.group.is_empty() {
            return refused("group", "it takes the name of a consumer group");
        }
        if let Some(cluster) = &self.cluster {
            let fits = (1..=128).contains(&cluster.len())
                && cluster
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'/');
            if !fits {
                return refused(
                    "cluster",
                    "it takes 1 to 128 visible characters of ASCII, without /",
                );
            }
        }
        if !["cooperative-sticky", "range", "roundrobin"].contains(&&*self.assignor) {
            return refused(
                "assignor",
                "it takes cooperative-sticky, range or roundrobin",
            );
        }
        if !(1 << 20..=1 << 30).contains(&self.queue_bytes) {
            return refused("queue_bytes", "it takes 1048576 to 1073741824");
        }
        BrokerTls::check(self.tls.as_ref())?;
        let sends_password = self
            .sasl
            .as_ref()
            .is_some_and(|sasl| sasl.mechanism == SaslMechanism::Plain);
        if sends_password && self.tls.is_none() && !self.brokers.iter().all(|it| is_here(it)) {
            return refused(
                "sasl.mechanism",
                "PLAIN sends the password as it is: it takes kafka.tls, but to brokers on this host",
            );
        }
        let is_own = |name: &&String| OWN_PROPERTIES.contains(&name.as_str());
        match self.properties.keys().find(is_own) {
            None => Ok(()),
            Some(name) => Err((
                format!("properties.{name}"),
                "it follows from other settings, or exactly once rests on it".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        let settings: KafkaSettings = serde_norway::from_str(text).unwrap();
        settings
            .check()
            .map_err(|(key, reason)| format!("{key}: {reason}"))
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let plain = "sasl: {mechanism: PLAIN, username: u, password: {env: P}}";
        for (more, key) in [
            ("brokers: [kafka.example], topics: [t]", "brokers"),
            ("brokers: ['a:1'], topics: []", "topics"),
            (
                "brokers: ['a:1'], topics: [t], assignor: sticky",
                "assignor",
            ),
            ("brokers: ['a:1'], topics: [t], cluster: a/b", "cluster"),
            (
                "brokers: ['a:1'], topics: [t], queue_bytes: 1",
                "queue_bytes",
            ),
            ("brokers: ['a:1'], topics: [t], tls: {cert: c}", "tls"),
            (
                "brokers: ['a:1'], topics: [t], properties: {auto.offset.reset: earliest}",
                "properties.auto.offset.reset",
            ),
            (
                &format!("brokers: ['a:1'], topics: [t], {plain}"),
                "sasl.mechanism",
            ),
        ] {
            let refused = checked(&format!("{{{more}}}")).unwrap_err();
            assert!(refused.starts_with(&format!("{key}: ")), "{refused}");
        }
        for more in [
            format!("brokers: ['127.0.0.1:9092'], topics: [t], {plain}"),
            format!("brokers: ['a:1'], topics: [t], tls: {{}}, {plain}"),
        ] {
            assert_eq!(checked(&format!("{{{more}}}")), Ok(()));
        }
    }
}

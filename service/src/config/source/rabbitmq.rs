//! Settings of a source that is RabbitMQ.

use serde::{Deserialize, Serialize};

use super::{
    Secret,
    brokers::{BrokerTls, OnDataLoss, SourceStart, host_and_port, is_here},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RabbitMqSettings {
    /// Nodes of the cluster, each as HOST:PORT. The first one that answers is taken.
    pub brokers: Vec<String>,
    #[serde(default = "default_virtual_host")]
    pub virtual_host: String,
    /// A queue that is a stream: each message is stored once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// A quorum or classic queue: each message is stored at least once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Where a stream begins of which nothing was stored yet.
    #[serde(default)]
    pub start: SourceStart,
    /// What to do where messages of a stream are gone that were not stored.
    #[serde(default)]
    pub on_data_loss: OnDataLoss,
    /// What stands for the cluster in the name of the stream, instead of the name of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Messages that the broker may send before they are stored.
    #[serde(default = "default_prefetch")]
    pub prefetch: u16,
    /// Whether messages of a queue that cannot be decoded go to its dead letter exchange, beside the quarantine.
    #[serde(default)]
    pub dead_letter: bool,
    #[serde(default = "default_username")]
    pub username: String,
    /// Without it, that of the user `guest` as brokers are shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BrokerTls>,
}

fn default_virtual_host() -> String {
    "/".to_owned()
}

fn default_prefetch() -> u16 {
    1_000
}

fn default_username() -> String {
    "guest".to_owned()
}

impl RabbitMqSettings {
    /// The key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let refused = |key: &str, reason: &str| Err((key.to_owned(), reason.to_owned()));
        let is_name = |name: &str| (1..=255).contains(&name.len());
        if self.brokers.is_empty() || self.brokers.iter().any(|it| host_and_port(it).is_none()) {
            return refused("brokers", "it takes a list of HOST:PORT");
        }
        match (&self.stream, &self.queue) {
            (Some(name), None) if !is_name(name) => {
                return refused("stream", "it takes the name of a queue, 1 to 255 bytes");
            }
            (None, Some(name)) if !is_name(name) => {
                return refused("queue", "it takes the name of a queue, 1 to 255 bytes");
            }
            (Some(_), None) | (None, Some(_)) => {}
            _ => return refused("queue", "say what is read: either stream, or queue"),
        }
        if self.queue.is_some() && self.start != SourceStart::default() {
            return refused(
                "start",
                "a queue begins with what is in it: it is for streams",
            );
        }
        if self.stream.is_some() && self.dead_letter {
            return refused(
                "dead_letter",
                "a stream has no dead letters: it is for queues",
            );
        }
        if let Some(cluster) = &self.cluster {
            let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
            if !(1..=128).contains(&cluster.len()) || !cluster.bytes().all(is_visible) {
                return refused(
                    "cluster",
                    "it takes 1 to 128 visible characters of ASCII, without /",
                );
            }
        }
        if self.prefetch == 0 {
            return refused("prefetch", "it takes 1 to 65535");
        }
        BrokerTls::check(self.tls.as_ref())?;
        if self.tls.is_none() && !self.brokers.iter().all(|it| is_here(it)) {
            return refused(
                "tls",
                "the password is sent as it is: brokers that are not on this host take rabbitmq.tls",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let checked = |text: &str| {
            let settings: RabbitMqSettings = serde_norway::from_str(text).unwrap();
            settings.check().map_err(|(key, _)| key)
        };
        for (text, key) in [
            ("{brokers: [], queue: q}", "brokers"),
            ("{brokers: ['localhost'], queue: q}", "brokers"),
            ("{brokers: ['localhost:1']}", "queue"),
            ("{brokers: ['localhost:1'], queue: q, stream: s}", "queue"),
            ("{brokers: ['localhost:1'], stream: ''}", "stream"),
            (
                "{brokers: ['localhost:1'], queue: q, start: latest}",
                "start",
            ),
            (
                "{brokers: ['localhost:1'], stream: s, dead_letter: true}",
                "dead_letter",
            ),
            (
                "{brokers: ['localhost:1'], stream: s, cluster: a/b}",
                "cluster",
            ),
            (
                "{brokers: ['localhost:1'], stream: s, prefetch: 0}",
                "prefetch",
            ),
            (
                "{brokers: ['localhost:1'], stream: s, tls: {key: k}}",
                "tls",
            ),
            ("{brokers: ['a.example:1'], stream: s}", "tls"),
        ] {
            assert_eq!(checked(text), Err(key.to_owned()), "{text}");
        }
        assert_eq!(checked("{brokers: ['[::1]:5672'], queue: q}"), Ok(()));
        assert_eq!(
            checked("{brokers: ['a.example:5671'], stream: s, tls: {}}"),
            Ok(())
        );
    }
}

//! The client of the brokers: its properties, and what it hears of its group.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol, StreamConsumer},
    error::{KafkaError, KafkaResult},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;

use crate::{
    config::{GroupProtocol, KafkaSettings},
    source::trouble::Trouble,
};

pub(super) type Consumer = StreamConsumer<Member>;

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) number: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// What the group decides.
#[derive(Debug)]
pub(super) enum Decision {
    /// These are ours from now on, once we say where they begin.
    Given(Vec<Partition>),
    /// These are no longer.
    Taken(Vec<Partition>),
}

/// What the client calls.
pub(super) struct Member {
    decisions: mpsc::UnboundedSender<Decision>,
    /// What went wrong last, in words that say more than its code.
    last_error: Mutex<Option<String>>,
}

impl Member {
    fn new(decisions: mpsc::UnboundedSender<Decision>) -> Self {
        Self {
            decisions,
            last_error: Mutex::new(None),
        }
    }

    /// What went wrong since it was asked last.
    pub(super) fn take_error(&self) -> Option<String> {
        self.last_error().take()
    }

    fn last_error(&self) -> MutexGuard<'_, Option<String>> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an error says, without the connection: `sasl_ssl://…: SASL authentication error: …`.
fn cause(reason: &str) -> &str {
    match reason.split_once(": ") {
        Some((connection, cause)) if connection.contains('/') => cause,
        _ => reason,
    }
}

impl ClientContext for Member {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka");
        let mut last = self.last_error();
        // Why they are down was said before.
        let is_consequence =
            error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) && last.is_some();
        if !is_consequence {
            *last = Some(cause(reason).to_owned());
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }
}

impl ConsumerContext for Member {
    /// A partition is read once it is known where, which the ledger has to say: what is given is only told on. What is taken is
    /// let go at once, for another member waits for it.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = list
            .elements()
            .iter()
            .map(|element| Partition {
                topic: element.topic().to_owned(),
                number: element.partition(),
            })
            .collect();
        let decision = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Decision::Given(partitions),
            _ => {
                let let_go = match consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                    _ => consumer.unassign(),
                };
                if let Err(error) = let_go {
                    tracing::debug!(%error, "partitions that were taken cannot be let go");
                }
                Decision::Taken(partitions)
            }
        };
        // Who does not listen any more has no partitions.
        let _ = self.decisions.send(decision);
    }

    /// Lag tools see it a little later: what counts is in the ledger.
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets for lag tools were not taken");
        }
    }
}

/// Makes a client that has not joined its group yet.
pub(super) fn connect(
    settings: &KafkaSettings,
    decisions: mpsc::UnboundedSender<Decision>,
) -> Result<Consumer, Trouble> {
    let config = properties(settings)?;
    config
        .create_with_context(Member::new(decisions))
        .map_err(|error| Trouble::to_mend(format!("Kafka's client does not start: {error}")))
}

fn properties(settings: &KafkaSettings) -> Result<ClientConfig, Trouble> {
    let mut config = ClientConfig::new();
    // Those that may be given otherwise come first.
    config
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("reconnect.backoff.max.ms", "1000")
        .set("fetch.message.max.bytes", "8388608")
        .set("queued.min.messages", "500000");
    for (name, value) in &settings.properties {
        config.set(name, value);
    }
    let is_encrypted = settings.tls.is_some();
    let protocol = match (is_encrypted, settings.sasl.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    let isolation = match settings.read_uncommitted {
        true => "read_uncommitted",
        false => "read_committed",
    };
    config
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("group.id", &settings.group)
        .set("client.id", "sluicegate")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        // A position that is not there is told, and never replaced by another one.
        .set("auto.offset.reset", "error")
        .set("isolation.level", isolation)
        .set(
            "queued.max.messages.kbytes",
            (settings.queue_bytes / 1024).to_string(),
        )
        .set("security.protocol", protocol);
    match settings.group_protocol {
        GroupProtocol::Classic => {
            config.set("partition.assignment.strategy", &settings.assignor);
        }
        GroupProtocol::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
    if let Some(tls) = &settings.tls {
        let ca = tls.ca.as_ref().map(|ca| ca.display().to_string());
        config.set("ssl.ca.location", ca.as_deref().unwrap_or("probe"));
        if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
            config
                .set("ssl.certificate.location", cert.display().to_string())
                .set("ssl.key.location", key.display().to_string());
        }
    }
    if let Some(sasl) = &settings.sasl {
        let password = sasl.password.read();
        let password =
            password.map_err(|error| Trouble::to_mend(format!("kafka.sasl.password: {error}")))?;
        config
            .set("sasl.mechanism", sasl.mechanism.as_str())
            .set("sasl.username", &sasl.username)
            .set("sasl.password", password.expose_secret());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_a_failure_is_told_without_its_connection() {
        for (reason, expected) in [
            (
                "sasl_ssl://127.0.0.1:9/bootstrap: SASL authentication error: no",
                "SASL authentication error: no",
            ),
            (
                "127.0.0.1:9/1: Connect to ipv4#127.0.0.1:9 failed",
                "Connect to ipv4#127.0.0.1:9 failed",
            ),
            ("something: else", "something: else"),
        ] {
            assert_eq!(cause(reason), expected);
        }
    }
}

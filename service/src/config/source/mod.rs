//! Settings under `sources:`, a list in the file: what readings are fetched from.

mod brokers;
mod kafka;
mod mqtt;
mod rabbitmq;
mod secret;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sluicegate_decode::{Mapping, MappingSettings};

pub use self::{
    brokers::{BrokerTls, OnDataLoss, SourceStart, host_and_port},
    kafka::{GroupProtocol, KafkaSasl, KafkaSettings, SaslMechanism},
    mqtt::MqttSettings,
    rabbitmq::RabbitMqSettings,
    secret::{Secret, SecretError},
};
use super::{ConfigError, mappings::example};

/// A source, as it stands in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// Names it in `/sources`, figures and the log.
    pub name: String,
    /// Whether it waits for `POST /sources/{name}/resume` before it begins.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// Whether the service is ready although this source cannot go on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<RabbitMqSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<MqttSettings>,
    /// How its payloads are read, unless they are of the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<MappingSettings>,
    /// Which message of the contract each payload is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protobuf: Option<Protobuf>,
}

/// A message of `sluicegate.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protobuf {
    SensorReading,
    SensorBatch,
    ColumnBatch,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What it is that readings are fetched from.
#[derive(Clone, Copy, Debug)]
pub enum BrokerSettings<'a> {
    Kafka(&'a KafkaSettings),
    RabbitMq(&'a RabbitMqSettings),
    Mqtt(&'a MqttSettings),
}

impl BrokerSettings<'_> {
    /// Its name in the settings, and in what is told of it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Kafka(_) => "kafka",
            Self::RabbitMq(_) => "rabbitmq",
            Self::Mqtt(_) => "mqtt",
        }
    }

    fn check(self) -> Result<(), (String, String)> {
        match self {
            Self::Kafka(kafka) => kafka.check(),
            Self::RabbitMq(rabbitmq) => rabbitmq.check(),
            Self::Mqtt(mqtt) => mqtt.check(),
        }
    }
}

/// How payloads are read.
#[derive(Clone, Copy, Debug)]
pub enum PayloadSettings<'a> {
    Mapping(&'a MappingSettings),
    Protobuf(Protobuf),
}

impl SourceSettings {
    /// Where its readings are. None when nothing is said, or more than one thing.
    #[must_use]
    pub fn broker(&self) -> Option<BrokerSettings<'_>> {
        match (&self.kafka, &self.rabbitmq, &self.mqtt) {
            (Some(kafka), None, None) => Some(BrokerSettings::Kafka(kafka)),
            (None, Some(rabbitmq), None) => Some(BrokerSettings::RabbitMq(rabbitmq)),
            (None, None, Some(mqtt)) => Some(BrokerSettings::Mqtt(mqtt)),
            _ => None,
        }
    }

    /// How its payloads are read. None when nothing, or both, is said.
    #[must_use]
    pub fn payload(&self) -> Option<PayloadSettings<'_>> {
        match (&self.mapping, self.protobuf) {
            (Some(mapping), None) => Some(PayloadSettings::Mapping(mapping)),
            (None, Some(message)) => Some(PayloadSettings::Protobuf(message)),
            _ => None,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refused = |key: &str, reason: String| ConfigError::Source {
            name: self.name.clone(),
            key: key.to_owned(),
            reason,
        };
        let is_name = |name: &str| {
            (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        if !is_name(&self.name) {
            let reason = "it takes 1 to 64 letters, digits, dots, hyphens and underscores of ASCII";
            return Err(refused("name", reason.to_owned()));
        }
        match self.payload() {
            None => {
                let reason = "say how its payloads are read: either mapping, or protobuf for messages of the contract";
                return Err(refused("mapping", reason.to_owned()));
            }
            Some(PayloadSettings::Protobuf(_)) => {}
            Some(PayloadSettings::Mapping(mapping)) => {
                Mapping::new(mapping).map_err(|error| {
                    let example = example(mapping.format);
                    refused(
                        "mapping",
                        format!("{error}. A payload with its mapping: {example}"),
                    )
                })?;
            }
        }
        let Some(broker) = self.broker() else {
            let reason = "say where its readings are: either kafka, rabbitmq or mqtt";
            return Err(refused("kafka", reason.to_owned()));
        };
        broker
            .check()
            .map_err(|(key, reason)| refused(&format!("{}.{key}", broker.kind()), reason))
    }
}

/// Checks them all.
pub(super) fn check(sources: &[SourceSettings]) -> Result<(), ConfigError> {
    let mut names = HashSet::new();
    for source in sources {
        source.check()?;
        if !names.insert(&source.name) {
            return Err(ConfigError::Source {
                name: source.name.clone(),
                key: "name".to_owned(),
                reason: "two sources have it".to_owned(),
            });
        }
    }
    Ok(())
}

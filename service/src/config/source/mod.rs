//! Settings under `sources:`, a list in the file: what readings are fetched from.

mod kafka;
mod secret;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sluicegate_decode::{Mapping, MappingSettings};

pub use self::{
    kafka::{
        GroupProtocol, KafkaSasl, KafkaSettings, KafkaStart, KafkaTls, OnDataLoss, SaslMechanism,
    },
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

/// How payloads are read.
#[derive(Clone, Copy, Debug)]
pub enum PayloadSettings<'a> {
    Mapping(&'a MappingSettings),
    Protobuf(Protobuf),
}

impl SourceSettings {
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
        let Some(kafka) = &self.kafka else {
            let reason = "say where its readings are: kafka";
            return Err(refused("kafka", reason.to_owned()));
        };
        kafka
            .check()
            .map_err(|(key, reason)| refused(&format!("kafka.{key}"), reason))
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

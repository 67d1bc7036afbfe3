//! How requests with readings are read, as `rest.mappings` says.

use std::collections::BTreeMap;

use sluicegate_decode::{Format, Mapping, MappingSettings};

use super::ConfigError;

pub(super) fn check(mappings: &BTreeMap<String, MappingSettings>) -> Result<(), ConfigError> {
    for (name, settings) in mappings {
        let refused = |reason: String| ConfigError::Mapping {
            name: name.clone(),
            reason,
            example: example(settings.format),
        };
        let formats = [Format::Json, Format::Csv, Format::Influx, Format::Plain];
        let named = formats.into_iter().find(|format| format.as_str() == name);
        if named.is_some_and(|format| format != settings.format) {
            let reason = format!(
                "it has the name of a format, and is of another: {}",
                settings.format.as_str()
            );
            return Err(refused(reason));
        }
        if settings.format == Format::Plain || settings.topic.is_some() {
            let reason = "a request has no topic, and more than a number";
            return Err(refused(reason.to_owned()));
        }
        Mapping::new(settings).map_err(|error| refused(error.to_string()))?;
    }
    Ok(())
}

/// A payload of this format, for who writes a mapping.
pub(super) fn example(format: Format) -> &'static str {
    match format {
        Format::Json => {
            r#"{"name":"boiler","value":81.5,"at":1795771800} with {format: json, value: {pointer: /value}, sensor_type: {pointer: /name}, id1: {constant: 4}, id2: {constant: BOILER}, time: {pointer: /at, unit: s}}"#
        }
        Format::Csv => {
            "boiler,81.5,1795771800 with {format: csv, columns: [name, value, at], value: {column: value}, sensor_type: {column: name}, id1: {constant: 4}, id2: {constant: BOILER}, time: {column: at, unit: s}}"
        }
        Format::Influx => {
            "boiler,plant=7 temperature=81.5 1795771800000000000 with {format: influx, id1: {tag: plant}}"
        }
        Format::Plain => "81.5 with {format: plain, topic: 'plant/{id1}/{id2}/{sensor_type}'}",
    }
}

//! The mappings that payloads were read by, to read them once more.

use std::{collections::BTreeMap, sync::Arc};

use sluicegate_decode::{
    Format, Mapping, MappingError, MappingSettings, Source, TimeSource, TimeUnit,
};

/// The mappings of this instance, by their names.
#[derive(Clone, Debug, Default)]
pub struct KnownMappings {
    /// Those of sources, which have the names of their sources.
    pub sources: BTreeMap<String, Arc<Mapping>>,
    /// Those of requests. Under the name of its format stands what is used where a request names none.
    pub requests: BTreeMap<String, Arc<Mapping>>,
}

impl KnownMappings {
    /// Adds our own, where there are no others of their names.
    ///
    /// # Errors
    /// When one does not fit together.
    pub fn with_own(mut self) -> Result<Self, MappingError> {
        let mut own = |format: Format, mapping: Mapping| {
            let mapping = Arc::new(mapping);
            self.requests
                .entry(format.as_str().to_owned())
                .or_insert(mapping);
        };
        own(Format::Json, Mapping::new(&own_json())?);
        own(Format::Influx, Mapping::line_protocol());
        Ok(self)
    }
}

/// Objects as exports have them.
#[must_use]
pub fn own_json() -> MappingSettings {
    let pointer = |name: &str| Source {
        pointer: Some(format!("/{name}")),
        ..Source::default()
    };
    let timestamp = Source {
        unit: Some(TimeUnit::Rfc3339),
        ..pointer("timestamp")
    };
    MappingSettings {
        value: Some(pointer("sensor_value")),
        sensor_type: Some(pointer("sensor_type")),
        id1: Some(pointer("id1")),
        id2: Some(pointer("id2")),
        time: Some(TimeSource::Source(Box::new(timestamp))),
        ..MappingSettings::of(Format::Json)
    }
}

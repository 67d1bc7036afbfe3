//! The mappings that requests are read by: those of the configuration, and our own.

use std::{collections::BTreeMap, sync::Arc};

use sluicegate_decode::{
    Format, Mapping, MappingError, MappingSettings, Source, TimeSource, TimeUnit,
};

use crate::usecase::manage::own_json;

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Mappings {
    configured: BTreeMap<String, Arc<Mapping>>,
    /// Their names, for people.
    names: String,
    json: Arc<Mapping>,
    line_protocol: Arc<Mapping>,
}

impl Mappings {
    /// # Errors
    /// When one does not fit together.
    pub(super) fn new(settings: &BTreeMap<String, MappingSettings>) -> Result<Self, MappingError> {
        let checked = |(name, settings): (&String, &MappingSettings)| {
            Ok((name.clone(), Arc::new(Mapping::new(settings)?)))
        };
        let names: Vec<&str> = settings.keys().map(String::as_str).collect();
        Ok(Self {
            configured: settings.iter().map(checked).collect::<Result<_, _>>()?,
            names: names.join(", "),
            json: Arc::new(Mapping::new(&own_json())?),
            line_protocol: Arc::new(Mapping::line_protocol()),
        })
    }

    /// The one that has the name of its format.
    pub(super) fn of_format(&self, format: Format) -> Option<Arc<Mapping>> {
        self.named(format.as_str())
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<Mapping>> {
        self.configured.get(name).cloned()
    }

    /// None when there is none.
    pub(super) fn names(&self) -> Option<&str> {
        Some(&*self.names).filter(|names| !names.is_empty())
    }

    /// Objects as exports have them.
    pub(super) fn json(&self) -> Arc<Mapping> {
        self.json.clone()
    }

    pub(super) fn line_protocol(&self) -> Arc<Mapping> {
        self.line_protocol.clone()
    }
}

/// The mapping of a table whose first line names its columns, as exports have them; others are left out. The times stand in
/// `timestamp_us` (microseconds since the Unix epoch) or in `timestamp` (RFC 3339).
///
/// # Errors
/// What is missing, in words.
pub(super) fn table(first_line: &str) -> Result<Mapping, String> {
    let names: Vec<String> = first_line
        .split(',')
        .map(|name| name.trim().trim_matches('"').to_owned())
        .collect();
    let column = |name: &str| {
        let found = names.iter().position(|each| each == name);
        found.map(|at| Source {
            column: Some(sluicegate_decode::Column::Number(at + 1)),
            ..Source::default()
        })
    };
    let needed = |name: &str| {
        column(name).ok_or_else(|| {
            format!(
                "the first line has to name the columns sensor_value, sensor_type, id1, id2, and timestamp or timestamp_us: \
                 {name} is not among them"
            )
        })
    };
    let time = match column("timestamp_us") {
        Some(column) => Source {
            unit: Some(TimeUnit::Us),
            ..column
        },
        None => Source {
            unit: Some(TimeUnit::Rfc3339),
            ..needed("timestamp")?
        },
    };
    let settings = MappingSettings {
        value: Some(needed("sensor_value")?),
        sensor_type: Some(needed("sensor_type")?),
        id1: Some(needed("id1")?),
        id2: Some(needed("id2")?),
        time: Some(TimeSource::Source(Box::new(time))),
        columns: Some(names.clone()),
        ..MappingSettings::of(Format::Csv)
    };
    Mapping::new(&settings).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_its_columns_in_any_order() {
        for line in [
            "id,id1,id2,sensor_type,sensor_value,timestamp,timestamp_us",
            "timestamp,sensor_value,id2,id1,sensor_type",
            "\"sensor_value\",sensor_type,id1,id2,timestamp_us",
        ] {
            assert!(table(line).is_ok(), "{line}: {:?}", table(line));
        }
        let missing = table("sensor_value,sensor_type,id1,timestamp").unwrap_err();
        assert!(missing.ends_with("id2 is not among them"), "{missing}");
        let missing = table("1.5,temperature,4,BOILER,2026-01-01T00:00:00Z").unwrap_err();
        assert!(missing.contains("first line"), "{missing}");
    }
}

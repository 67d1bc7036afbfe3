//! The mappings of sources and requests, for what lies in quarantine.

use std::sync::Arc;

use sluicegate_decode::{Mapping, MappingError};

use super::{Config, ConfigError, PayloadSettings};
use crate::usecase::manage::KnownMappings;

impl Config {
    /// All of them, by their names.
    ///
    /// # Errors
    /// When one does not fit together, which a configuration that was checked has not.
    pub fn known_mappings(&self) -> Result<KnownMappings, ConfigError> {
        let refused = |name: &str| {
            let name = name.to_owned();
            move |error: MappingError| ConfigError::Mapping {
                name,
                reason: error.to_string(),
                example: "",
            }
        };
        let mut known = KnownMappings::default();
        for source in &self.sources {
            if let Some(PayloadSettings::Mapping(settings)) = source.payload() {
                let mapping = Mapping::new(settings).map_err(refused(&source.name))?;
                known.sources.insert(source.name.clone(), Arc::new(mapping));
            }
        }
        for (name, settings) in &self.rest.mappings {
            let mapping = Mapping::new(settings).map_err(refused(name))?;
            known.requests.insert(name.clone(), Arc::new(mapping));
        }
        known.with_own().map_err(refused("json"))
    }
}

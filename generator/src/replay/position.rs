//! Where a replay stands in its file, as it is kept with the stream: how many readings of it were sent, and what they were. A
//! file that was moved, packed or grown since is known again by them, and another one of the same name is not.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Source, readings::Reading};
use crate::error::CsvError;

/// Behind so many readings the stream is told anew.
const EVERY: u64 = 1_000;

/// What the stream keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FilePosition {
    /// The name of the file, for people.
    file: String,
    /// So many readings of it were sent.
    pub(super) readings: u64,
    /// Of them.
    sha256: String,
}

impl FilePosition {
    /// None for what no replay has written.
    pub(super) fn read(source_position: &[u8]) -> Option<Self> {
        serde_json::from_slice(source_position).ok()
    }

    /// Where it is, for people.
    pub(super) fn describe(&self) -> String {
        let Self { file, readings, .. } = self;
        match readings {
            1 => format!("behind the first reading of {file}"),
            _ => format!("behind the first {readings} readings of {file}"),
        }
    }

    /// Whether the file begins with these readings.
    pub(super) fn is_in(&self, source: &Source) -> Result<bool, CsvError> {
        if source.checked.readings < self.readings {
            return Ok(false);
        }
        let mut place = Place::at_the_start(source.input.name());
        for reading in source.readings()? {
            place.pass(&reading?);
            if place.readings == self.readings {
                break;
            }
        }
        Ok(place.sha256() == self.sha256)
    }
}

/// How far a file was read.
pub(super) struct Place {
    file: String,
    readings: u64,
    hasher: Sha256,
}

impl Place {
    pub(super) fn at_the_start(file: &str) -> Self {
        // A path can be long, and the end of it tells more.
        let name = std::path::Path::new(file).file_name();
        let name = name.map_or(file.into(), |name| name.to_string_lossy());
        Self {
            file: name.chars().take(100).collect(),
            readings: 0,
            hasher: Sha256::new(),
        }
    }

    /// The next reading was read.
    pub(super) fn pass(&mut self, reading: &Reading) {
        let Reading {
            id1,
            id2,
            sensor_type,
            value,
            timestamp_us,
        } = reading;
        self.readings += 1;
        self.hasher.update(id1.to_be_bytes());
        for text in [id2, sensor_type] {
            self.hasher.update((text.len() as u64).to_be_bytes());
            self.hasher.update(text);
        }
        self.hasher.update(value.to_bits().to_be_bytes());
        self.hasher.update(timestamp_us.to_be_bytes());
    }

    pub(super) fn readings(&self) -> u64 {
        self.readings
    }

    /// The position to tell behind this reading, if it is one to be told of: the first and the last ones are, so that the
    /// stream belongs to the file from its first reading on.
    pub(super) fn told(&self, last: u64) -> Option<Vec<u8>> {
        let is_told =
            self.readings == 1 || self.readings == last || self.readings.is_multiple_of(EVERY);
        if !is_told {
            return None;
        }
        let position = FilePosition {
            file: self.file.clone(),
            readings: self.readings,
            sha256: self.sha256(),
        };
        serde_json::to_vec(&position).ok()
    }

    fn sha256(&self) -> String {
        let hash = self.hasher.clone().finalize();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

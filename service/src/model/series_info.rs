//! Series as they are listed.

use serde::{Deserialize, Serialize};

use super::{Series, Tags};

/// A series, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesInfo {
    pub number: u32,
    pub series: Series,
    /// When it got its number; microseconds since the Unix epoch.
    pub first_seen_us: i64,
    /// The day on which a reading of it was last stored, UTC, as days since the Unix epoch.
    pub last_seen_day: Option<i32>,
    pub tags: Tags,
}

/// Which series are meant: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeriesFilter {
    pub id1: Option<i32>,
    pub id2: Option<String>,
    /// What id2 begins with.
    pub prefix: Option<String>,
    pub sensor_type: Option<String>,
    /// Names and values of tags.
    pub tags: Vec<(String, String)>,
    /// Of which a reading was stored on that day or later, as days since the Unix epoch.
    pub seen_since_day: Option<i32>,
}

impl SeriesFilter {
    /// The condition for which every series has to be looked at, where no other narrows them by a key.
    #[must_use]
    pub fn without_key(&self) -> Option<&'static str> {
        let narrowed = self.id1.is_some()
            || self.id2.is_some()
            || self.prefix.is_some()
            || !self.tags.is_empty();
        match self {
            _ if narrowed => None,
            Self {
                sensor_type: Some(_),
                ..
            } => Some("sensor_type"),
            Self {
                seen_since_day: Some(_),
                ..
            } => Some("seen_since"),
            _ => None,
        }
    }
}

/// Where a list of series goes on: behind this one. Which of the fields count depends on the filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesPlace {
    pub number: u32,
    pub id2: String,
    pub sensor_type: String,
}

impl SeriesInfo {
    #[must_use]
    pub fn place(&self) -> SeriesPlace {
        SeriesPlace {
            number: self.number,
            id2: self.series.id2.clone(),
            sensor_type: self.series.sensor_type.clone(),
        }
    }
}

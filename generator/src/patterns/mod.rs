//! What the readings look like: ids, types, values, and the shares that are late, out of order, sent twice or bad. From
//! defaults, a YAML file and flags, each over the one before.

mod ids;
mod types;
mod values;

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat};
use clap::Args;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

pub use self::{
    ids::{Id1Set, Id2Set},
    types::SensorType,
    values::Values,
};
pub(crate) use types::turns;

use crate::{error::Error, flags};

/// Most series that the sets of ids and the types may make together.
const MAX_SERIES: usize = 10_000_000;

/// Everything that decides which readings are made. The keys of the YAML file are these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Patterns {
    /// The same seed makes the same readings.
    pub seed: u64,
    /// Different series, named by number, where neither `id1` nor `id2` is given; each has one type.
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub series: u32,
    /// Values of id1. Every id1 goes with every id2 and every type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0..9,15")]
    pub id1: Option<Id1Set>,
    /// Values of id2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "boiler,gate-[00..99]")]
    pub id2: Option<Id2Set>,
    /// Sensor types.
    #[schema(min_items = 1)]
    pub types: Vec<SensorType>,
    /// Values of the types that have none of their own.
    #[schema(value_type = String, example = "walk:20:0.1")]
    pub values: Values,
    /// Timestamp of the first reading, RFC 3339 or epoch milliseconds; without it, of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2026-01-01T00:00:00Z")]
    pub start_time: Option<StartTime>,
    /// Readings come in any order within windows of so much of their own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10s")]
    pub shuffle_within: Option<TimeText>,
    /// Share of readings that come late, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub late: f64,
    /// How late they come at most.
    #[schema(value_type = String, example = "60s")]
    pub late_by: TimeText,
    /// Share of readings that come behind one that was measured after them, 0 to 0.5: they change places.
    #[schema(minimum = 0, maximum = 0.5)]
    pub out_of_order: f64,
    /// Share of readings that are resends of the one before, 0 to 0.5.
    #[schema(minimum = 0, maximum = 0.5)]
    pub duplicates: f64,
    /// Share of readings that the service has to reject, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub bad: f64,
}

impl Default for Patterns {
    fn default() -> Self {
        let sensor_type = |name: &str| SensorType {
            name: name.to_owned(),
            weight: 1,
            values: None,
        };
        Self {
            seed: 1,
            series: 1_000,
            id1: None,
            id2: None,
            types: ["temperature", "humidity", "pressure"]
                .map(sensor_type)
                .into(),
            values: Values::default(),
            start_time: None,
            shuffle_within: None,
            late: 0.0,
            late_by: TimeText("60s".to_owned()),
            out_of_order: 0.0,
            duplicates: 0.0,
            bad: 0.0,
        }
    }
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Where.
    pub(crate) field: &'static str,
    /// One sentence.
    pub(crate) reason: String,
}

/// A time such as `60s`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeText(String);

impl TimeText {
    pub(crate) fn as_us(&self) -> i64 {
        // It was checked when it was made.
        flags::duration(&self.0).map_or(0, |time| {
            i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
        })
    }
}

impl TryFrom<String> for TimeText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        flags::duration(&text)?;
        Ok(Self(text))
    }
}

impl std::str::FromStr for TimeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

/// A moment, written in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTime {
    /// Microseconds since the Unix epoch.
    pub us: i64,
}

impl std::str::FromStr for StartTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        flags::instant_us(text).map(|us| Self { us })
    }
}

impl Serialize for StartTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = DateTime::from_timestamp_micros(self.us).unwrap_or_default();
        serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl<'de> Deserialize<'de> for StartTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = ids::text(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Patterns {
    /// Reads a YAML file.
    ///
    /// # Errors
    /// When it cannot be read, has a key that is none, or a value that does not fit; with the line.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let patterns: Self =
            serde_norway::from_str(&text).map_err(|error| failed(error.to_string()))?;
        patterns.check().map_err(|misfit| failed(misfit.reason))?;
        Ok(patterns)
    }

    /// Says in one sentence what does not fit.
    pub(crate) fn check(&self) -> Result<(), Misfit> {
        let misfit = |field, reason: String| Err(Misfit { field, reason });
        let shares = [
            ("late", self.late, 1.0),
            ("out_of_order", self.out_of_order, 0.5),
            ("duplicates", self.duplicates, 0.5),
            ("bad", self.bad, 1.0),
        ];
        for (name, share, most) in shares {
            if !(0.0..=most).contains(&share) {
                let reason = format!("{name} is {share}, but must be a share from 0 to {most}");
                return misfit(name, reason);
            }
        }
        // Each reading has one disturbance at most, and a swap and a resend take two readings.
        if shares
            .iter()
            .map(|(_, share, most)| share / most)
            .sum::<f64>()
            > 1.0 + 1e-9
        {
            let reason = "late + bad + 2 x (out_of_order + duplicates) must be 1 at most";
            return misfit("late", reason.to_owned());
        }
        if self.types.is_empty() {
            return misfit("types", "types is empty".to_owned());
        }
        if !(1..=100_000_000).contains(&self.series) {
            return misfit("series", "series must be 1 to 100000000".to_owned());
        }
        let ids = |count: Option<usize>| count.unwrap_or(1);
        let series = ids(self.id1.as_ref().map(|set| set.ids.len()))
            .saturating_mul(ids(self.id2.as_ref().map(|set| set.ids.len())))
            .saturating_mul(self.types.len());
        match series <= MAX_SERIES {
            true => Ok(()),
            false => misfit(
                "id1",
                format!("id1, id2 and types make {series} series, but {MAX_SERIES} are the most"),
            ),
        }
    }
}

/// The flags that go over the file.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Readings")]
pub struct PatternFlags {
    /// YAML file with the keys seed, series, id1, id2, types, values, start_time, shuffle_within, late, late_by,
    /// out_of_order, duplicates and bad; flags go over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Different series, each of one type [default: 1000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000), conflicts_with_all = ["id1", "id2"])]
    pub series: Option<u32>,
    /// Values of id1 instead of numbered series, such as 0..9,15; each goes with every id2 and every type.
    #[arg(long, value_name = "SET", allow_hyphen_values = true)]
    pub id1: Option<Id1Set>,
    /// Values of id2, such as boiler,gate-[00..99].
    #[arg(long, value_name = "SET")]
    pub id2: Option<Id2Set>,
    /// Sensor types, as NAME[:WEIGHT][=VALUES] [default: temperature,humidity,pressure].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub types: Vec<SensorType>,
    /// Values of types without their own: constant:VALUE, uniform:FROM:TO, normal:MEAN:DEVIATION, walk:START:STEP or
    /// sine:FROM:TO:SECONDS; the numbers may be left out [default: walk].
    #[arg(long, value_name = "VALUES")]
    pub values: Option<Values>,
    /// The same seed makes the same readings [default: 1].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Timestamp of the first reading, RFC 3339 or epoch milliseconds [default: now].
    #[arg(long, value_name = "TIME")]
    pub start_time: Option<StartTime>,
    /// Shuffle readings within windows of so much of their own time, such as 10s.
    #[arg(long, value_name = "TIME")]
    pub shuffle_within: Option<TimeText>,
    /// Share of readings that come late, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    pub late: Option<f64>,
    /// How late they come at most [default: 60s].
    #[arg(long, value_name = "TIME")]
    pub late_by: Option<TimeText>,
    /// Share of readings that change places with the one before, 0 to 0.5.
    #[arg(long, value_name = "SHARE")]
    pub out_of_order: Option<f64>,
    /// Share of readings that are resends of the one before, 0 to 0.5.
    #[arg(long, value_name = "SHARE")]
    pub duplicates: Option<f64>,
    /// Share of readings that the service has to reject, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    pub bad: Option<f64>,
}

impl PatternFlags {
    /// The file, and over it the flags.
    ///
    /// # Errors
    /// When the file is wrong, or something does not fit.
    pub fn resolve(&self) -> Result<Patterns, Error> {
        let mut patterns = match &self.config {
            Some(path) => Patterns::from_file(path)?,
            None => Patterns::default(),
        };
        fn over<T: Clone>(target: &mut T, flag: Option<&T>) {
            if let Some(value) = flag {
                target.clone_from(value);
            }
        }
        if self.series.is_some() {
            (patterns.id1, patterns.id2) = (None, None);
        }
        over(&mut patterns.series, self.series.as_ref());
        over(&mut patterns.seed, self.seed.as_ref());
        over(&mut patterns.values, self.values.as_ref());
        over(&mut patterns.late, self.late.as_ref());
        over(&mut patterns.late_by, self.late_by.as_ref());
        over(&mut patterns.out_of_order, self.out_of_order.as_ref());
        over(&mut patterns.duplicates, self.duplicates.as_ref());
        over(&mut patterns.bad, self.bad.as_ref());
        patterns.id1 = self.id1.clone().or(patterns.id1);
        patterns.id2 = self.id2.clone().or(patterns.id2);
        patterns.start_time = self.start_time.or(patterns.start_time);
        patterns.shuffle_within = self.shuffle_within.clone().or(patterns.shuffle_within);
        if !self.types.is_empty() {
            patterns.types.clone_from(&self.types);
        }
        patterns
            .check()
            .map_err(|misfit| Error::Usage(misfit.reason))?;
        Ok(patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("patterns.yaml");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_has_everything_and_flags_go_over_it() {
        let (_directory, path) = file(
            "seed: 7\nid1: 0..3\nid2: [a, 'gate-[0..1]']\nvalues: normal:20:5\nlate: 0.1\nlate_by: 5s\nbad: 0.01\n\
             types:\n  - rain\n  - {name: wind, weight: 3, values: 'uniform:0:30'}\n",
        );
        let flags = PatternFlags {
            config: Some(path),
            seed: Some(8),
            ..PatternFlags::default()
        };
        let patterns = flags.resolve().unwrap();
        assert_eq!((patterns.seed, patterns.late, patterns.bad), (8, 0.1, 0.01));
        assert_eq!(patterns.id1.as_ref().unwrap().ids, [0, 1, 2, 3]);
        assert_eq!(
            patterns.id2.as_ref().unwrap().ids,
            ["a", "gate-0", "gate-1"]
        );
        assert_eq!(patterns.types[1], "wind:3=uniform:0:30".parse().unwrap());
        let text = serde_json::to_string(&patterns).unwrap();
        assert_eq!(serde_json::from_str::<Patterns>(&text).unwrap(), patterns);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        for (text, line) in [
            ("seed: 1\nlatte: 0.1\n", 2),
            ("types:\n  - name: a\n    wait: 3\n", 3),
        ] {
            let (_directory, path) = file(text);
            let error = Patterns::from_file(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}")), "{error}");
        }
    }

    #[test]
    fn shares_beyond_one_are_refused() {
        let (_directory, path) = file("late: 0.7\nbad: 0.7\n");
        assert!(Patterns::from_file(&path).is_err());
        let (_directory, path) = file("late: -1\n");
        assert!(Patterns::from_file(&path).is_err());
    }
}

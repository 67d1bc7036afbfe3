//! A mapping as it stands in settings.

use std::fmt;

use memchr::{memchr_iter, memchr2_iter, memchr3_iter};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::time::TimeUnit;

/// What a payload is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// An object, an array of objects, or one of these in each line.
    Json,
    /// A reading in each line.
    Csv,
    /// InfluxDB's line protocol.
    Influx,
    /// The payload is a number.
    Plain,
}

impl Format {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Influx => "influx",
            Self::Plain => "plain",
        }
    }

    /// No payload or piece of one has more readings and faults than this: found out by looking at its bytes, not by reading it.
    #[must_use]
    pub fn most_outcomes(self, payload: &[u8]) -> usize {
        match self {
            Self::Influx => memchr2_iter(b'=', b'\n', payload).count(),
            Self::Json => memchr3_iter(b':', b',', b'\n', payload).count(),
            Self::Csv | Self::Plain => memchr_iter(b'\n', payload).count(),
        }
    }
}

/// Where the fields of a reading come from. [`Mapping::new`](crate::Mapping::new) says what does not fit together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingSettings {
    pub format: Format,
    /// How a topic is made up, such as `plant/{id1}/{id2}/{sensor_type}`. Levels end with `/`, or with `.` where there is no
    /// `/`; `+` or `*` is any level, `#` at the end any number of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// JSON: a pointer to an array, each object of which is a record; the other pointers begin in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<String>,
    /// CSV: the names of the columns. A line that is just these names is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// CSV: what stands between columns, a comma if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor_type: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id1: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id2: Option<Source>,
    /// JSON: a pointer to an object whose members are tags, as in line protocol: they give `id1` and `id2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// Tags that do not tell series apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_tags: Vec<String>,
    /// Tags that become tags of the series, where the table knows series. Those that are to be nothing else stand among
    /// `ignored_tags`, too: otherwise they tell series apart as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series_tags: Vec<String>,
    /// When it is not given, a line of line protocol says it, and everything else is of the time of its arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeSource>,
}

impl MappingSettings {
    /// Nothing but the format.
    #[must_use]
    pub fn of(format: Format) -> Self {
        Self {
            format,
            topic: None,
            records: None,
            columns: None,
            delimiter: None,
            value: None,
            sensor_type: None,
            id1: None,
            id2: None,
            tags: None,
            ignored_tags: Vec::new(),
            series_tags: Vec::new(),
            time: None,
        }
    }
}

/// Where one field comes from: exactly one of these, but for `default` and `unit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// JSON: a pointer (RFC 6901) from the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// JSON: a pointer from the root of the message, for what stands once beside `records`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// JSON, for the value: a pointer to an object, each number of which is a reading. Its name is added to the sensor type,
    /// as in `mem.active`. Members that other pointers name are not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// CSV: a column by its number, from 1, or by its name in `columns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<Column>,
    /// Line protocol, or JSON with `tags`: the tag of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A header of the message, in either case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Always this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<Scalar>,
    /// What is taken where there is nothing: no member, `null`, an empty text. For the time: `arrival`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// For the time, and needed there: how it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<TimeUnit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    Number(usize),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Integer(i64),
    Number(f64),
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Where the time comes from: the word `arrival`, or a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeSource {
    Arrival,
    #[serde(untagged)]
    Source(Box<Source>),
}

/// The word for the time at which a message came.
pub(crate) const ARRIVAL: &str = "arrival";

/// By hand, for an untagged enum would not say which key is wrong.
impl<'de> Deserialize<'de> for TimeSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrSource;

        impl<'de> Visitor<'de> for WordOrSource {
            type Value = TimeSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`arrival`, or where the time comes from, such as {pointer: /time, unit: ms}",
                )
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
                match word {
                    ARRIVAL => Ok(TimeSource::Arrival),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let source = Source::deserialize(MapAccessDeserializer::new(map))?;
                Ok(TimeSource::Source(Box::new(source)))
            }
        }

        deserializer.deserialize_any(WordOrSource)
    }
}

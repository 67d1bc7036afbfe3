//! A mapping that was checked, as the decoder follows it.

use serde::Serialize;

use crate::{
    fields::{FIELDS, MappedField},
    pointer::Node,
    settings::{Format, MappingSettings},
    tags,
    time::{Precision, TimeUnit},
    topic::Template,
};

/// A mapping that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{key} {reason}")]
pub struct MappingError {
    /// The setting, such as `mapping.id1`.
    pub key: String,
    /// Follows the key to make a sentence.
    pub reason: String,
}

/// How payloads become readings. Made once, used by as many decoders as there are messages under way.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub(crate) settings: MappingSettings,
    pub(crate) reader: Reader,
    pub(crate) topic: Option<Template>,
    pub(crate) fields: [FieldPlan; FIELDS.len()],
    /// Whether a record has several values, whose names are added to the sensor type.
    pub(crate) is_many: bool,
    pub(crate) clock: Clock,
    /// Tags that are not part of an `id2` made of tags: what is a field itself, and what the settings leave out.
    pub(crate) tags_elsewhere: Vec<String>,
}

/// What is particular to a format.
#[derive(Clone, Debug)]
pub(crate) enum Reader {
    Json(JsonPlan),
    Csv(CsvPlan),
    Influx,
    Plain,
}

#[derive(Clone, Debug)]
pub(crate) struct JsonPlan {
    /// Pointers from the root of the message, where the records do not begin there.
    pub(crate) root: Node,
    /// Leads to the array of records, and to nothing else. Empty if the message is the record.
    pub(crate) records: Node,
    pub(crate) record: Node,
}

#[derive(Clone, Debug)]
pub(crate) struct CsvPlan {
    pub(crate) delimiter: u8,
    /// A line that is left out.
    pub(crate) header: Option<Vec<String>>,
    /// Which columns are read, from 0, in ascending order; a column may give several fields.
    pub(crate) columns: Vec<(usize, MappedField)>,
}

/// Where a field comes from.
#[derive(Clone, Debug)]
pub(crate) struct FieldPlan {
    pub(crate) origin: Origin,
    /// The same for people: a pointer, a column.
    pub(crate) place: String,
    pub(crate) default: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The format finds it.
    Payload,
    Tag(String),
    /// `id1` and `id2` as all tags of the record say.
    Tags,
    Topic,
    Header(String),
    Constant(String),
    /// The time of the message, or the sensor type where the name of the value is all of it.
    Nothing,
}

/// How times are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Arrival,
    Unit(TimeUnit),
    /// Whole numbers, and a request may say another precision.
    Line(Precision),
}

impl Mapping {
    /// Line protocol without any setting: the sensor type is `measurement.field`, the ids come from the tags.
    ///
    /// `id1` is the tag of this name, a whole number in its usual form, or 0. `id2` is the tag of this name and after it all
    /// other tags, such as `BOILER,host=edge-7`, or these alone, or `-` for none. So points that differ in a tag are of
    /// different series, but for the tag `id1=0` and none of this name. A measurement with a point in its name can meet the
    /// field of another one: `a.b` with `c`, and `a` with `b.c`.
    #[must_use]
    pub fn line_protocol() -> Self {
        let fields = [
            (Origin::Payload, "a field"),
            (Origin::Payload, "the measurement"),
            (Origin::Tags, "tag id1"),
            (Origin::Tags, "tag id2"),
            (Origin::Payload, "the time"),
        ];
        Self {
            settings: MappingSettings::of(Format::Influx),
            reader: Reader::Influx,
            topic: None,
            fields: fields.map(|(origin, place)| FieldPlan {
                origin,
                place: place.to_owned(),
                default: None,
            }),
            is_many: true,
            clock: Clock::Line(Precision::Nanos),
            tags_elsewhere: vec![tags::ID2.to_owned(), tags::ID1.to_owned()],
        }
    }

    #[must_use]
    pub fn settings(&self) -> &MappingSettings {
        &self.settings
    }

    /// The headers that it reads, so that no others need be handed over.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter_map(|plan| match &plan.origin {
            Origin::Header(name) => Some(name.as_str()),
            _ => None,
        })
    }

    pub(crate) fn field(&self, field: MappedField) -> &FieldPlan {
        &self.fields[field.index()]
    }
}

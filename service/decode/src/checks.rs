//! Whether the settings of a mapping fit together, said by the key that does not.

mod sources;

use self::sources::{expect_one_kind, kinds};
use crate::{
    assembly::id1_of,
    fields::{FIELDS, MappedField},
    mapping::{Clock, CsvPlan, FieldPlan, JsonPlan, Mapping, MappingError, Origin, Reader},
    number,
    pointer::{Node, Role},
    settings::{ARRIVAL, Format, MappingSettings, Source, TimeSource},
    tags,
    time::{Precision, TimeUnit},
    topic::Template,
};

type Checked<T> = Result<T, MappingError>;

fn refused<T>(key: &str, reason: impl Into<String>) -> Checked<T> {
    let key = match key {
        "" => "mapping".to_owned(),
        _ => format!("mapping.{key}"),
    };
    Err(MappingError {
        key,
        reason: reason.into(),
    })
}

/// What the fields add to what is particular to a format.
struct Draft<'s> {
    settings: &'s MappingSettings,
    root: Node,
    record: Node,
    columns: Vec<(usize, MappedField)>,
}

impl Mapping {
    /// Checks a mapping.
    ///
    /// # Errors
    /// What does not fit together, and under which key.
    pub fn new(settings: &MappingSettings) -> Result<Self, MappingError> {
        checked(settings)
    }
}

fn checked(settings: &MappingSettings) -> Checked<Mapping> {
    expect_keys_of_format(settings)?;
    let topic = match &settings.topic {
        None => None,
        Some(text) => Some(Template::parse(text).or_else(|reason| refused("topic", reason))?),
    };
    let mut draft = Draft {
        settings,
        root: Node::default(),
        record: Node::default(),
        columns: Vec::new(),
    };
    if let Some(pointer) = &settings.tags {
        let node = draft.record.at(pointer);
        node.or_else(|reason| refused("tags", reason))?.role = Role::Tags;
    }
    let mut fields = Vec::with_capacity(FIELDS.len());
    for field in FIELDS {
        let from_topic = topic
            .as_ref()
            .is_some_and(|topic| topic.fields().any(|f| f == field));
        fields.push(draft.field(field, from_topic)?);
    }
    let clock = draft.clock(&fields[MappedField::Time.index()])?;
    let is_many = settings.format == Format::Influx
        || settings
            .value
            .as_ref()
            .is_some_and(|value| value.each.is_some());
    let tags_elsewhere = tags_elsewhere(settings, &fields)?;
    let reader = draft.into_reader()?;
    let Ok(fields) = fields.try_into() else {
        return refused("", "has another number of fields than a reading");
    };
    Ok(Mapping {
        settings: settings.clone(),
        reader,
        topic,
        fields,
        is_many,
        clock,
        tags_elsewhere,
    })
}

fn tags_elsewhere(settings: &MappingSettings, fields: &[FieldPlan]) -> Checked<Vec<String>> {
    let of_fields = fields.iter().filter_map(|plan| match &plan.origin {
        Origin::Tag(name) => Some(name.clone()),
        _ => None,
    });
    let mut elsewhere: Vec<String> = of_fields.collect();
    elsewhere.push(tags::ID2.to_owned());
    if fields[MappedField::Id1.index()].origin == Origin::Tags {
        elsewhere.push(tags::ID1.to_owned());
    }
    for name in &settings.ignored_tags {
        if elsewhere.contains(name) {
            return refused("ignored_tags", format!("names `{name}`, which is a field"));
        }
    }
    elsewhere.extend(settings.ignored_tags.iter().cloned());
    Ok(elsewhere)
}

/// Refuses keys that mean nothing for the format.
fn expect_keys_of_format(settings: &MappingSettings) -> Checked<()> {
    let format = settings.format;
    let given = [
        (
            "records",
            settings.records.is_some(),
            format == Format::Json,
        ),
        ("tags", settings.tags.is_some(), format == Format::Json),
        ("columns", settings.columns.is_some(), format == Format::Csv),
        (
            "delimiter",
            settings.delimiter.is_some(),
            format == Format::Csv,
        ),
        (
            "ignored_tags",
            !settings.ignored_tags.is_empty(),
            format == Format::Influx || settings.tags.is_some(),
        ),
        (
            "series_tags",
            !settings.series_tags.is_empty(),
            format == Format::Influx || settings.tags.is_some(),
        ),
    ];
    match given.iter().find(|(_, is_given, fits)| *is_given && !fits) {
        Some((key @ ("ignored_tags" | "series_tags"), ..)) => refused(
            key,
            "is for mappings that have tags: influx, or json with tags",
        ),
        Some((key, ..)) => refused(
            key,
            format!("means nothing for the format {}", format.as_str()),
        ),
        None => Ok(()),
    }
}

impl Draft<'_> {
    fn source(&self, field: MappedField) -> Option<&Source> {
        let settings = self.settings;
        match field {
            MappedField::Value => settings.value.as_ref(),
            MappedField::SensorType => settings.sensor_type.as_ref(),
            MappedField::Id1 => settings.id1.as_ref(),
            MappedField::Id2 => settings.id2.as_ref(),
            MappedField::Time => match &settings.time {
                Some(TimeSource::Source(source)) => Some(source),
                _ => None,
            },
        }
    }

    fn field(&mut self, field: MappedField, from_topic: bool) -> Checked<FieldPlan> {
        let key = field.as_str();
        let source = self.source(field).cloned().unwrap_or_default();
        expect_one_kind(key, &source)?;
        if source.unit.is_some() && field != MappedField::Time {
            return refused(&format!("{key}.unit"), "is for the time alone");
        }
        if source.each.is_some() && field != MappedField::Value {
            return refused(&format!("{key}.each"), "is for the value alone");
        }
        let is_arrival =
            field == MappedField::Time && self.settings.time == Some(TimeSource::Arrival);
        let is_given = kinds(&source).count() > 0 || is_arrival;
        if from_topic && is_given {
            return refused(
                key,
                format!("is given twice: here, and by {{{key}}} in mapping.topic"),
            );
        }
        let (origin, place) = match () {
            () if from_topic => (Origin::Topic, "the topic".to_owned()),
            () if is_arrival => (Origin::Nothing, String::new()),
            () if is_given => self.origin(field, &source)?,
            () => self.implied(field)?,
        };
        let default = self.default(field, &source, &origin)?;
        Ok(FieldPlan {
            origin,
            place,
            default,
        })
    }

    /// Where a field comes from that is not given.
    fn implied(&self, field: MappedField) -> Checked<(Origin, String)> {
        let format = self.settings.format;
        let by_tags = format == Format::Influx || self.settings.tags.is_some();
        let is_each = self
            .settings
            .value
            .as_ref()
            .is_some_and(|value| value.each.is_some());
        let (origin, place) = match (field, format) {
            (MappedField::Value, Format::Influx) => (Origin::Payload, "a field"),
            (MappedField::Value, Format::Plain) => (Origin::Payload, "the payload"),
            (MappedField::SensorType, Format::Influx) => (Origin::Payload, "the measurement"),
            (MappedField::SensorType, _) if is_each => (Origin::Nothing, ""),
            (MappedField::Id1, _) if by_tags => (Origin::Tags, "tag id1"),
            (MappedField::Id2, _) if by_tags => (Origin::Tags, "tag id2"),
            (MappedField::Time, Format::Influx) => (Origin::Payload, "the time"),
            (MappedField::Time, _) => (Origin::Nothing, ""),
            _ => {
                let of_payload = match format {
                    Format::Json => "`pointer`, ",
                    Format::Csv => "`column`, ",
                    Format::Influx => "`tag`, ",
                    Format::Plain => "",
                };
                let key = field.as_str();
                return refused(
                    key,
                    format!(
                        "is missing: it comes from {of_payload}`header`, `constant`, or {{{key}}} in mapping.topic"
                    ),
                );
            }
        };
        Ok((origin, place.to_owned()))
    }

    fn default(
        &self,
        field: MappedField,
        source: &Source,
        origin: &Origin,
    ) -> Checked<Option<String>> {
        let key = format!("{}.default", field.as_str());
        let Some(default) = &source.default else {
            return Ok(None);
        };
        let text = default.to_string();
        match origin {
            Origin::Constant(_) | Origin::Topic => {
                return refused(&key, "is never used: there always is one");
            }
            Origin::Tags => {
                return refused(
                    &key,
                    "is never used: the tags say it, or that there are none",
                );
            }
            _ if source.each.is_some() => {
                return refused(&key, "is never used: what is no number is left out");
            }
            _ if field != MappedField::Time => {}
            _ if text == ARRIVAL => return Ok(Some(text)),
            _ => {
                return refused(
                    &key,
                    format!("is `{text}`: a time that is missing can only be `{ARRIVAL}`"),
                );
            }
        }
        self.valid(field, "default", &text).map(Some)
    }

    /// A text from the settings that becomes a field.
    fn valid(&self, field: MappedField, kind: &str, text: &str) -> Checked<String> {
        let key = format!("{}.{kind}", field.as_str());
        let unit = self.source(MappedField::Time).and_then(|time| time.unit);
        let expected = match field {
            MappedField::Value => number::value(text).err().map(number::NoNumber::expected),
            MappedField::Id1 => id1_of(text).err(),
            MappedField::SensorType | MappedField::Id2 => {
                text.is_empty().then_some("a text that is not empty")
            }
            MappedField::Time => {
                unit.and_then(|unit| unit.to_us(text).is_none().then(|| unit.expected()))
            }
        };
        match expected {
            Some(expected) => refused(&key, format!("is `{text}`, expected {expected}")),
            None => Ok(text.to_owned()),
        }
    }

    fn clock(&self, plan: &FieldPlan) -> Checked<Clock> {
        let unit = self.source(MappedField::Time).and_then(|time| time.unit);
        match (&plan.origin, self.settings.format, unit) {
            (Origin::Nothing, _, None) => Ok(Clock::Arrival),
            (Origin::Nothing, _, Some(_)) => refused("time", "has a unit, and names no source"),
            (Origin::Payload, Format::Influx, Some(TimeUnit::Rfc3339)) => {
                refused("time.unit", "is rfc3339: lines have numbers")
            }
            (Origin::Payload, Format::Influx, unit) => Ok(Clock::Line(
                unit.and_then(TimeUnit::precision)
                    .unwrap_or(Precision::Nanos),
            )),
            (_, _, Some(unit)) => Ok(Clock::Unit(unit)),
            (_, _, None) => refused("time.unit", "is missing: s, ms, us, ns or rfc3339"),
        }
    }

    fn into_reader(self) -> Checked<Reader> {
        match self.settings.format {
            Format::Influx => Ok(Reader::Influx),
            Format::Plain => Ok(Reader::Plain),
            Format::Json => self.into_json().map(Reader::Json),
            Format::Csv => self.into_csv().map(Reader::Csv),
        }
    }

    fn into_json(self) -> Checked<JsonPlan> {
        for node in [&self.root, &self.record] {
            if let Some((field, pointer)) = node.contradiction() {
                let reason = format!(
                    "points to `{pointer}`, in which another pointer looks for members: it cannot be a text, too"
                );
                return refused(field.as_str(), reason);
            }
        }
        let mut records = Node::default();
        if let Some(pointer) = &self.settings.records {
            let node = records.at(pointer);
            let node = node.or_else(|reason| refused("records", reason))?;
            node.role = Role::Records;
            if pointer.is_empty() {
                return refused(
                    "records",
                    "is empty: an array at the root is one of records without it",
                );
            }
        }
        Ok(JsonPlan {
            root: self.root,
            records,
            record: self.record,
        })
    }

    fn into_csv(mut self) -> Checked<CsvPlan> {
        let delimiter = self.settings.delimiter.unwrap_or(',');
        let byte = match u8::try_from(delimiter) {
            Ok(byte) if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => byte,
            _ => {
                let reason = format!(
                    "is `{}`: a character of ASCII, and neither a quote nor the end of a line",
                    delimiter.escape_default()
                );
                return refused("delimiter", reason);
            }
        };
        if let Some(names) = &self.settings.columns {
            let twice = names
                .iter()
                .enumerate()
                .find(|(at, name)| names[..*at].contains(name));
            if let Some((_, name)) = twice {
                return refused("columns", format!("names `{name}` twice"));
            }
        }
        self.columns.sort_unstable();
        Ok(CsvPlan {
            delimiter: byte,
            header: self.settings.columns.clone(),
            columns: self.columns,
        })
    }
}

//! Readings of a record: what a mapping says of its fields, tags and values, the same for all formats.

use std::borrow::Cow;

use crate::{
    fault::{Fault, Field, Flaw, Position},
    fields::{FIELDS, MappedField},
    mapping::{Clock, Mapping, Origin},
    name::{self, Limits},
    number,
    reading::{Counts, Reading, SeriesTags},
    record::{Kind, Record, Scalar},
    tags,
};

/// What a message says of all its records: by its topic, its headers, and when it came.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) fields: [Option<String>; FIELDS.len()],
    pub(crate) arrival_us: i64,
    /// Of the request, instead of the mapping's.
    pub(crate) clock: Option<Clock>,
}

/// Room that records share.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    id2: String,
    short_id2: String,
    sensor_type: String,
    short_sensor_type: String,
}

/// As long a text keeps its place.
const MAX_KEPT_BYTES: usize = 4_096;

impl Rooms {
    /// Gives back what an unusual record took.
    pub(crate) fn tidy(&mut self) {
        for room in [&mut self.id2, &mut self.sensor_type] {
            if room.capacity() > MAX_KEPT_BYTES {
                *room = String::new();
            }
        }
    }
}

/// A record's readings on their way out.
pub(crate) struct Assembly<'a, F> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) limits: Limits,
    pub(crate) given: &'a Given,
    pub(crate) rooms: &'a mut Rooms,
    pub(crate) counts: Counts,
    pub(crate) out: F,
}

type Found<T> = Result<T, Box<Flaw>>;

impl<F: FnMut(Result<Reading<'_>, Fault>)> Assembly<'_, F> {
    #[expect(
        clippy::boxed_local,
        reason = "flaws are boxed everywhere, for results stay small that way"
    )]
    pub(crate) fn fault(&mut self, position: Position, flaw: Box<Flaw>) {
        self.counts.faults += 1;
        (self.out)(Err(flaw.into_fault(position)));
    }

    /// Hands out the readings of a record, or why there are none.
    pub(crate) fn emit(&mut self, position: Position, record: &mut Record<'_>) {
        self.counts.left_out += record.left_out;
        let done = match record.flaw.take() {
            Some(flaw) => Err(flaw),
            None => self.readings(position, record),
        };
        if let Err(flaw) = done {
            self.fault(position, flaw);
        }
    }

    fn readings(&mut self, position: Position, record: &mut Record<'_>) -> Found<()> {
        if let Err(twice) = tags::sort(&mut record.tags) {
            return Err(Flaw::found(Field::Tags, twice, "each tag once"));
        }
        let timestamp_us = self.time(record)?;
        if self.mapping.is_many && record.values.is_empty() {
            return match record.has_values {
                true => Ok(()),
                false => Err(self.missing(MappedField::Value, "an object with numbers")),
            };
        }
        let id1 = self.id1(record)?;
        let mut rooms = std::mem::take(self.rooms);
        let done = self.named(position, record, (id1, timestamp_us), &mut rooms);
        *self.rooms = rooms;
        done
    }

    fn named(
        &mut self,
        position: Position,
        record: &Record<'_>,
        (id1, timestamp_us): (i32, i64),
        rooms: &mut Rooms,
    ) -> Found<()> {
        self.id2(record, &mut rooms.id2)?;
        let id2 = name::fit(&rooms.id2, self.limits.id2_chars, &mut rooms.short_id2);
        let series_tags = SeriesTags {
            all: match self.mapping.settings.series_tags.is_empty() {
                true => &[],
                false => &record.tags,
            },
            names: &self.mapping.settings.series_tags,
        };
        rooms.sensor_type.clear();
        if self.mapping.field(MappedField::SensorType).origin != Origin::Nothing {
            let text = self.text(MappedField::SensorType, record)?;
            rooms.sensor_type.push_str(&text);
        }
        if !self.mapping.is_many {
            let sensor_value = self.value(record)?;
            self.counts.readings += 1;
            (self.out)(Ok(Reading {
                sensor_value,
                sensor_type: name::fit(
                    &rooms.sensor_type,
                    self.limits.sensor_type_chars,
                    &mut rooms.short_sensor_type,
                ),
                id1,
                id2,
                timestamp_us,
                position,
                value: None,
                series_tags,
            }));
            return Ok(());
        }
        if !rooms.sensor_type.is_empty() {
            rooms.sensor_type.push('.');
        }
        let prefix = rooms.sensor_type.len();
        for named in &record.values {
            match named.value {
                Ok(sensor_value) => {
                    rooms.sensor_type.truncate(prefix);
                    rooms.sensor_type.push_str(&named.name);
                    self.counts.readings += 1;
                    (self.out)(Ok(Reading {
                        sensor_value,
                        sensor_type: name::fit(
                            &rooms.sensor_type,
                            self.limits.sensor_type_chars,
                            &mut rooms.short_sensor_type,
                        ),
                        id1,
                        id2,
                        timestamp_us,
                        position,
                        value: Some(&named.name),
                        series_tags,
                    }));
                }
                Err((reason, text)) => {
                    let flaw = Flaw::found(MappedField::Value.of_fault(), text, reason.expected());
                    self.fault(position, flaw.of_value(&named.name));
                }
            }
        }
        Ok(())
    }

    /// What a record or its message has for a field, or what the mapping has instead of it. An empty text is nothing.
    fn scalar<'r>(
        &'r self,
        field: MappedField,
        record: &'r Record<'_>,
    ) -> Option<Cow<'r, Scalar<'r>>> {
        let plan = self.mapping.field(field);
        let there = match &plan.origin {
            Origin::Payload => record.field(field).map(Cow::Borrowed),
            Origin::Tag(name) => record
                .tags
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| Cow::Owned(Scalar::text(value))),
            Origin::Constant(text) => Some(Cow::Owned(Scalar::text(text))),
            _ => self.given.fields[field.index()]
                .as_deref()
                .map(|text| Cow::Owned(Scalar::text(text))),
        };
        there.filter(|scalar| !scalar.text.is_empty()).or_else(|| {
            plan.default
                .as_deref()
                .map(|text| Cow::Owned(Scalar::text(text)))
        })
    }

    fn missing(&self, field: MappedField, expected: &'static str) -> Box<Flaw> {
        Flaw::missing(field.of_fault(), expected).at(&self.mapping.field(field).place)
    }

    fn wrong(&self, field: MappedField, text: &str, expected: &'static str) -> Box<Flaw> {
        Flaw::found(field.of_fault(), text, expected).at(&self.mapping.field(field).place)
    }

    fn value(&self, record: &Record<'_>) -> Found<f64> {
        let field = MappedField::Value;
        let Some(scalar) = self.scalar(field, record) else {
            return Err(self.missing(field, "a number"));
        };
        match scalar.kind {
            Kind::Bool => Ok(f64::from(u8::from(scalar.text == "true"))),
            Kind::Nested => Err(self.wrong(field, &scalar.text, "a number")),
            Kind::Number | Kind::Text => number::value(&scalar.text)
                .map_err(|reason| self.wrong(field, &scalar.text, reason.expected())),
        }
    }

    fn time(&self, record: &Record<'_>) -> Found<i64> {
        let field = MappedField::Time;
        let clock = match self.mapping.clock {
            Clock::Line(_) => self.given.clock.unwrap_or(self.mapping.clock),
            clock => clock,
        };
        match clock {
            Clock::Arrival => Ok(self.given.arrival_us),
            Clock::Line(precision) => {
                let Some(scalar) = record.field(field) else {
                    return Ok(self.given.arrival_us);
                };
                let time = scalar.text.parse::<i64>().ok();
                time.and_then(|time| precision.to_us(time)).ok_or_else(|| {
                    self.wrong(field, &scalar.text, "a whole number in the precision of the request, less than 2^63 as microseconds")
                })
            }
            Clock::Unit(unit) => {
                let plan = self.mapping.field(field);
                let Some(scalar) = self.scalar(field, record) else {
                    return Err(self.missing(field, unit.expected()));
                };
                // The only default that there is.
                if plan.default.as_deref() == Some(&*scalar.text) {
                    return Ok(self.given.arrival_us);
                }
                match scalar.kind {
                    Kind::Number | Kind::Text => unit.to_us(&scalar.text),
                    Kind::Bool | Kind::Nested => None,
                }
                .ok_or_else(|| self.wrong(field, &scalar.text, unit.expected()))
            }
        }
    }

    fn id1(&self, record: &Record<'_>) -> Found<i32> {
        let field = MappedField::Id1;
        if self.mapping.field(field).origin == Origin::Tags {
            let Some((_, text)) = record.tags.iter().find(|(key, _)| key == tags::ID1) else {
                return Ok(0);
            };
            // Another way to write the number would be another tag, and the same series.
            return match id1_of(text) {
                Ok(id1) if is_canonical(text) => Ok(id1),
                Ok(_) => Err(self.wrong(
                    field,
                    text,
                    "a whole number without a sign `+` or zeros before it",
                )),
                Err(expected) => Err(self.wrong(field, text, expected)),
            };
        }
        let Some(scalar) = self.scalar(field, record) else {
            return Err(self.missing(field, WHOLE_NUMBER));
        };
        match scalar.kind {
            Kind::Number | Kind::Text => id1_of(&scalar.text),
            Kind::Bool | Kind::Nested => Err(WHOLE_NUMBER),
        }
        .map_err(|expected| self.wrong(field, &scalar.text, expected))
    }

    fn id2(&self, record: &Record<'_>, out: &mut String) -> Found<()> {
        let field = MappedField::Id2;
        if self.mapping.field(field).origin != Origin::Tags {
            out.clear();
            out.push_str(&self.text(field, record)?);
            return Ok(());
        }
        let id2 = record.tags.iter().find(|(key, _)| key == tags::ID2);
        let elsewhere = &self.mapping.tags_elsewhere;
        let others = record
            .tags
            .iter()
            .filter(|(key, _)| !elsewhere.iter().any(|tag| tag == key));
        tags::write_id2(id2.map(|(_, value)| value.as_ref()), others, out);
        Ok(())
    }

    fn text<'r>(&'r self, field: MappedField, record: &'r Record<'_>) -> Found<Cow<'r, str>> {
        const EXPECTED: &str = "a text that is not empty";
        // The way that almost all go, without a copy.
        if let (Origin::Payload, Some(scalar)) =
            (&self.mapping.field(field).origin, record.field(field))
            && matches!(scalar.kind, Kind::Text | Kind::Number)
            && !scalar.text.is_empty()
        {
            return Ok(Cow::Borrowed(&scalar.text));
        }
        match self.scalar(field, record) {
            None => Err(self.missing(field, EXPECTED)),
            Some(scalar) => match scalar.kind {
                Kind::Text | Kind::Number => Ok(Cow::Owned(scalar.into_owned().text.into_owned())),
                Kind::Bool | Kind::Nested => Err(self.wrong(field, &scalar.text, EXPECTED)),
            },
        }
    }
}

const WHOLE_NUMBER: &str = "a whole number from -2147483648 to 2147483647";

/// # Errors
/// What is expected instead.
pub(crate) fn id1_of(text: &str) -> Result<i32, &'static str> {
    text.trim_matches([' ', '\t'])
        .parse()
        .map_err(|_| WHOLE_NUMBER)
}

fn is_canonical(text: &str) -> bool {
    match text.as_bytes() {
        [b'0'] => true,
        [b'-', digits @ ..] => matches!(digits, [b'1'..=b'9', ..]),
        digits => matches!(digits, [b'1'..=b'9', ..]),
    }
}
